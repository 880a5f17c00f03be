"""The note that a study wants from every run at its end, however it ended."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from labbook.config.experiment import verdict
from labbook.config.studies import STUDIES
from labbook.notes.advice import next_steps
from labbook.notes.invocation import parse_command
from labbook.notes.start import ancestor_names
from labbook.results.cells import METRICS, duration, metrics_of
from runfolder.files import write_text
from runfolder.run import Run, read_run

logger = logging.getLogger(__name__)

SUMMARY = "experiment_summary.txt"
SPLITS = ("valid", "test")


def write_summary(folder: str | Path) -> None:
    """Write ``experiment_summary.txt`` into the folder of a run that has ended.

    Nothing that goes wrong here changes how the run ended.
    """
    try:
        folder = Path(folder)
        write_text(folder / SUMMARY, summary_text(read_run(folder)))
    except Exception as error:  # as the other notes
        logger.warning("%s in %s is not written: %s", SUMMARY, folder, error)


def summary_text(run: Run) -> str:
    """Status, scores, findings, cost and what to look at next, from the run's own files and those
    of its parent and baseline beside it.
    """
    parts = [_status(run), _cost(run)]
    if run.is_finished:
        parts += [_scores(run), _targets(run)]
        parts += [_findings(run, role, other) for role, other in relatives(run)]
    advice = [f"- {sentence}" for sentence in next_steps(run)]
    parts.append(["What to look at next", *(advice or ["- nothing stands out"])])
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def relatives(run: Run) -> Iterator[tuple[str, Run | None]]:
    """Its baseline and its parent in words, each with its finished run (None: there is none).

    Of a repetition (``..._seed2``) the same repetition is looked for first.
    """
    config = OmegaConf.create(dict(run.config))
    if run.record is None or not isinstance(config, DictConfig):
        return
    names = ancestor_names(config, run.folder, parse_command(run.record.command))
    if not names:
        return
    roles = {names[-1]: "its baseline"}
    roles.setdefault(names[0], "its parent")
    suffix = re.search(r"(_seed\d+)?$", run.folder.name)
    for name, role in roles.items():
        folders = [run.folder.parent / f"{name}{end}" for end in (suffix[0] if suffix else "", "")]
        runs = (read_run(folder) for folder in folders if folder.is_dir())
        yield f"{role} {name}", next((other for other in runs if other.is_finished), None)


def _status(run: Run) -> list[str]:
    record = run.record
    lines = [f"Experiment: {run.name} (seed {run.seed})", f"Status: {run.status}"]
    if record is None:
        return lines
    again = f" in {record.attempts} attempts" if record.attempts > 1 else ""
    return [
        *lines,
        f"Reason: {record.exit_reason}",
        f"Start: {record.start}",
        f"End: {record.end}",
        f"Time: {duration(record.seconds)}{again}, training alone "
        f"{duration(run.results.get('training_seconds')) if run.is_finished else '-'}",
    ]


def _cost(run: Run) -> list[str]:
    record = run.record
    if record is None:
        return []
    train = run.config.get("train") or {}
    speed, batch = record.iterations_per_second, train.get("total_batch_size")
    images = f" ({speed * batch:.3g} images/s)" if speed and batch else ""
    return [
        f"Steps: {record.iterations or 0} of {train.get('max_iter', '?')}",
        f"Speed: {_number(speed, '{:.3g} iterations/s')}{images}",
        f"Peak memory: {_number(record.peak_memory_mb, '{:.0f} MB')}",
        f"Final training loss: {_number(record.final_loss, '{:.4g}')}",
    ]


def _scores(run: Run) -> list[str]:
    step = run.results.get("best_iteration", -1) + 1
    place = f"step {step}, epoch {run.results.get('best_epoch')}" if step else "the last step"
    lines = [f"Scores of the best model (after {place}), percent, valid / test"]
    averaged = run.results.get("ema") or {}
    for title, key in _metrics(run).items():
        pair = " / ".join(_number(run.score(split, key), "{:.2f}") for split in SPLITS)
        if averaged:
            scores = [(averaged.get(split) or {}).get(key) for split in SPLITS]
            pair += "   averaged weights " + " / ".join(_number(s, "{:.2f}") for s in scores)
        lines.append(f"  {title:14} {pair}")
    return lines


def _findings(run: Run, role: str, other: Run | None) -> list[str]:
    if other is None:
        return [f"Against {role}: it has no finished run in {run.folder.parent}."]
    lines = [f"Against {role}, points, valid / test"]
    for title, key in _metrics(run).items():
        scores = [(run.score(split, key), other.score(split, key)) for split in SPLITS]
        changes = [None if None in pair else pair[0] - pair[1] for pair in scores]  # type: ignore
        lines.append(f"  {title:14} {' / '.join(_number(c, '{:+.2f}') for c in changes)}")
    return [*lines, "  One run each: `tools/lab.py table` tells what is more than chance."]


def _targets(run: Run) -> list[str]:
    declared = run.experiment.get("targets") or {}
    values = {**run.results, **(run.results.get("valid") or {})}
    rows = [f"  {verdict(name, values.get(name), value)}" for name, value in declared.items()]
    return ["Targets (on valid)", *rows] if rows else []


def _metrics(run: Run) -> dict[str, str]:
    """Title and key of the scores that the study's tables show."""
    study = STUDIES.get(run.experiment.get("study", ""))
    return METRICS if study is None else metrics_of(study)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
