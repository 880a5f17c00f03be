"""Going on with a run: from a checkpoint that lacks nothing of what the run consists of."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.utils import comm
from torch import nn

from runfolder.checkpoints import last_checkpoint
from runfolder.checksums import DamagedFileError, has_checksum, verify_checksum
from runfolder.names import LAST_CHECKPOINT, TOTAL_LOSS
from smalldet.backbones.weight_files import CheckpointError, kind, listed
from smalldet.engine.checkpoint import RunCheckpointer
from smalldet.engine.distributed import unwrapped
from smalldet.engine.hooks.evaluation import Evaluate
from smalldet.engine.random_state import preserved_random_state, restore_random_state
from smalldet.engine.trainer import Trainer
from smalldet.engine.weights import WHOLE, advice, load_weights, mismatches

LIKE_PARAMETERS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")
"""What optimizers keep of each parameter in its shape."""
_NEWER = ("optimizer_entries", "micro_batch_size")

logger = logging.getLogger(__name__)


def resume_from(trainer: Trainer, checkpointer: RunCheckpointer, fingerprint: str) -> int:
    """Restore the last checkpoint; return the first step to do.

    Args:
        trainer: with all hooks that have a state.
        checkpointer: of the run folder.
        fingerprint: of the data.

    Raises:
        FileNotFoundError, CheckpointError: the checkpoint is not there, damaged, or lacks
            something; the message offers the newest good one.
        ValueError: the model or the data are not those that it was trained with.
    """
    path = last_of(Path(checkpointer.save_dir))
    checkpoint = load_weights(checkpointer.model, path, WHOLE)
    check_whole(trainer, checkpoint, path)
    if checkpoint["data_fingerprint"] != fingerprint:
        raise ValueError(
            f"The data set is not the one that the run in {checkpointer.save_dir} was trained on "
            "so far (annotations differ). Restore it, or start a new run in another "
            "train.output_dir."
        )
    trainer.load_state_dict(checkpoint["trainer"])
    _restore_process(trainer, checkpoint["processes"])
    logger.info(f"Resuming from {path}, after step {trainer.iter + 1}.")
    return trainer.iter + 1


def last_of(folder: Path) -> Path:
    """The checkpoint to go on from; CheckpointError if ``last_checkpoint`` names none."""
    pointer, path = folder / LAST_CHECKPOINT, last_checkpoint(folder)
    if path is None:
        raise CheckpointError(f"{pointer} is empty. {advice(pointer, WHOLE)}")
    if not path.is_file():
        raise CheckpointError(
            f"{pointer} names {path.name}, which is not there. {advice(pointer, WHOLE)}"
        )
    if not pointer.exists():
        logger.warning(f"There is no {pointer}; {path.name} is the newest checkpoint beside it.")
    return path


def check_whole(trainer: Trainer, checkpoint: Mapping[str, Any], path: Path) -> None:
    """CheckpointError unless every part that the trainer and its hooks save is there, and alike."""
    found, processes = checkpoint["trainer"], checkpoint["processes"]
    problems = list(
        chain(_trainer_problems(trainer, found), _process_problems(trainer.model, processes))
    )
    if problems:
        older = "" if has_checksum(path) else "; an earlier version or another program wrote it"
        raise CheckpointError(
            f"{path} is no whole checkpoint of this run{older}. {len(problems)} of its entries "
            f"differ: {listed(problems)}. {advice(path, WHOLE)}"
        )


def forget_lost_models(evaluations: Iterable[Evaluate]) -> None:
    """Where the best weights so far are gone or damaged, the best of the rest will count."""
    for evaluation in evaluations:
        path = evaluation.checkpointer.path(evaluation.best_name)
        if evaluation.best_iteration < 0 or _is_good(path):
            continue
        logger.warning(
            f"{path}, the best model so far ({evaluation.metric} {evaluation.best_score:.3f} after "
            f"step {evaluation.best_iteration + 1}), is gone or damaged. The best one from here on "
            "takes its place; to keep it, stop, put the file back, and resume."
        )
        evaluation.forget()


def _is_good(path: Path) -> bool:
    try:
        verify_checksum(path)
    except (DamagedFileError, OSError):
        return False
    return True


def _trainer_problems(trainer: Trainer, found: Any) -> Iterator[str]:
    if not isinstance(found, Mapping):
        yield f"trainer is {kind(found)}"
        return
    # What grows with the first step is looked at apart. Earlier versions lack two numbers.
    grown = {key: 0 for key in ("optimizer", "history") if key in found}
    expected = trainer.state_dict() | {"optimizer": 0, "history": 0}
    yield from mismatches(expected, {**dict.fromkeys(_NEWER, 0), **found, **grown}, "trainer")
    if "optimizer" in found:
        count = found.get("optimizer_entries")
        yield from _optimizer_problems(trainer.optimizer, found["optimizer"], count)
    if "history" in found:
        yield from _history_problems(found["history"])


def _optimizer_problems(
    optimizer: torch.optim.Optimizer, found: Any, count: int | None
) -> Iterator[str]:
    name = "trainer.optimizer"
    expected = optimizer.state_dict()
    if problems := mismatches({"state": {}, "param_groups": []}, _emptied(found), name):
        yield from problems
        return
    groups, state = found["param_groups"], found["state"]
    numbers = [_numbers(group) for group in expected["param_groups"]]
    yield from mismatches(numbers, [_numbers(g) for g in groups], f"{name}.param_groups")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, entry in state.items():
        if index not in range(len(parameters)) or not isinstance(entry, Mapping):
            yield f"{name}.state.{index} is unknown"
            continue
        kept = {key: entry[key] for key in LIKE_PARAMETERS if entry.get(key) is not None}
        alike = dict.fromkeys(kept, parameters[index].detach())
        yield from mismatches(alike, kept, f"{name}.state.{index}")
    if count is not None and len(state) != count:
        yield f"{name}.state has {len(state)} entries instead of {count}"


def _numbers(group: Any) -> Any:
    """Of a group of parameters; switches, which come and go with versions of torch, left out."""
    if not isinstance(group, Mapping):
        return group
    return {key: x for key, x in group.items() if not isinstance(x, bool | None)}


def _emptied(value: Any) -> Any:
    """A dict with its dicts and lists, but without what these hold."""
    if not isinstance(value, Mapping):
        return value
    return {key: type(x)() if isinstance(x, dict | list) else x for key, x in value.items()}


def _history_problems(history: Any) -> Iterator[str]:
    try:
        values = [value for entry, _ in history.values() for pair in entry for value in pair]
        np.asarray(values, dtype=float)
    except (AttributeError, TypeError, ValueError):
        yield "trainer.history holds no numbers by step"
        return
    if TOTAL_LOSS not in history:
        yield f"trainer.history.{TOTAL_LOSS} is missing"


def _process_problems(model: nn.Module, processes: Any) -> Iterator[str]:
    if not isinstance(processes, list) or not processes:
        yield f"processes is {kind(processes)} without entries"
        return
    own: dict[str, Any] = {"random": {}}
    if hasattr(unwrapped(model), "recurrent_state"):
        own["recurrent"] = {}
    for number, process in enumerate(processes):
        name = f"processes.{number}"
        problems = mismatches(own, _emptied(process), name)
        if not problems and (reason := _why_not_restored(process["random"])):
            problems = [f"{name}.random cannot be restored ({reason})"]
        yield from problems


def _why_not_restored(state: Any) -> str:
    with preserved_random_state():
        try:
            restore_random_state(state)
        except Exception as error:  # of three libraries
            return f"{type(error).__name__}: {error}"
    return ""


def _restore_process(trainer: Trainer, processes: list[dict[str, Any]]) -> None:
    """What this process had of its own, if there are as many of them as there were."""
    if len(processes) != comm.get_world_size():
        logger.warning(
            f"The checkpoint was written by {len(processes)} processes and is resumed by "
            f"{comm.get_world_size()}; random sampling goes on differently from here, and streams "
            "of recordings start without memory."
        )
        return
    mine = processes[comm.get_rank()]
    if ("cuda" in mine["random"]) != torch.cuda.is_available():
        logger.warning(
            "The checkpoint was written with a GPU and is resumed without, or the reverse; random "
            "sampling and rounding go on differently from here."
        )
    trainer.restore_random_state_at_start(mine["random"])
    if "recurrent" in mine:
        model: Any = unwrapped(trainer.model)
        model.load_recurrent_state(mine["recurrent"])
