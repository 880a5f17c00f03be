"""Which experiments belong to a study, and where its configs and results lie.

Paths are relative to the project's root folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from labbook.config.signatures import nearest

DEBUG_SUFFIX = "-debug"


@dataclass(frozen=True)
class Study:
    """A set of experiments that are compared with one another."""

    name: str
    config_folder: str
    """Every ``*.py`` in it is an experiment, unless its name starts with ``_``."""
    work_folder: str
    """Parent of its run folders; its tables are written here."""
    order: tuple[str, ...]
    """Config names in the order of the study plan; others follow by name."""
    extra_metrics: tuple[tuple[str, str], ...] = ()
    """Further columns of its tables: title and key in ``results.json``; AP in percent."""

    @property
    def family(self) -> str:
        """The study's name without the mark of a toy-size twin."""
        return self.name.removesuffix(DEBUG_SUFFIX)

    def run_name(self, config_name: str) -> str:
        """Name of the experiment in ``<config_name>.py``: with the family's name before it."""
        prefix = f"{self.family}_"
        return config_name if config_name.startswith(prefix) else prefix + config_name

    def place(self, run_name: str) -> tuple[int, str]:
        """Sort key: the order of the study plan, then by name."""
        planned = [self.run_name(name) for name in self.order]
        return (planned.index(run_name) if run_name in planned else len(planned), run_name)


_OFAT_ORDER = (
    "baseline_lr0.001_bs8_adamw_ep100",
    "ofat_lr0.01_bs8_adamw_ep100",
    "ofat_lr0.005_bs8_adamw_ep100",
    "ofat_lr0.001_bs16_adamw_ep100",
    "ofat_lr0.001_bs32_adamw_ep100",
    "ofat_lr0.001_bs8_sgd_ep100",
    "ofat_lr0.001_bs8_rmsprop_ep100",
    "ofat_lr0.001_bs8_adamw_ep150",
    "ofat_lr0.001_bs8_adamw_ep200",
)

_ETRAM_ORDER = (
    "baseline_3scale_100k",
    "4scale_100k",
    "3scale_sizeaware_100k",
    "4scale_sizeaware_100k",
    "3scale_sizeaware_attention_100k",
    "patch2_sizeaware_100k",
    "patch2_4scale_sizeaware_200k",
    "3scale_sizeaware_datadriven_100k",
    "3scale_sizeaware_sumpool_100k",
    "3scale_sizeaware_rescue_100k",
    "baseline_3scale_100k_tiny",
    "baseline_3scale_100k_small",
)

_ETRAM_METRICS = (("small classes", "bbox/AP-small-classes"),)

STUDIES = {
    study.name: study
    for study in (
        Study("ofat", "configs/ofat", "work_dirs", _OFAT_ORDER),
        Study("ofat-debug", "configs/debug/ofat", "work_dirs/debug", _OFAT_ORDER),
        Study("etram", "configs/etram", "work_dirs", _ETRAM_ORDER, _ETRAM_METRICS),
        Study(
            "etram-debug", "configs/debug/etram", "work_dirs/debug", _ETRAM_ORDER, _ETRAM_METRICS
        ),
        Study("demo", "configs/debug/demo", "work_dirs/debug", ("heads", "events")),
    )
}


def get_study(name: str, debug: bool = False) -> Study:
    """The study of that name, or its toy-size twin.

    Raises:
        ValueError: there is none; the nearest name is said.
    """
    full_name = name + DEBUG_SUFFIX if debug and not name.endswith(DEBUG_SUFFIX) else name
    if full_name not in STUDIES:
        raise ValueError(
            f"There is no study '{full_name}'; there are {', '.join(STUDIES)}."
            + nearest(full_name, STUDIES)
        )
    return STUDIES[full_name]


def find_experiments(study: Study, root: Path) -> dict[str, Path]:
    """Config files by config name (without ``.py``), relative to ``root``, in the study's order.

    Raises:
        ValueError: the study has no configs.
    """
    found = (root / study.config_folder).glob("[!_]*.py")
    paths = sorted(found, key=lambda path: study.place(study.run_name(path.stem)))
    if not paths:
        raise ValueError(
            f"The study '{study.name}' has no configs: {root / study.config_folder} holds no .py "
            "files."
        )
    return {path.stem: path.relative_to(root) for path in paths}


def select(study: Study, experiments: dict[str, Path], names: Iterable[str]) -> dict[str, Path]:
    """The experiments with these config names or run names, in the study's order.

    Raises:
        ValueError: a name is unknown; the nearest one is said.
    """
    by_run_name = {study.run_name(name): name for name in experiments}
    chosen = {by_run_name.get(name, name) for name in names}
    for name in chosen:
        if name not in experiments:
            raise ValueError(
                f"There is no experiment '{name}'.{nearest(name, experiments)} "
                f"There are: {', '.join(experiments)}."
            )
    return {name: path for name, path in experiments.items() if name in chosen}
