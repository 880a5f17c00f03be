"""What a run's own numbers suggest to look at next: plain rules, each of which says its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from labbook.called import lab
from runfolder.metrics import read_metrics
from runfolder.names import AP, AP50, TOTAL_LOSS, VALIDATION_LOSS
from runfolder.run import Run

_RISE = 1.05
"""A validation loss so many times its lowest value has turned up."""
_GAP = 5.0
"""Points of AP50 between valid and test that are worth a look."""
_LITTLE = 1.0
"""AP50 below which next to nothing is found."""
_GAIN = 0.5
"""Points of AP50 that averaged weights must gain to be worth naming."""


def next_steps(run: Run) -> list[str]:
    """Sentences about what stands out in a run that has ended; none if nothing does."""
    found = []
    if run.status == "interrupted":
        again = "the same command with --resume goes on from the last checkpoint."
        found.append(f"It was interrupted: {again}")
    elif run.status == "failed":
        found.append(_after_failure((run.record.exit_reason if run.record else None) or ""))
    return [*found, *_of_curves(run), *(_of_scores(run) if run.is_finished else ())]


def _after_failure(reason: str) -> str:
    if "not finite" in reason or "NaN" in reason or "FloatingPointError" in reason:
        return (
            "A loss or gradient was not finite: tools/reproduce_nan.py says where, from the "
            "nan_dump.pth of that step. Try a lower optimizer.lr, train.clip_grad_norm, or "
            "train.amp.enabled=false."
        )
    if "out of memory" in reason.lower():
        return (
            "Memory ran out: try a smaller train.micro_batch_size, or go on from a checkpoint with "
            "--resume train.on_oom=halve."
        )
    return "It failed for the reason above; log.txt has the traceback."


def _of_curves(run: Run) -> Iterator[str]:
    """What the losses say where the score agrees: alone they may also rise because the first stages
    of a cascade find more objects for the later ones."""
    rows = read_metrics(run.folder)
    losses = _column(rows, TOTAL_LOSS)
    evaluations = _column(rows, (run.config.get("train") or {}).get("best_metric", AP))
    has_risen = len(losses) >= 3 and losses[-1][1] >= losses[0][1]
    if run.is_finished and has_risen and not _is_rising(evaluations):
        yield (
            f"The training loss did not fall ({losses[0][1]:.3g} at first, {losses[-1][1]:.3g} at "
            "the end), nor did the score on valid rise: look at the learning rate and at the "
            "training images (tools/visualize_data.py)."
        )
    done, best = run.results.get("iterations"), run.results.get("best_iteration", -1)
    if run.is_finished and done and best == done - 1 and len(evaluations) > 1:
        yield "The best evaluation was the last one: train longer (train.epochs or train.max_iter)."
        return
    valid = _column(rows, VALIDATION_LOSS)
    step, lowest = min(valid, key=lambda pair: pair[1], default=(0, 0.0))
    since = [pair for pair in evaluations if pair[0] >= step]
    if len(valid) >= 3 and valid[-1][1] > _RISE * lowest and not _is_rising(since):
        yield (
            f"The validation loss was lowest after step {step + 1} ({lowest:.3g}) and ended at "
            f"{valid[-1][1]:.3g}, and the score did not rise meanwhile: it overfits. Look at "
            "regularisation, or end earlier (train.patience)."
        )


def _of_scores(run: Run) -> Iterator[str]:
    valid, test = run.score("valid", AP50), run.score("test", AP50)
    average = ((run.results.get("ema") or {}).get("valid") or {}).get(AP50)
    if run.score("valid", "bbox/num_predictions") == 0:
        yield (
            "The model predicts nothing on valid: look at the score threshold of the head, at the "
            "load report of the weights in log.txt, and at the order of the classes."
        )
    elif valid is not None and valid < _LITTLE:
        yield (
            f"AP50 on valid is {valid:.2f}: look at what it predicts "
            "(tools/visualize_predictions.py)."
        )
    elif unfound := _unfound_classes(run):
        yield (
            f"AP on valid is 0.0 for {', '.join(unfound)}: count their boxes in train, and see "
            f"what they are taken for (`{lab('report')}`)."
        )
    if valid is not None and average is not None and average > valid + _GAIN:
        yield (
            f"The averaged weights (model_best_ema.pth) have {average - valid:.1f} points more "
            "AP50 on valid."
        )
    if valid is not None and test is not None and abs(valid - test) > _GAP:
        yield (
            f"AP50 is {valid:.1f} on valid and {test:.1f} on test: compare sizes and scenes of the "
            "two splits before trusting a difference of this size."
        )


def _is_rising(scores: Sequence[tuple[int, float]]) -> bool:
    """Whether a score ended above its first value; above 0 if it was taken once."""
    first = scores[0][1] if len(scores) > 1 else 0.0
    return bool(scores) and scores[-1][1] > first


def _unfound_classes(run: Run) -> list[str]:
    """Classes of which the run has found nothing on valid, though there are some."""
    classes = run.evaluation("valid").get("classes") or []
    scores = {name: run.score("valid", f"bbox/AP-{name}") for name in classes}
    return [name for name, score in scores.items() if score is not None and round(score, 1) == 0]


def _column(rows: Iterable[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    """(step, value) of a metric; steps count from 0."""
    return [(row["iteration"], row[name]) for row in rows if row.get(name) is not None]
