"""From a run folder, or a config with weights, to a predictor."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.config import instantiate
from detectron2.data import MetadataCatalog
from torch import nn

from eventcam.dataset import EventRecordings
from labbook.config.load import load_config, to_plain
from labbook.config.studies import real_config
from runfolder.names import CONFIG
from smalldet.detectors.recurrent import RecurrentDetector
from smalldet.engine.build import build_model, load_pretrained
from smalldet.engine.settings import read_settings
from smalldet.engine.weights import best_checkpoint, load_start_weights
from smalldet.layers.precision import in_precision
from smalldet.predict.exported import (
    GRAPHS,
    WEIGHTS,
    ExportedRecordings,
    exported_model,
    read_metadata,
)
from smalldet.predict.images import ImagePredictor
from smalldet.predict.manifest import CONFIG_KEY, read_config_text, read_manifest
from smalldet.predict.recordings import EventPredictor

logger = logging.getLogger(__name__)

Predictor = ImagePredictor | EventPredictor


@dataclass(frozen=True)
class Source:
    """What a predictor is made of.

    Attributes:
        cfg: the config in plain dicts and lists.
        weights: a checkpoint; "" leaves each part the pretrained weights that it names.
        folder: the run folder, if it is one.
    """

    cfg: dict[str, Any]
    weights: str
    folder: Path | None = None


def load(
    run: str | Path,
    weights: str | Path = "",
    device: str = "auto",
    overrides: Sequence[str] = (),
    precision: str = "fp32",
) -> Predictor:
    """The predictor of a trained run; mapper, sizes and classes come from its config.

    A ``.py`` config and a ``.pt2`` file are programs: load none from people whose code you would
    not run. What other configs may name is limited (:mod:`runfolder.trust`, whose ``trust`` lets in
    a module of yours).

    Args:
        run: a run folder, whose best model is taken; a config file (``.py`` or ``.yaml``); or a
            file of ``tools/export.py`` (``.onnx``, ``.pt2`` or ``.safetensors``).
        weights: a checkpoint to take instead. A config file without it takes
            ``train.init_checkpoint`` or the best model in ``train.output_dir``.
        device: "auto" (a GPU if there is one), "cpu" or "cuda"; a ``.pt2`` file runs on the CPU.
        overrides: ``key=value`` for the config.
        precision: "fp32", or "bf16" on a GPU, or on a CPU with instructions for it; see
            :func:`smalldet.layers.precision.in_precision`. A graph (``.onnx``, ``.pt2``) has its
            own.

    Returns:
        An :class:`ImagePredictor`, or an :class:`EventPredictor` if the model is recurrent.

    Raises:
        ValueError: it is no run folder and no config, or config and weights do not fit; a precision
            that is not there.
        FileNotFoundError: there are no weights.
    """
    run = Path(run)
    if run.suffix in GRAPHS:
        if weights:
            raise ValueError(f"{run} holds its weights; others ({weights}) cannot be put into it.")
        if precision != "fp32":
            raise ValueError(f"{run} computes as it was exported; name its run for {precision}.")
        exported, config = exported_model(run, device)
        return predictor_of(read_config_text(config, run, overrides), exported)
    source = find_source(run, str(weights), overrides)
    predictor = predictor_of(source.cfg, load_model(source, device))
    predictor.model = in_precision(predictor.model, precision)
    return predictor


def load_model(source: Source, device: str = "auto") -> nn.Module:
    """The model of a config with its weights.

    Raises:
        ValueError, FileNotFoundError: see :func:`load`.
    """
    model = build_model(source.cfg, read_settings({**source.cfg["train"], "device": device}))
    load_weights_of(source, model)
    return model


def load_weights_of(source: Source, model: nn.Module) -> None:
    """Give a model that is built of ``source.cfg`` its weights.

    Raises:
        ValueError, FileNotFoundError: see :func:`load`.
    """
    if source.weights:
        load_start_weights(model, source.weights)
        logger.info(f"Weights of {source.weights}.")
    else:
        load_pretrained(model, "")


def find_source(run: Path, weights: str = "", overrides: Sequence[str] = ()) -> Source:
    """The config of a run and the checkpoint to take.

    Raises:
        ValueError, FileNotFoundError: see :func:`load`.
    """
    is_toy = real_config(run) is not None
    if not (run.exists() or is_toy):
        raise FileNotFoundError(f"There is no run folder, config or exported file {run}.")
    if run.suffix == WEIGHTS:
        metadata = read_metadata(run)
        read_manifest(metadata, run)
        return Source(read_config_text(metadata[CONFIG_KEY], run, overrides), weights or str(run))
    config = run / CONFIG if run.is_dir() else run
    if not (config.is_file() or is_toy):
        raise ValueError(f"{run} is no run folder: it has no {CONFIG}. Name one that has.")
    cfg = to_plain(load_config(config, overrides))
    folder = config.parent if config.name == CONFIG else None
    if not weights and folder is not None:
        weights = str(best_checkpoint(folder))
    return Source(cfg, weights or _weights_of(cfg), folder)


def _weights_of(cfg: dict[str, Any]) -> str:
    """What a config file without a run folder says, or what its run has left."""
    named = cfg["train"].get("init_checkpoint") or ""
    left = best_checkpoint(Path(cfg["train"].get("output_dir") or "."))
    return named or (str(left) if left.exists() else "")


def predictor_of(cfg: dict[str, Any], model: nn.Module) -> Predictor:
    """A predictor around a model with weights, as its config says.

    Args:
        cfg: plain dicts and lists.
        model: built from it, or exported.

    Raises:
        ValueError: the config has no mapper of images, or no data set of recordings.
    """
    dataset = instantiate(cfg["dataset"]) if cfg.get("dataset") else None
    if isinstance(model, RecurrentDetector | ExportedRecordings):
        if not isinstance(dataset, EventRecordings):
            raise ValueError("The config has no dataset of recordings, which says how to count.")
        how = dataset.downsample, dataset.representation
        return EventPredictor(model, dataset.class_map, *how)
    names = getattr(dataset, "classes", None) or _registered_names(cfg)
    mapper = _mapper(cfg)
    return ImagePredictor(model, names, mapper.augmentations.augs, mapper.image_format)


def _mapper(cfg: dict[str, Any]) -> Any:
    """The mapper of evaluation: that of test, or else of valid."""
    for split in ("test", "valid"):
        node = (cfg["dataloader"].get(split) or {}).get("mapper")
        if node:
            return instantiate(node)
    raise ValueError(
        "The config has no dataloader.test.mapper, which says how images become inputs; expected "
        "one with augmentations and image_format, as Detectron2's DatasetMapper."
    )


def _registered_names(cfg: dict[str, Any]) -> Sequence[str]:
    """Class names that Detectron2 knows of the evaluated data set; numbers where it knows none."""
    names = ((cfg["dataloader"].get("test") or {}).get("dataset") or {}).get("names") or ()
    first = names if isinstance(names, str) else next(iter(names), "")
    return MetadataCatalog.get(first).get("thing_classes", ()) if first else ()
