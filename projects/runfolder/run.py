"""A run folder, read once: config, status, record, results, and the way to its other files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from runfolder.files import read_json
from runfolder.names import CONFIG, EVALUATION, EVALUATION_FACTS, MATCHES, RESULTS, SPLITS
from runfolder.records import RunRecord, Status, read_record, read_results, run_status


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
    alias: str = ""
    """What its folder is called where another run has a folder of its name."""

    @property
    def experiment(self) -> Mapping[str, Any]:
        """What the config declares: name, study, parent, factors, level, hypothesis, targets."""
        return self.config.get("experiment") or {}

    @property
    def name(self) -> str:
        """Of the experiment; its repetitions with other seeds share it."""
        return self.experiment.get("name", self.folder.name)

    @property
    def label(self) -> str:
        """Of its folder, among those that it was read with."""
        return self.alias or self.folder.name

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

    def evaluation(self, split: str) -> dict[str, Any] | None:
        """``evaluation.json``: by which rules and on which data ``split`` was scored."""
        return read_json(self.folder / EVALUATION / split / EVALUATION_FACTS)

    def matches_file(self, split: str) -> Path | None:
        """``matches.npz`` of ``split``, for :mod:`boxmetrics.matches`."""
        path = self.folder / EVALUATION / split / MATCHES
        return path if path.is_file() else None


def read_run(folder: Path) -> Run:
    """The run in ``folder``.

    Raises:
        ValueError: a file of it is damaged.
    """
    path, results_path = folder / CONFIG, folder / RESULTS
    config: Any = OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else {}
    results = read_results(folder) or {}
    _check_nodes(config, ("experiment", "train"), path)
    _check_nodes(results, (*SPLITS, "ema", "parameters"), results_path)
    _check_nodes(config.get("experiment") or {}, ("targets",), path)
    for split in SPLITS:
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
