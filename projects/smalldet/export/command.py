"""The command: export a run, compare the file with the model, keep it if they agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import transforms as T
from detectron2.modeling.roi_heads import ROIHeads
from torch import nn

from eventcam.errors import EventDataError
from eventcam.io.rvt_folder import RvtFolder
from runfolder.files import replacing
from smalldet.export.check import check
from smalldet.export.program import Plan, Program, Size, plan_of
from smalldet.export.writing import exported, write_onnx, write_pt2, write_weights
from smalldet.heads.rcnn import RCNNHead
from smalldet.predict.exported import GRAPHS, ONNX, WEIGHTS, open_graph
from smalldet.predict.images import ImagePredictor
from smalldet.predict.loading import Predictor, Source, find_source, load_model, predictor_of
from smalldet.predict.manifest import Manifest, config_text

FORMATS = {"onnx": ONNX, "pt2": ".pt2", "weights": WEIGHTS}
TYPICAL_IMAGE = (480, 640)  # height, width; what the resize of evaluation makes of it


def export_run(
    run: Path,
    format: str,
    out: Path | None = None,
    size: Size | None = None,
    weights: str = "",
    overrides: Sequence[str] = (),
) -> str:
    """Write a run's model as a file that was compared with it.

    Args:
        run: a run folder or a config, as for :func:`smalldet.load`.
        format: "onnx", "pt2" (``torch.export``) or "weights" (safetensors).
        out: the file; None: named after the run, in its folder.
        size: height and width of the network's input, px; None: what the run's images or
            recordings have.
        weights: a checkpoint; "" takes the run's best model.
        overrides: ``key=value`` for the config.

    Returns:
        What was written and how it compares, in lines.

    Raises:
        ValueError: the model has no such form, or the file does not do what the model does; no file
            is left then, and one that was there stays.
    """
    if format not in FORMATS:
        raise ValueError(f"There is no format {format}; expected {', '.join(FORMATS)}.")
    if run.suffix in GRAPHS:
        raise ValueError(f"{run} is exported already; name the run folder, a config or weights.")
    source = find_source(run, weights, overrides)
    model = load_model(source, "cpu").eval()
    target = out or (source.folder or Path()) / f"{run.resolve().stem}{FORMATS[format]}"
    if target.suffix != FORMATS[format]:
        raise ValueError(f"{target} should end in {FORMATS[format]}, as --format {format} says.")
    if format == "weights":
        lines = _export_weights(model, source, target)
    else:
        lines = _export_graph(model, source, target, size)
    return "\n".join([f"written: {target} ({target.stat().st_size / 2**20:.1f} MiB)", *lines])


def _export_weights(model: nn.Module, source: Source, target: Path) -> list[str]:
    metadata = Manifest("weights").metadata(config_text(source.cfg))
    with replacing(target) as partial:
        write_weights(model, partial, metadata)
    return ["holds: weights and config, no optimizer; smalldet.load takes it"]


def _export_graph(model: nn.Module, source: Source, target: Path, size: Size | None) -> list[str]:
    predictor = predictor_of(source.cfg, model)
    program = Program(model, getattr(predictor, "representation", "histogram"))
    plan = plan_of(program, size or _usual_size(predictor, source.cfg))
    plan, graph = exported(plan)
    manifest = manifest_of(plan, predictor.class_names)
    metadata = manifest.metadata(config_text(source.cfg))
    with replacing(target) as partial:
        if target.suffix == ONNX:
            write_onnx(plan, graph, partial, metadata)
        else:
            write_pt2(graph, partial, metadata)
        lines = check(open_graph(partial)[0], plan)
    return [_held(plan, model), *lines]


def manifest_of(plan: Plan, class_names: Sequence[str]) -> Manifest:
    """What a predictor must know of the graph of ``plan``."""
    program, head = plan.program, plan.program.head
    nms = None
    if head is not None:
        names = ("score_threshold", "nms_threshold", "max_detections")
        nms = {name: getattr(head, name) for name in names}
    return Manifest(
        holds="features" if head is None else "detections",
        recurrent=program.recurrent,
        class_names=list(class_names),
        size=[*plan.size] if plan.fixed else [],
        multiple=program.multiple,
        padding=program.mean.flatten().tolist(),
        state={name: list(x.shape) for name, x in plan.state.items()},
        outputs=program.output_names(),
        nms=nms,
    )


def _held(plan: Plan, model: nn.Module) -> str:
    state = f" and the state ({len(plan.state)} tensors, zeros start a recording)"
    tail = state if plan.state else ""
    if plan.program.head is not None:
        return f"holds: boxes and confidences of every cell, before NMS{tail}"
    head = getattr(model, "roi_heads", None) or getattr(model, "head", model)
    levels = ", ".join(plan.program.output_names())
    reason = "only YOLOX heads have a form as a graph"
    if isinstance(head, RCNNHead | ROIHeads):
        reason = "the boxes that it works on, and how many, depend on what is in the image"
    return (
        f"holds: the features {levels}{tail}, without {type(head).__name__}: {reason}. For boxes "
        "use the run, or --format weights."
    )


def _usual_size(predictor: Predictor, cfg: dict[str, Any]) -> Size:
    """Height and width of what the run's evaluation gives the network.

    Raises:
        ValueError: that is known of no recording.
    """
    if isinstance(predictor, ImagePredictor):
        seen = T.AugInput(np.zeros((*TYPICAL_IMAGE, 3), np.uint8))
        predictor.augmentations(seen)
        height, width, _ = np.asarray(seen.image).shape
        return height, width
    try:
        kind = predictor.downsample, None, predictor.representation
        folder = RvtFolder(cfg["dataset"]["root"], predictor.class_map.name, *kind)
        recordings = (one for split in ("val", "train", "test") for one in folder.recordings(split))
        return next(recordings).shape[1:]
    except (EventDataError, StopIteration) as error:
        raise ValueError(
            "How large are the representations? The run's recordings are not there to look; pass "
            "--size HEIGHT WIDTH in px (half of the sensor's, unless dataset.downsample is none)."
        ) from error
