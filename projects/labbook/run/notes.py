"""The text files that a study wants in every run folder, each made from a template.

At its start: what the run asks, what it changes, its command, its code. At its end: what came of
it. Nothing that goes wrong with a note ends a run.
"""

from __future__ import annotations

import logging
import math
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from omegaconf import DictConfig

from labbook.called import lab
from labbook.config.differences import differences_text
from labbook.config.experiment import describe_change, verdict
from labbook.config.guard import changes
from labbook.config.lineage import Family
from labbook.config.load import to_plain
from labbook.config.studies import Study, find_studies
from labbook.config.trees import below, value_text
from labbook.results.text import METRICS, duration, metrics_of, number
from labbook.run.advice import next_steps
from runfolder import names
from runfolder.files import write_text
from runfolder.records import RunRecord
from runfolder.run import Run, read_run

logger = logging.getLogger(__name__)

DIFF, SUMMARY = "diff.txt", "experiment_summary.txt"
START_NOTES = (
    "experiment_hypothesis.txt",
    "modification_details.txt",
    "training_command.txt",
    "code_changes_summary.txt",
    DIFF,
)
BASELINE = "It is a baseline: it has no parent to differ from."
UNDECLARED = "No experiment is declared, so there is nothing to differ from."

Scores = dict[str, list[float]]
"""In percent by title, one for each split; NaN where there is none."""


@dataclass(frozen=True)
class Lineage:
    """An experiment with those that it goes back to."""

    cfg: DictConfig
    study: Study | None = None
    ancestors: Sequence[DictConfig] = ()
    """Its parent, the parent's parent, ... and at last the baseline."""
    source: str = UNDECLARED
    """Where they were found, or why there are none; a sentence or a heading."""

    @property
    def names(self) -> list[str]:
        """Of the ancestors; of a parent that was not found, too."""
        found = [ancestor.experiment.name for ancestor in self.ancestors]
        parent = (self.cfg.get("experiment") or {}).get("parent")
        return found or ([parent] if parent else [])


def find_lineage(
    cfg: DictConfig, folder: Path, config_file: Path | None = None, overrides: Sequence[str] = ()
) -> Lineage:
    """The ancestors of an experiment: from the configs of the study that it declares, or else from
    the run folders beside its own.

    The study is looked for above ``config_file``, which ``cfg`` was loaded from. The ``overrides``
    of ``cfg`` hold for its ancestors, too.
    """
    declared = cfg.get("experiment") or {}
    parent = declared.get("parent")
    study, ancestors, reason = None, [], "."
    try:
        study, root = _study(declared.get("study"), config_file)
        if study and parent:
            ancestors = Family(study, root, overrides).ancestors(cfg)
    except Exception as error:  # as with the notes themselves
        reason = f": {error}"
    if not parent:
        return Lineage(cfg, study, source=BASELINE if declared else UNDECLARED)
    if ancestors:
        return Lineage(cfg, study, ancestors, f"Against its parent {parent}:")
    beside = list(_beside(parent, folder.parent))
    if beside:  # they are resolved
        plain = DictConfig(to_plain(cfg))
        return Lineage(plain, study, beside, f"Against its parent (run folder {parent}):")
    problem = f"The parent {parent} was not found, neither as a run folder nor as a config"
    return Lineage(cfg, study, source=f"{problem}{reason}")


def write_start_notes(folder: Path, lineage: Lineage) -> None:
    """Write :data:`START_NOTES` into a run folder; ``run.json`` and ``config.yaml`` are there."""
    _write(folder, START_NOTES, start_facts, lineage)


def write_summary(folder: Path, lineage: Lineage) -> None:
    """Write ``experiment_summary.txt`` into the folder of a run that has ended."""
    _write(folder, (SUMMARY,), end_facts, lineage)


def start_facts(run: Run, lineage: Lineage) -> dict[str, Any]:
    """What the notes at the start say of a run besides its record."""
    cfg, ancestors, declared = lineage.cfg, lineage.ancestors, run.experiment
    factors = list(declared.get("factors") or [])
    found = changes(ancestors[0], cfg, factors) if ancestors else []
    targets = (declared.get("targets") or {}).items()
    return {
        "declared": declared,
        "change": describe_change(declared),
        "targets": [verdict(name, None, value).partition(":")[0] for name, value in targets],
        "source": lineage.source,
        "moved": [one for one in found if one.moved and below(one.key, factors)],
        "differences": differences_text(cfg, ancestors) if ancestors else lineage.source,
    }


def end_facts(run: Run, lineage: Lineage) -> dict[str, Any]:
    """What the summary says of a run besides its record."""
    train, results = run.config.get("train") or {}, run.results
    speed = run.record.iterations_per_second if run.record else None
    metrics = metrics_of(lineage.study) if lineage.study else METRICS
    scores, averaged = _scores(results, metrics), results.get("ema")
    step = results.get("best_iteration", -1) + 1
    values = {**results, **(results.get("valid") or {})}
    targets = (run.experiment.get("targets") or {}).items()
    return {
        "train": train,
        "training_seconds": results.get("training_seconds") if run.is_finished else None,
        "images_per_second": (speed or 0) * train.get("total_batch_size", 0),
        "best": f"step {step}, epoch {results.get('best_epoch')}" if step else "the last step",
        "scores": scores,
        "averaged": _scores(averaged, metrics) if averaged else None,
        "targets": [verdict(name, values.get(name), target) for name, target in targets],
        "relatives": [
            (role, other and _against(other, scores, metrics))
            for role, other in _relatives(run, lineage)
        ],
        "advice": next_steps(run),
    }


def shell_command(record: RunRecord) -> str:
    """The command that starts a run, as a shell takes it; going on with it takes ``--resume``."""
    launcher, words = ["python"], [word for word in record.command if word != "--resume"]
    if record.processes > 1 and not any(word.startswith("--num-gpus") for word in record.command):
        launcher = ["torchrun", f"--nproc-per-node={record.processes}"]
    return shlex.join([*launcher, *words])


def _write(
    folder: Path,
    notes: Sequence[str],
    facts: Callable[[Run, Lineage], Mapping[str, Any]],
    lineage: Lineage,
) -> None:
    try:
        run = read_run(folder)
        shared = {
            "run": run,
            "record": run.record,
            "names": names,
            "lab": lab,
            **facts(run, lineage),
        }
        for name in notes:
            text = _templates().get_template(f"{name}.j2").render(shared)
            write_text(folder / name, text.strip() + "\n")
    except Exception as error:  # notes are no reason to lose a run
        logger.warning("The notes in %s are not complete: %s", folder, error)


@cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("labbook.run"), trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    found.filters |= {
        "command": shell_command,
        "duration": duration,
        "identity": lambda code: (code.get("commit"), (code.get("patch") or {}).get("sha256")),
        "number": number,
        "pair": lambda values, form: " / ".join(number(value, form) for value in values),
        "shell": shlex.join,
        "value": value_text,
    }
    return found


def _study(name: str | None, config_file: Path | None) -> tuple[Study | None, Path]:
    """The study of that name in the project that the config file lies in, and its root folder.

    Configs of a study are programs. What lies around a .yaml file may come from anybody, so its
    project counts only where it is that of the current folder, too.
    """
    roots = config_file.resolve().parents if config_file else ()
    is_data = config_file is not None and config_file.suffix == ".yaml"
    for root in [one for one in roots if not is_data or Path.cwd().is_relative_to(one)]:
        study = find_studies(root).get(name or "")
        if study is not None:
            return study, root
    return None, Path()


def _beside(name: str | None, folder: Path) -> Iterator[DictConfig]:
    """The saved configs of ``name``, its parent and so on, as far as ``folder`` has their runs."""
    seen = set()
    while name and name not in seen and (folder / name / names.CONFIG).is_file():
        seen.add(name)
        try:
            cfg = DictConfig(dict(read_run(folder / name).config))
        except Exception:  # a damaged folder tells nothing
            return
        yield cfg
        name = (cfg.get("experiment") or {}).get("parent")


def _relatives(run: Run, lineage: Lineage) -> Iterator[tuple[str, Run | None]]:
    """Its baseline and its parent in words, each with its finished run (None: there is none).

    Of a repetition (``..._seed2``) the same repetition is looked for first.
    """
    if not lineage.names:
        return
    roles = {lineage.names[-1]: "its baseline"}
    roles.setdefault(lineage.names[0], "its parent")
    suffix = re.search(r"(_seed\d+)?$", run.folder.name)
    for name, role in roles.items():
        folders = [run.folder.parent / f"{name}{end}" for end in (suffix[0] if suffix else "", "")]
        runs = (read_run(folder) for folder in folders if folder.is_dir())
        yield f"{role} {name}", next((other for other in runs if other.is_finished), None)


def _scores(results: Mapping[str, Any], metrics: Mapping[str, str]) -> Scores:
    found = [results.get(split) or {} for split in names.SPLITS]
    values = {title: [split.get(key) for split in found] for title, key in metrics.items()}
    return {title: [math.nan if x is None else x for x in row] for title, row in values.items()}


def _against(other: Run, scores: Scores, metrics: Mapping[str, str]) -> Scores:
    """What the scores are above those of another run."""
    theirs = _scores(other.results, metrics)
    return {
        title: [a - b for a, b in zip(row, theirs[title], strict=True)]
        for title, row in scores.items()
    }
