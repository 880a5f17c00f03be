"""What a run's own numbers suggest to look at next: plain rules, each of which says its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

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
    return [sentence for rule in _RULES for sentence in rule(run)]


def _ended_badly(run: Run) -> Iterator[str]:
    reason = (run.record.exit_reason if run.record else None) or ""
    if run.status == "interrupted":
        yield "It was interrupted: the same command with --resume goes on from the last checkpoint."
    if run.status != "failed":
        return
    if "not finite" in reason or "NaN" in reason or "FloatingPointError" in reason:
        yield (
            "A loss or gradient was not finite: nan_dump.pth has the images and weights of that "
            "step. Try a lower optimizer.lr, train.clip_grad_norm, or train.amp.enabled=false."
        )
    elif "out of memory" in reason.lower():
        yield "Memory ran out: a smaller train.micro_batch_size leaves the experiment the same."
    else:
        yield "It failed for the reason above; log.txt has the traceback."


def _found_nothing(run: Run) -> Iterator[str]:
    score = run.score("valid", "bbox/AP50")
    if run.is_finished and run.score("valid", "bbox/num_predictions") == 0:
        yield (
            "The model predicts nothing on valid: look at the score threshold of the head, at the "
            "load report of the weights in log.txt, and at the order of the classes."
        )
    elif run.is_finished and score is not None and score < _LITTLE:
        yield (
            f"AP50 on valid is {score:.2f}: look at what it predicts "
            "(tools/visualize_predictions.py)."
        )


def _best_was_last(run: Run) -> Iterator[str]:
    if _is_best_last(run):
        yield "The best evaluation was the last one: train longer (train.epochs or train.max_iter)."


def _overfitted(run: Run) -> Iterator[str]:
    losses = _column(run, "validation/total_loss")
    if len(losses) < 3 or _is_best_last(run):
        return
    step, lowest = min(losses, key=lambda pair: pair[1])
    last = losses[-1][1]
    if last > _RISE * lowest:
        yield (
            f"The validation loss was lowest after step {step + 1} ({lowest:.3g}) and ended at "
            f"{last:.3g}: it overfits. Look at regularisation, or end earlier (train.patience)."
        )


def _is_best_last(run: Run) -> bool:
    """Whether the score was still rising, of a run with several evaluations."""
    best, done = run.results.get("best_iteration", -1), run.results.get("iterations")
    evaluations = _column(run, (run.config.get("train") or {}).get("best_metric", "bbox/AP"))
    return run.is_finished and bool(done) and best == done - 1 and len(evaluations) > 1


def _learned_nothing(run: Run) -> Iterator[str]:
    losses = _column(run, "total_loss")
    if run.is_finished and len(losses) >= 3 and losses[-1][1] >= losses[0][1]:
        yield (
            f"The training loss did not fall ({losses[0][1]:.3g} at first, {losses[-1][1]:.3g} at "
            "the end): look at the learning rate and at the training images "
            "(tools/visualize_data.py)."
        )


def _splits_differ(run: Run) -> Iterator[str]:
    valid, test = (run.score(split, "bbox/AP50") for split in ("valid", "test"))
    if run.is_finished and valid is not None and test is not None and abs(valid - test) > _GAP:
        yield (
            f"AP50 is {valid:.1f} on valid and {test:.1f} on test: compare sizes and scenes of the "
            "two splits before trusting a difference of this size."
        )


def _average_is_better(run: Run) -> Iterator[str]:
    average = ((run.results.get("ema") or {}).get("valid") or {}).get("bbox/AP50")
    score = run.score("valid", "bbox/AP50")
    if average is not None and score is not None and average > score + _GAIN:
        yield (
            f"The averaged weights (model_best_ema.pth) have {average - score:.1f} points more "
            "AP50 on valid."
        )


def _column(run: Run, name: str) -> list[tuple[int, float]]:
    """(step, value) of a metric; steps count from 0."""
    rows: list[dict[str, Any]] = run.metrics()
    return [(row["iteration"], row[name]) for row in rows if row.get(name) is not None]


_RULES: tuple[Callable[[Run], Iterator[str]], ...] = (
    _ended_badly,
    _found_nothing,
    _learned_nothing,
    _overfitted,
    _best_was_last,
    _average_is_better,
    _splits_differ,
)
