"""Scores and losses of a model on a split, without a trace in the training that surrounds them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from smalldet.engine.distributed import unwrapped
from smalldet.engine.random_state import preserved_random_state

logger = logging.getLogger(__name__)


def evaluate(model: nn.Module, loader: Iterable[Any], evaluator: Any) -> dict[str, float | None]:
    """Scores of ``model`` under flat names such as ``bbox/AP50``.

    Args:
        model: In any mode; comes back in the same.
        loader: Yields lists of Detectron2 dicts.
        evaluator: A Detectron2 ``DatasetEvaluator``.

    Returns:
        In the main process the scores (None: undefined, for want of ground truth), elsewhere {}.
    """
    with preserved_random_state():
        results = inference_on_dataset(unwrapped(model), loader, evaluator)
    return flat_scores(results)


def flat_scores(results: Mapping[str, Any] | None, prefix: str = "") -> dict[str, float | None]:
    """``{"bbox": {"AP": 1.0}}`` as ``{"bbox/AP": 1.0}``."""
    flat: dict[str, float | None] = {}
    for name, value in (results or {}).items():
        if isinstance(value, Mapping):
            flat.update(flat_scores(value, f"{prefix}{name}/"))
        else:
            flat[prefix + name] = value
    return flat


def check_metric(metric: str, evaluator: Any) -> None:
    """Raise ValueError unless ``metric`` is a score; known from an evaluation of nothing."""
    evaluator.reset()
    logging.disable(logging.WARNING)
    try:
        known = flat_scores(evaluator.evaluate())
    finally:
        logging.disable(logging.NOTSET)
    if comm.is_main_process() and metric not in known:
        raise ValueError(
            f'train.best_metric is "{metric}", which is none of the scores: {", ".join(known)}.'
        )


def validation_losses(
    model: nn.Module, loader: Iterable[Any], seed: int = 0
) -> dict[str, float | None]:
    """Mean training losses over a split, under names such as ``validation/total_loss``.

    Every call draws the same random samples for the same batch, so that losses of different epochs
    differ by the weights alone. In several processes each image counts once; of recordings, each
    labelled step.

    Args:
        model: Training mode is set for the call, so frozen parts stay as they are.
        loader: Yields lists of Detectron2 dicts with ``instances``.
        seed: Of the model's random sampling.
    """
    model = unwrapped(model)
    was_training = model.training
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()  # its running statistics are those of training alone
    totals: dict[str, float] = {}
    images = 0
    # A storage of its own: models log to the current one as they train.
    with preserved_random_state(), torch.no_grad(), EventStorage():
        for index, batch in enumerate(loader):
            torch.manual_seed(seed + index)
            labelled = sum(labelled_frames(sample) for sample in batch)
            for name, loss in model(batch).items():
                totals[name] = totals.get(name, 0.0) + float(loss) * labelled
            images += labelled
    model.train(was_training)
    return _mean_losses(comm.all_gather((totals, images)))


def labelled_frames(sample: Mapping[str, Any]) -> int:
    """Images that a loss is computed on: 1, or the labelled steps of a chunk of a recording."""
    if "boxes" not in sample:
        return 1
    return sum(boxes is not None for boxes in sample["boxes"])


def _mean_losses(parts: list[tuple[dict[str, float], int]]) -> dict[str, float | None]:
    images = sum(count for _, count in parts)
    names = sorted({name for totals, _ in parts for name in totals})
    if not images:
        return {}
    means = {name: sum(t.get(name, 0.0) for t, _ in parts) / images for name in names}
    named = {f"validation/{name}": value for name, value in means.items()}
    return {"validation/total_loss": sum(means.values()), **named}


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Numbers of trainable and of frozen parameters."""
    sizes: list[Tensor] = list(model.parameters())
    return {
        "trainable": sum(p.numel() for p in sizes if p.requires_grad),
        "frozen": sum(p.numel() for p in sizes if not p.requires_grad),
    }
