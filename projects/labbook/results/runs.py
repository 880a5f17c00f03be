"""Read the run folders of a study; a laptop with copied folders is enough."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from labbook.config.studies import Study
from runfolder.files import read_json
from runfolder.records import RunRecord, Status, read_record, read_results, run_status

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One run folder, read once. Values that a run has not (yet) are None or empty."""

    folder: Path
    config: Mapping[str, Any]
    """``config.yaml``: resolved, in plain dicts and lists."""
    status: Status
    record: RunRecord | None = None
    results: Mapping[str, Any] = field(default_factory=dict)
    """``results.json``; AP in percent."""

    @property
    def experiment(self) -> Mapping[str, Any]:
        """What the config declares: name, study, parent, factors, level, hypothesis, targets."""
        return self.config.get("experiment") or {}

    @property
    def name(self) -> str:
        """Of the experiment; its repetitions with other seeds share it."""
        return self.experiment.get("name", self.folder.name)

    @property
    def seed(self) -> int | None:
        """Of weights, data order and sampling."""
        return (self.config.get("train") or {}).get("seed")

    @property
    def is_finished(self) -> bool:
        """Whether it came to its end and its results are those of that end."""
        return self.status == "finished" and bool(self.results)

    def score(self, split: str, key: str) -> float | None:
        """A score of the best model, AP in percent; None if not there or undefined."""
        return (self.results.get(split) or {}).get(key)

    def metrics(self) -> list[dict[str, Any]]:
        """Lines of ``metrics.json`` in the order of steps; a line cut by a kill is left out."""
        path = self.folder / "metrics.json"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [found for line in lines if (found := _object_in(line)) is not None]

    def evaluation(self, split: str) -> dict[str, Any] | None:
        """``evaluation.json``: by which rules and on which data ``split`` was scored."""
        return read_json(self.folder / "evaluation" / split / "evaluation.json")

    def matches_file(self, split: str) -> Path | None:
        """``matches.npz`` of ``split``, for :mod:`boxmetrics.matches`."""
        path = self.folder / "evaluation" / split / "matches.npz"
        return path if path.is_file() else None


def find_runs(study: Study, root: Path) -> list[Run]:
    """The run folders of ``study`` below ``root``, in the order of its plan.

    A folder that cannot be read is left out, and said.
    """
    return read_runs(study, root)[0]


def read_runs(
    study: Study, root: Path, names: Iterable[str] = ()
) -> tuple[list[Run], dict[Path, str]]:
    """The runs of ``study``, and the folders that cannot be read with the reason.

    Args:
        study: the study.
        root: the project's root folder.
        names: run names that belong to the study even before their folder holds a config.
    """
    runs, damaged, known = [], {}, set(names)
    for folder in sorted((root / study.work_folder).glob("*/")):
        try:
            run = read_run(folder)
        except Exception as error:  # one damaged folder must not hide the others
            if _study_in(folder) in (study.name, None):
                logger.warning("%s cannot be read: %s", folder, error)
                damaged[folder] = str(error)
            continue
        declared = run.experiment.get("study")
        if declared == study.name or (declared is None and folder.name in known):
            runs.append(run)
    return sorted(runs, key=lambda run: study.place(run.name)), damaged


def read_run(folder: Path) -> Run:
    """The run in ``folder``.

    Raises:
        ValueError: a file of it is damaged.
    """
    path, results_path = folder / "config.yaml", folder / "results.json"
    config: Any = OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else {}
    results = read_results(folder) or {}
    _check_nodes(config, ("experiment", "train"), path)
    _check_nodes(results, ("valid", "test", "ema", "parameters"), results_path)
    _check_nodes(config.get("experiment") or {}, ("targets",), path)
    for split in ("valid", "test"):
        for key, value in (results.get(split) or {}).items():
            if not isinstance(value, int | float | None):
                raise ValueError(f"{results_path}: {split} {key} is {value!r}, no number.")
    return Run(folder, config, run_status(folder), read_record(folder), results)


def _check_nodes(content: Any, names: Iterable[str], path: Path) -> None:
    """Refuse a file that is no mapping, or has something else than a mapping under these names."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds {content!r}; expected names and values.")
    for name in names:
        if not isinstance(content.get(name), Mapping | None):
            raise ValueError(f"{path}: {name} is {content[name]!r}; expected names and values.")


def _study_in(folder: Path) -> str | None:
    """What a damaged run folder's config says that it belongs to, if it can still be asked."""
    try:
        return OmegaConf.load(folder / "config.yaml").experiment.study
    except Exception:  # that is the damage
        return None


def _object_in(line: str) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
