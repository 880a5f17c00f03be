"""A run folder, read once: config, status, record, results, and the way to its other files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runfolder import schema
from runfolder.files import read_json
from runfolder.names import (
    CONFIG,
    EVALUATION,
    EVALUATION_FACTS,
    MATCHES,
    MICRO_BATCH,
    RESULTS,
    SPLITS,
)
from runfolder.records import RunRecord, Status, read_record, read_results, run_status
from runfolder.yaml_files import read_yaml


@dataclass(frozen=True)
class Run:
    """One run folder, read once. Values that a run has not (yet) are None or empty."""

    folder: Path
    config: Mapping[str, Any]
    """``config.yaml``: resolved, in plain dicts and lists; with the micro-batch that was used."""
    status: Status
    record: RunRecord | None = None
    results: Mapping[str, Any] = field(default_factory=dict)
    """``results.json``; AP in percent."""
    evaluations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``evaluation.json`` by split: by which rules and on which data it was scored."""
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

    @property
    def lowered_micro_batch(self) -> int | None:
        """What a micro-batch came down to where memory ran out; None: the config's was used."""
        return self.record.micro_batch_size if self.record else None

    def score(self, split: str, key: str) -> float | None:
        """A score of the best model, AP in percent; None if not there or undefined."""
        return (self.results.get(split) or {}).get(key)

    def evaluation(self, split: str) -> Mapping[str, Any]:
        """Of :attr:`evaluations`; empty where there is none."""
        return self.evaluations.get(split) or {}

    def matches_file(self, split: str) -> Path | None:
        """``matches.npz`` of ``split``, for :mod:`boxmetrics.matches`."""
        path = self.folder / EVALUATION / split / MATCHES
        return path if path.is_file() else None


def read_run(folder: Path) -> Run:
    """The run in ``folder``.

    Raises:
        ValueError: a file of it is damaged; says which and where.
    """
    found = {split: folder / EVALUATION / split / EVALUATION_FACTS for split in SPLITS}
    config = _checked(_config_in(folder / CONFIG), schema.Config, folder / CONFIG)
    record = read_record(folder)
    if record is not None and record.micro_batch_size is not None:
        config = with_micro_batch(config, record.micro_batch_size)
    return Run(
        folder,
        config,
        run_status(folder),
        record,
        _checked(read_results(folder), schema.Results, folder / RESULTS),
        {
            split: _checked(read_json(path), schema.Evaluation, path)
            for split, path in found.items()
        },
    )


def with_micro_batch(config: Mapping[str, Any], size: int) -> dict[str, Any]:
    """A copy of a resolved config that trains with micro-batches of ``size``."""
    loaders: Any = config.get("dataloader")
    loader = loaders.get("train") if isinstance(loaders, Mapping) else None
    changed = {**config, "train": {**(config.get("train") or {}), MICRO_BATCH: size}}
    if isinstance(loader, Mapping) and MICRO_BATCH in loader:
        changed["dataloader"] = {**loaders, "train": {**loader, MICRO_BATCH: size}}
    return changed


def _config_in(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return read_yaml(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no config: {error}. Restore or remove it.") from error


def _checked(content: Any, kind: Any, path: Path) -> Mapping[str, Any]:
    """The content of a file as :mod:`.schema` describes it; empty if there is none."""
    schema.check({} if content is None else content, kind, str(path))
    return content or {}
