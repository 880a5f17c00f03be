"""Inference in bfloat16, and where autocast must not round."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from torch import Tensor, nn

logger = logging.getLogger(__name__)
PRECISIONS = ("fp32", "bf16")


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Inside, every operation keeps the types that it is given.

    In ``torch.export``, which knows no autocast, it is nothing: a graph without regions of it.
    """
    if torch.compiler.is_exporting():
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def bf16_instructions() -> list[str]:
    """Those of this CPU that multiply bfloat16: ``BF16`` (AVX512-BF16) and ``AMX``, or none."""
    supported = {
        "BF16": torch.cpu._is_avx512_bf16_supported(),
        "AMX": torch.cpu._is_amx_tile_supported(),
    }
    return [name for name, is_there in supported.items() if is_there]


class InBf16(nn.Module):
    """A detector whose products are in bfloat16, by autocast; for inference.

    What must not be rounded is not: the cells of a recurrent memory, selective scans, boxes, and
    scores, whose order is what counts. (On a CPU autocast leaves the softmax of Detectron2's box
    predictors in bfloat16; so what they give is widened before.)
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.train(model.training)

    def forward(self, inputs: Any) -> list[dict[str, Any]]:
        """The detections of ``model``; what floats in ``instances`` is float32."""
        predictors = [m for m in self.model.modules() if isinstance(m, FastRCNNOutputLayers)]
        device = next(self.model.parameters()).device
        with torch.autocast(device.type, torch.bfloat16), ExitStack() as hooks:
            for predictor in predictors:
                hooks.callback(predictor.register_forward_hook(_widen_outputs).remove)
            outputs = self.model(inputs)
        for output in outputs:
            for name, value in output["instances"].get_fields().items():
                if isinstance(value, Tensor):
                    output["instances"].set(name, _widened(value))
        return outputs


def _widen_outputs(module: nn.Module, inputs: Any, outputs: tuple[Tensor, ...]) -> Any:
    return tuple(_widened(x) for x in outputs)


def _widened(x: Tensor) -> Tensor:
    return x.float() if x.dtype == torch.bfloat16 else x


def in_precision(model: nn.Module, precision: str) -> nn.Module:
    """``model`` as it infers in "fp32" (itself) or "bf16" (:class:`InBf16` around it).

    A CPU without instructions for bfloat16 is warned of: there it takes far longer.

    Raises:
        ValueError: another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f'The precision is "{precision}"; expected {" or ".join(PRECISIONS)}.')
    if precision == "fp32":
        return model
    if next(model.parameters()).device.type == "cpu" and not bf16_instructions():
        logger.warning(
            "This CPU has no instructions for bfloat16 (AVX512-BF16, AMX): in bf16 it takes up to "
            "hundreds of times as long as in fp32."
        )
    return InBf16(model)
