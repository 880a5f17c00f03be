"""What a config will do: its model, weights, data, sizes of boxes, schedule and one real step."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from detectron2.config import instantiate
from detectron2.engine import hooks
from torch import nn

from smalldet.data.catalog import registered
from smalldet.data.check.advice import SMALL, anchor_advice, overrides, size_advice
from smalldet.data.check.shapes import BoxShapes, box_shapes, shapes_of
from smalldet.doctor.findings import Finding, examine, status
from smalldet.doctor.weights import pretrained
from smalldet.engine.build import build_model, build_trainer, head_classes
from smalldet.engine.evaluate import parameter_counts
from smalldet.engine.hooks.metrics import peak_memory_mb
from smalldet.engine.settings import TrainSettings, read_settings

BARS = "▁▂▃▄▅▆▇█"
POINTS = 40  # of the learning rate's curve
Config = Mapping[str, Any]


def examine_config(cfg: Config, takes_step: bool = True) -> dict[str, Finding]:
    """Look at a loaded config as training would, from the model to one step of optimisation.

    What needs a part that is red is left out.

    Args:
        cfg: plain dicts and lists, checked and resolved.
        takes_step: whether to take one step on the device that the config names, which reads data
            and takes its time. Nothing is written to the run folder.
    """
    built: dict[str, Any] = {}

    def keep(name: str, make: Callable[[], Any], describe: Callable[[Any], str]) -> Finding:
        built[name] = make()
        return Finding("green", describe(built[name]))

    findings = examine(
        {"train": partial(keep, "settings", lambda: read_settings(cfg["train"]), _run)}
    )
    if status(findings):
        return findings
    settings = built["settings"]
    model = partial(keep, "model", lambda: build_model(cfg, settings), _model)
    findings |= examine({"model": model, "learning rate": lambda: learning_rate(cfg, settings)})
    if "model" not in built:
        return findings
    weights = partial(pretrained, built["model"], settings.init_checkpoint)
    findings |= examine({"start weights": weights})
    if cfg.get("dataset"):
        data = partial(keep, "data", lambda: _checked(cfg, settings, built["model"]), _data)
        findings |= examine({"data": data})
        if "data" not in built:
            return findings
        sizes = partial(box_sizes, cfg, built["data"], built["model"])
        findings |= examine({"sizes of boxes": sizes})
    if takes_step:
        findings |= examine({"one step": lambda: one_step(cfg, settings, built["model"])})
    return findings


def learning_rate(cfg: Config, settings: TrainSettings) -> Finding:
    """The curve of the learning rate, as small bars, with its start, peak and end."""
    multiplier: Any = instantiate(cfg["lr_multiplier"])
    steps = np.unique(np.linspace(0, settings.max_iter - 1, 1000).astype(int))
    base = float(cfg["optimizer"]["lr"])
    rates = base * np.array([multiplier(step / settings.max_iter) for step in steps])
    peak = int(rates.argmax())
    shown = rates[np.linspace(0, len(rates) - 1, POINTS).astype(int)]
    curve = "".join(BARS[round(share * (len(BARS) - 1))] for share in shown / rates.max())
    found = (
        f"|{curve}| {rates[0]:.2g} at first, {rates[peak]:.2g} at step {steps[peak]:,}, "
        f"{rates[-1]:.2g} at the end, after {settings.max_iter:,} steps"
    )
    return Finding("info", found)


def box_sizes(cfg: Config, dataset: Any, model: nn.Module) -> Finding:
    """Boxes to learn from against the strides and anchors of the model, in px of its input."""
    shapes, size = _shapes(cfg, dataset)
    backbone: Any = getattr(model, "backbone", None)
    if shapes is None or backbone is None:
        return Finding("info", "not known: no dataloader.image_size, or no model.backbone")
    strides = sorted(shape.stride for shape in backbone.output_shape().values())
    proposals = cfg["model"].get("proposal_generator") or {}
    anchors = (proposals.get("anchor_generator") or {}).get("sizes") or []
    smallest = min((side for level in anchors for side in level), default=0)
    low, median, high = np.quantile(shapes.sides, [0.05, 0.5, 0.95])
    below = shapes.smaller_than(strides[0])
    found = (
        f"{low:.3g} to {high:.3g} px, median {median:.3g}; strides {', '.join(map(str, strides))}"
        f"{f'; smallest anchor {smallest:g} px' if smallest else ''}; {below:.0%} of the boxes are "
        f"below the finest stride"
    )
    advised: dict[str, Any] = {}
    if size:
        advised = dict(size_advice(shapes, size, size, strides[0]))
        zoom = advised.get("dataloader.image_size", size) / size
        advised |= anchor_advice(shapes, zoom, strides[0], smallest) if smallest else {}
    if advised:
        return Finding("yellow", found, " ".join(overrides(advised)))
    if below > SMALL:
        fix = "A finer level, as in configs/etram/4scale_100k.py, or a smaller patch."
        return Finding("yellow", found, fix)
    return Finding("green", found)


def one_step(cfg: Config, settings: TrainSettings, model: nn.Module) -> Finding:
    """Time and memory of one step on this device, and what a whole run takes at that rate.

    On a GPU the second step counts: the first chooses kernels.
    """
    steps = 2 if next(model.parameters()).is_cuda else 1
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(cfg, replace(settings, output_dir=folder), model)
        trainer.register_hooks([hooks.IterationTimer(steps)])
        logging.disable()  # an error is a finding, not a page of log
        try:
            trainer.train(0, steps)
        finally:
            logging.disable(logging.NOTSET)
    seconds = trainer.storage.history("time").latest()
    hours = seconds * settings.max_iter / 3600
    return Finding(
        "info",
        f"{seconds:.3g} s, {peak_memory_mb():,.0f} MiB, on {trainer.device}; {hours:.3g} h for "
        f"{settings.max_iter:,} steps, without evaluation",
    )


def _run(settings: TrainSettings) -> str:
    return f"{settings.max_iter:,} steps, into {settings.output_dir}"


def _model(model: nn.Module) -> str:
    counts = parameter_counts(model)
    millions = {name: count / 1e6 for name, count in counts.items()}
    return (
        f"{type(model).__name__}, {millions['trainable']:.3g} M parameters to train, "
        f"{millions['frozen']:.3g} M frozen"
    )


def _checked(cfg: Config, settings: TrainSettings, model: nn.Module) -> Any:
    dataset = registered(cfg["dataset"])
    dataset.check(head_classes(model), settings.images)
    return dataset


def _data(dataset: Any) -> str:
    counts = {split: len(dataset.records(split)) for split in dataset.splits}
    return f"{dataset.root}: {', '.join(f'{split} {count}' for split, count in counts.items())}"


def _shapes(cfg: Config, dataset: Any) -> tuple[BoxShapes | None, int]:
    """Training boxes in px of the network input, and its side; 0 for recordings, None unknown."""
    if hasattr(dataset, "recordings"):
        found = [
            recording.boxes(frame)[0]
            for recording in dataset.recordings("train")
            for frame in range(recording.num_frames)
        ]
        return shapes_of([box[:, 2:] - box[:, :2] for box in found]), 0
    size = cfg["dataloader"].get("image_size")
    if not isinstance(size, int):
        return None, 0
    keep_aspect = cfg["dataloader"].get("resize") == "keep_aspect"
    return box_shapes(dataset.records("train"), size, keep_aspect), size
