"""Which experiments belong to a study, and where its configs and results lie.

A study is a folder ``configs/NAME`` with a baseline (``baseline*.py``) or a ``study.yaml``, which
may declare ``order``, ``metrics``, ``generate`` and ``work_dir``; see :class:`Study`.

``NAME-debug`` is the same study at toy size: the function ``toy(config name)`` of
``configs/debug/_NAME.py`` makes each of its configs, and no file needs to be there for it.
Folders of ``configs/debug`` may be studies of their own. Paths are relative to the project's root
folder, in which ``configs`` is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from labbook.config.signatures import nearest
from runfolder.yaml_files import read_yaml

CONFIGS, DEBUG = "configs", "configs/debug"
_DEBUG_SUFFIX = "-debug"
_DECLARED = {"order": list, "metrics": dict, "generate": list, "work_dir": str}


@dataclass(frozen=True)
class Study:
    """A set of experiments that are compared with one another."""

    name: str
    config_folder: str
    """Every ``*.py`` in it is an experiment, unless its name starts with ``_``."""
    work_folder: str = "work_dirs"
    """Parent of its run folders; its tables are written here (``work_dir``)."""
    order: tuple[str, ...] = ()
    """Config names in the order of the study plan; others follow by name (``order``)."""
    extra_metrics: tuple[tuple[str, str], ...] = ()
    """Further columns of its tables: title and key in ``results.json``; AP in percent
    (``metrics``)."""
    generate: tuple[str, ...] = ()
    """Overrides that give it generated data of the size of the real ones (``generate``)."""
    data: str = ""
    """The folder of another data set than its own, where only the runs on that one are meant."""

    @property
    def is_debug(self) -> bool:
        """Whether it is another study at toy size."""
        return self.name.endswith(_DEBUG_SUFFIX)

    @property
    def title(self) -> str:
        """The name, and where its runs lie if they are those on another data set."""
        return f"{self.name} in {self.work_folder}" if self.data else self.name

    @property
    def family(self) -> str:
        """The name without the mark of toy size."""
        return self.name.removesuffix(_DEBUG_SUFFIX)

    def run_name(self, config_name: str) -> str:
        """Name of the experiment in ``<config_name>.py``: with the family's name before it."""
        prefix = f"{self.family}_"
        return config_name if config_name.startswith(prefix) else prefix + config_name

    def place(self, run_name: str) -> tuple[int, str]:
        """Sort key: the order of the study plan, then by name."""
        planned = [self.run_name(name) for name in self.order]
        return (planned.index(run_name) if run_name in planned else len(planned), run_name)


def find_studies(root: Path) -> dict[str, Study]:
    """All studies below a root folder by name; each that is not of toy size with that version.

    Raises:
        ValueError: a ``study.yaml`` is wrong.
    """
    found = []
    for folder in sorted((root / CONFIGS).glob("*/")):
        if study := _declared(folder, CONFIGS):
            toy = replace(
                study,
                name=f"{study.name}{_DEBUG_SUFFIX}",
                config_folder=f"{DEBUG}/{study.name}",
                work_folder=f"{study.work_folder}/debug",
            )
            found += [study, toy]
    taken = {study.config_folder for study in found}
    for folder in sorted((root / DEBUG).glob("*/")):
        study = _declared(folder, DEBUG)
        found += [study] if study and study.config_folder not in taken else []
    return {study.name: study for study in found}


def get_study(name: str, root: Path, debug: bool = False) -> Study:
    """The study of that name, or its version at toy size.

    Raises:
        ValueError: there is none; the nearest name is said.
    """
    studies = find_studies(root)
    full_name = name + _DEBUG_SUFFIX if debug and not name.endswith(_DEBUG_SUFFIX) else name
    if full_name not in studies:
        raise ValueError(
            f"There is no study '{full_name}'; there are {', '.join(studies) or 'none'}."
            + nearest(full_name, studies)
        )
    return studies[full_name]


def study_of_config(config_file: Path) -> tuple[Study, Path] | None:
    """The study that a config file lies in, and its root folder; None if it lies in none.

    The file of a toy version need not be there.
    """
    folder = config_file.resolve().parent
    for root in folder.parents[1:3]:
        for study in find_studies(root).values():
            if root / study.config_folder == folder:
                return study, root
    return None


def find_experiments(study: Study, root: Path, only: Iterable[str] = ()) -> dict[str, Path]:
    """Config files by config name (without ``.py``), relative to ``root``, in the study's order.

    Those of a study at toy size are named by the real ones, whether or not they are there.

    Args:
        study: the study.
        root: the project's root folder.
        only: config names or run names of those that are wanted; none for all.

    Raises:
        ValueError: the study has no configs, or none at toy size, or a name is unknown; the
            nearest one is said.
    """
    names = config_names(study, root)
    if not names:
        folder = root / study.config_folder
        needed = toy_file(folder).relative_to(root) if study.is_debug else ".py files"
        raise ValueError(f"The study '{study.name}' has no configs: {folder} needs {needed}.")
    by_run_name = {study.run_name(name): name for name in names}
    wanted = {by_run_name.get(name, name) for name in only} or set(names)
    for name in wanted.difference(names):
        raise ValueError(
            f"There is no experiment '{name}'.{nearest(name, names)} There are: {', '.join(names)}."
        )
    return {name: Path(study.config_folder, f"{name}.py") for name in names if name in wanted}


def config_names(study: Study, root: Path) -> list[str]:
    """Names of its config files, in the study's order; none if it has none."""
    folder = root / study.config_folder
    paths = [*folder.glob("[!_]*.py")]
    if study.is_debug and toy_file(folder).is_file():
        paths += (root / CONFIGS / study.family).glob("[!_]*.py")
    return sorted({path.stem for path in paths}, key=lambda name: study.place(study.run_name(name)))


def toy_file(folder: Path) -> Path:
    """The file whose ``toy(config name)`` makes the configs of ``configs/debug/NAME``."""
    return folder.with_name(f"_{folder.name}.py")


def real_config(config_file: Path) -> Path | None:
    """The config whose toy version a path in ``configs/debug/NAME`` names; None if it is none.

    A file that is there speaks for itself.
    """
    folder = config_file.absolute().parent
    real = folder.parent.parent / folder.name / config_file.name
    is_toy = folder.parent.name == "debug" and not config_file.is_file() and real.is_file()
    return real if is_toy else None


def _declared(folder: Path, parent: str) -> Study | None:
    """What a folder declares as a study; None if it is no study."""
    path = folder / "study.yaml"
    if not path.is_file() and not any(folder.glob("baseline*.py")):
        return None
    content = (read_yaml(path) if path.is_file() else None) or {}
    if not isinstance(content, dict):
        raise ValueError(f"{path} is {content!r}; expected {', '.join(_DECLARED)}.")
    for key, value in content.items():
        if key not in _DECLARED:
            raise ValueError(f"{path}: nothing reads {key}.{nearest(str(key), _DECLARED)}")
        if not isinstance(value, _DECLARED[key]):
            raise ValueError(f"{path}: {key} is {value!r}; expected a {_DECLARED[key].__name__}.")
    return Study(
        folder.name,
        f"{parent}/{folder.name}",
        content.get("work_dir", "work_dirs"),
        tuple(content.get("order", ())),
        tuple(content.get("metrics", {}).items()),
        tuple(content.get("generate", ())),
    )
