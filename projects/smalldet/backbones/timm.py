"""Any timm image model as a backbone, by what timm itself says of its features."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import timm
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from timm.layers import Format, freeze_batch_norm_2d
from torch import Tensor, nn

from smalldet.backbones.base import FeatureBackbone
from smalldet.backbones.weight_files import LoadReport, load_matched, read_checkpoint

CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # a moving average first


@BACKBONE_REGISTRY.register()
class TimmBackbone(FeatureBackbone):
    """A timm model that gives features; channels and strides are those of its ``feature_info``.

    Features are named by their stride, ``stride4``, ``stride8`` and so on, so a neck's
    configuration need not change with the model. Nothing is downloaded.

    Args:
        model_name: name in ``timm.list_models()``.
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
    ) -> None:
        super().__init__()
        self.model_name = model_name
        self.init_checkpoint = init_checkpoint
        options = {key: _plain(value) for key, value in (model_options or {}).items()}
        if out_indices is not None:
            options["out_indices"] = tuple(out_indices)
        body = timm.create_model(model_name, pretrained=False, features_only=True, **options)
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
        """Load ``init_checkpoint``, if there is one, and log what matched.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it brings fewer than 95 % of this backbone's tensors.
        """
        if not self.init_checkpoint:
            return
        remedy = (
            "save timm's weights file to that path, or run without pretraining: "
            'init_checkpoint="".'
        )
        what = f"weights of {self.model_name}"
        weights = read_checkpoint(self.init_checkpoint, what, remedy, CONTAINERS)
        load_matching(self.body, weights, self.init_checkpoint)


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
