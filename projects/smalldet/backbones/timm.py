"""Any timm image model as a backbone, by what timm itself says of its features.

timm, which takes its time to load, is imported on use: most runs have none of its models.
"""

from __future__ import annotations

import logging
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from torch import Tensor, nn

from smalldet.backbones.base import FeatureBackbone
from smalldet.backbones.weight_files import (
    CheckpointError,
    LoadReport,
    load_matched,
    read_checkpoint,
)

logger = logging.getLogger(__name__)

CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # a moving average first
PREFIX = "model.backbone.bottom_up"


@BACKBONE_REGISTRY.register()
class TimmBackbone(FeatureBackbone):
    """A timm model that gives features; channels and strides are those of its ``feature_info``.

    Features are named by their stride, ``stride4``, ``stride8`` and so on, so a neck's
    configuration need not change with the model. Nothing is downloaded but by
    :meth:`load_pretrained` with ``pretrained``.

    Args:
        model_name: name in ``timm.list_models()``, or with the tag of its weights in
            ``timm.list_pretrained()``.
        out_indices: which of the model's features to give, in timm's counting (ResNets count
            their stem: strides 4 to 32 are 1 to 4; ConvNeXts do not: 0 to 3; -1 is the last);
            None: the model's default.
        model_options: further arguments of ``timm.create_model``, such as
            ``{"img_size": (480, 640)}`` or ``{"dynamic_img_size": True}`` for a ViT.
        frozen: never train it.
        freeze_batch_norm: keep statistics and scale of batch norms as loaded, since those of two
            or three images are noise. Leave it off without a checkpoint.
        init_checkpoint: local weights file (.pth, .safetensors) of the whole model, its moving
            average where it holds one; "" for none.
        pretrained: without such a file, start from the weights that timm's hub has for the name.

    Raises:
        ValueError: features of equal stride.
    """

    def __init__(
        self,
        model_name: str,
        out_indices: Sequence[int] | None = None,
        model_options: Mapping[str, Any] | None = None,
        frozen: bool = False,
        freeze_batch_norm: bool = False,
        init_checkpoint: str = "",
        pretrained: bool = False,
    ) -> None:
        import timm
        from timm.layers import Format, freeze_batch_norm_2d

        super().__init__()
        self.model_name = model_name
        self.init_checkpoint, self.pretrained = init_checkpoint, pretrained
        self._options: dict[str, Any] = {k: _plain(v) for k, v in (model_options or {}).items()}
        chosen: dict[str, Any] = {} if out_indices is None else {"out_indices": tuple(out_indices)}
        body = timm.create_model(model_name, features_only=True, **self._options, **chosen)
        self.body: nn.Module = freeze_batch_norm_2d(body) if freeze_batch_norm else body
        self._channels_last = getattr(body, "output_fmt", Format.NCHW) == Format.NHWC
        self._shapes = _declared_shapes(body, model_name)
        if frozen:
            self.freeze()

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride by feature name, finest first."""
        return dict(self._shapes)

    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """Features (B, C, H / stride, W / stride) by name."""
        maps = self.body(images)
        if self._channels_last:
            maps = [x.permute(0, 3, 1, 2).contiguous() for x in maps]
        return dict(zip(self._shapes, maps, strict=True))

    @property
    def size_divisibility(self) -> int:
        """The coarsest stride, so that every level has exactly the size that it declares."""
        return max(shape.stride for shape in self._shapes.values())

    def load_pretrained(self) -> None:
        """Load ``init_checkpoint``, or the hub's weights if asked to, and log what matched.

        Position embeddings are resized to the grid of the model, as timm does.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the hub cannot be reached or has no weights for the name, or they are fewer
                than 95 % of this backbone's tensors.
        """
        if self.init_checkpoint:
            remedy = (
                "save timm's weights file to that path, or run without pretraining: "
                'init_checkpoint="".'
            )
            what, source = f"weights of {self.model_name}", self.init_checkpoint
            weights = read_checkpoint(source, what, remedy, CONTAINERS)
        elif self.pretrained:
            weights, source = hub_weights(self.model_name)
        else:
            return
        load_matching(self.body, self._adapted(weights), source)

    def _adapted(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """``weights`` as timm brings them to this model: today's names, grids resized."""
        import timm
        from timm.models import model_entrypoint

        module = sys.modules[model_entrypoint(self.model_name).__module__]
        adapt = getattr(module, "checkpoint_filter_fn", None)
        if adapt is None:
            return weights
        with torch.device("meta"):  # for its shapes alone
            whole = timm.create_model(self.model_name, **self._options)
        try:
            return adapt(dict(weights), whole)
        except Exception:  # a file of another model may fail in any way
            return weights  # and its names do not match, which is what will be said


def hub_weights(model_name: str) -> tuple[dict[str, Tensor], str]:
    """State dict of a whole model from timm's hub, out of the local cache if it is there.

    Returns:
        The weights, and the page that they come from.

    Raises:
        CheckpointError: the hub has none for that name, or cannot be reached.
    """
    from timm.models import get_pretrained_cfg, load_state_dict_from_hf

    known = get_pretrained_cfg(model_name)
    if known is None or not known.hf_hub_id:
        raise CheckpointError(
            f"timm's hub has no weights of {model_name}. Choose a name of timm.list_pretrained(), "
            f"or train without: {PREFIX}.pretrained=false"
        )
    page = f"https://huggingface.co/{known.hf_hub_id}"
    file: dict[str, Any] = {"filename": known.hf_hub_filename} if known.hf_hub_filename else {}
    logger.info("Weights of %s: from %s, if they are not in the cache.", model_name, page)
    try:
        return load_state_dict_from_hf(known.hf_hub_id, **file), page
    except Exception as error:  # no network, no such page, a damaged cache: each has its own
        reason = str(error).strip().split("\n")[0][:200]
        raise CheckpointError(
            f"The weights of {model_name} could not be fetched ({type(error).__name__}: {reason}). "
            f"Save model.safetensors of {page} and give it as {PREFIX}.init_checkpoint=FILE,"
            f" or train without: {PREFIX}.pretrained=false"
        ) from error


def load_matching(body: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Copy those of ``weights`` that fit by name and shape into ``body``, and log the count.

    Args:
        body: a timm model made with ``features_only``. Such a model flattens or wraps its parts;
            its names are brought back to those of the whole model.
        weights: state dict of the whole model. What ``body`` lacks, the classifier say, is
            dropped.
        source: where they come from, for messages.

    Raises:
        ValueError: fewer than 95 % of ``body``'s tensors matched.
    """
    wanted, weights = _counted(body.state_dict()), _counted(weights)
    names = {name: _name_in_whole_model(name, weights) for name in wanted}
    found = {name: weights[whole] for name, whole in names.items() if whole in weights}
    fitting = {name: x for name, x in found.items() if x.shape == wanted[name].shape}
    report = LoadReport(
        path=source,
        what="weights of a timm model",
        loaded=tuple(fitting),
        missing=tuple(name for name in names if name not in found),
        dropped=tuple(set(weights) - set(names.values())),
        unfit=tuple(
            f"{name} {tuple(x.shape)} for {tuple(wanted[name].shape)}"
            for name, x in found.items()
            if name not in fitting
        ),
    )
    load_matched(body, fitting, report, "Is this the file of another model?")


def _counted(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without batch norm's step counters, which older files lack and no forward pass reads."""
    return {name: x for name, x in weights.items() if not name.endswith("num_batches_tracked")}


def _name_in_whole_model(name: str, weights: Mapping[str, Tensor]) -> str:
    """``stages_0.x`` is ``stages.0.x`` there, and ``model.x`` is ``x``."""
    name = name.removeprefix("model.")
    return name if name in weights else re.sub(r"^([a-z_]+)_(\d+)\.", r"\1.\2.", name)


def _declared_shapes(body: nn.Module, model_name: str) -> dict[str, ShapeSpec]:
    info: Any = body.feature_info
    channels, strides = info.channels(), info.reduction()
    repeated = [stride for stride, count in Counter(strides).items() if count > 1]
    if repeated:
        raise ValueError(
            f"{model_name} gives several features of stride {repeated[0]} (strides {strides}), "
            "and features are named by stride. Choose one of them by out_indices, as (-1,)."
        )
    return {
        f"stride{stride}": ShapeSpec(channels=width, stride=stride)
        for width, stride in zip(channels, strides, strict=True)
    }


def _plain(value: Any) -> Any:
    """Sequences, OmegaConf's included, as tuples."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_plain(item) for item in value)
    return value
