"""Does a weight file fit the model of a config, and what kind of file is it?"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from smalldet.doctor.findings import Finding, examine
from smalldet.engine.build import load_pretrained
from smalldet.engine.weights import mismatches, read_checkpoint

SHOWN = 5  # tensors named


def examine_weights(model: nn.Module, path: Path) -> dict[str, Finding]:
    """What of the file fits: of a run's checkpoint all has to, of published weights the backbone's.

    Args:
        model: whose weights are replaced by those that fit.
        path: checkpoint of a run, exported weights, or a file that a backbone knows.
    """
    if not path.is_file():
        where = f"Name a file; weights of runs lie in work_dirs/RUN, others in {path.parent}."
        return {"file": Finding("red", f"there is no {path}", where)}
    try:
        tensors = read_checkpoint(path)["model"]
    except ValueError:  # published files have other containers
        tensors = {}
    known = model.state_dict()
    if 2 * len(tensors.keys() & known.keys()) > min(len(tensors), len(known)):
        return {"checkpoint of a run": _whole(known, tensors)}
    backbones = {
        name: module
        for name, module in model.named_modules()
        if hasattr(module, "load_pretrained") and hasattr(module, "init_checkpoint")
    }
    if not backbones:
        fix = "Name a checkpoint of a run of this config: only its backbone could take others."
        found = f"{path} is no checkpoint of this model, and no part of it takes published weights"
        return {"file": Finding("red", found, fix)}
    return examine(
        {name: lambda part=part: _published(part, path) for name, part in backbones.items()}
    )


def pretrained(model: nn.Module, init_checkpoint: str) -> Finding:
    """Load the start weights that a config names, of the whole model or of its backbones."""
    with reports() as records:
        load_pretrained(model, init_checkpoint)
    said = "; ".join(record.getMessage() for record in records)
    whole = f"{init_checkpoint} fits" if init_checkpoint else ""
    return Finding("green", said or whole or "none are asked for")


def _whole(known: dict[str, Any], tensors: dict[str, Any]) -> Finding:
    problems = mismatches(known, tensors)
    if not problems:
        return Finding("green", f"all {len(known)} tensors fit")
    missing, unknown = (len(names) for names in (known.keys() - tensors, tensors.keys() - known))
    found = (
        f"{len(tensors)} tensors, of which the model wants {len(known)}: {missing} missing, "
        f"{unknown} unknown, {len(problems) - missing - unknown} of another shape "
        f"({'; '.join(problems[:SHOWN])}{'; ...' if problems[SHOWN:] else ''})"
    )
    return Finding("red", found, "Use the config.yaml that lies beside the checkpoint.")


def _published(part: Any, path: Path) -> Finding:
    part.init_checkpoint = str(path)
    with reports() as records:
        part.load_pretrained()
    complete = all(record.levelno <= logging.INFO for record in records)
    said = "; ".join(record.getMessage() for record in records)
    return Finding("green" if complete else "yellow", f"published weights: {said}")


class _Collector(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def reports() -> Iterator[list[logging.LogRecord]]:
    """What backbones log about the weights that they load; it is not printed meanwhile."""
    log, handler = logging.getLogger("smalldet.backbones"), _Collector()
    before = log.level, log.propagate
    log.addHandler(handler)
    log.level, log.propagate = logging.INFO, False
    try:
        yield handler.records
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before
