"""RVT as plain operations on its published weights, by name: nothing fused, nothing cached.

Gehrig and Scaramuzza, Recurrent Vision Transformers for Object Detection with Event Cameras, 2023,
arXiv 2212.05598; neck and head: Ge et al., YOLOX, 2021, arXiv 2107.08430. Shape shorthand: B
frames, (H, W) padded input, C channels, (P, Q) partition size, A cells over the three levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms

State = tuple[Tensor, Tensor] | None
UNIT = 32  # px; the input is (P, Q) * UNIT * split


class PublishedRVT:
    """The published model with one attention pair a stage and one bottleneck or more.

    Args:
        weights: parameters and statistics by published name (``backbone.``, ``fpn.``,
            ``yolox_head.``); they are not copied, so gradients reach whoever owns them.
        dim_head: channels of an attention head.
        patch_size: stride of the first stage.
        split: windows along each side of the map of stride 32.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], dim_head: int = 32, patch_size: int = 4, split: int = 2
    ) -> None:
        self.weights = weights
        self.dim_head, self.patch_size, self.split = dim_head, patch_size, split
        self.training = False

    def backbone(self, counts: Tensor, states: Sequence[State]) -> tuple[list[Tensor], list[State]]:
        """Hidden states (B, C, h, w) of the four stages, and the next states.

        Args:
            counts: (B, 20, H0, W0) uint8.
            states: of each stage.
        """
        x, multiple = counts.float(), UNIT * self.split
        down, right = (-side % multiple for side in x.shape[-2:])
        x = F.pad(x, (0, right, 0, down))
        size = (x.shape[-2] // multiple, x.shape[-1] // multiple)
        following: list[State] = []
        for i, state in enumerate(states):
            name = f"backbone.stages.{i}"
            factor = self.patch_size if i == 0 else 2
            kernel = self.weights[f"{name}.downsample_cf2cl.conv.weight"]
            x = F.conv2d(x, kernel, stride=factor, padding=factor - 1).permute(0, 2, 3, 1)
            x = self.norm(x, f"{name}.downsample_cf2cl.norm")
            for kind in ("att_window", "att_grid"):
                x = self.block(x, f"{name}.att_blocks.0.{kind}", size, kind == "att_grid")
            x, cell = self.lstm(x.permute(0, 3, 1, 2), state, f"{name}.lstm.conv1x1")
            following.append((x, cell))
        return [state[0] for state in following if state], following

    def block(self, x: Tensor, name: str, size: tuple[int, int], grid: bool) -> Tensor:
        """Attention and feed-forward layer on a map (B, h, w, C)."""
        y = self.norm(x, f"{name}.norm1") if f"{name}.norm1.weight" in self.weights else x
        y = self.attention(cut(y, size, grid), f"{name}.self_attn")
        x = x + self.weights[f"{name}.ls1.gamma"] * put_back(y, x.shape, size, grid)
        y = F.gelu(self.linear(self.norm(x, f"{name}.norm2"), f"{name}.mlp.net.0.0"))
        return x + self.weights[f"{name}.ls2.gamma"] * self.linear(y, f"{name}.mlp.net.2")

    def attention(self, x: Tensor, name: str) -> Tensor:
        """Within groups (N, L, C); channels are ordered head by head: q, k, v of each."""
        qkv = self.linear(x, f"{name}.qkv").view(*x.shape[:2], -1, 3 * self.dim_head)
        query, key, value = qkv.transpose(1, 2).chunk(3, dim=3)
        weights = (query @ key.transpose(2, 3) * self.dim_head**-0.5).softmax(-1)
        return self.linear((weights @ value).transpose(1, 2).reshape(x.shape), f"{name}.proj")

    def lstm(self, x: Tensor, state: State, name: str) -> tuple[Tensor, Tensor]:
        hidden, cell = state or (torch.zeros_like(x), torch.zeros_like(x))
        mixed = self.conv(torch.cat([x, hidden], dim=1), name)
        gates, candidate = mixed.tensor_split([3 * x.shape[1]], dim=1)
        forget, write, read = gates.sigmoid().chunk(3, dim=1)
        cell = forget * cell + write * candidate.tanh()
        return read * cell.tanh(), cell

    def fuse(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The three levels that the head sees, finest first, from those of stages 2, 3 and 4."""
        fine, middle, coarse = features
        coarse = self.conv_block(coarse, "fpn.lateral_conv0")
        x = self.csp(torch.cat([twice(coarse), middle], dim=1), "fpn.C3_p4")
        middle = self.conv_block(x, "fpn.reduce_conv1")
        fine = self.csp(torch.cat([twice(middle), fine], dim=1), "fpn.C3_p3")
        x = torch.cat([self.conv_block(fine, "fpn.bu_conv2", 2), middle], dim=1)
        middle = self.csp(x, "fpn.C3_n3")
        x = torch.cat([self.conv_block(middle, "fpn.bu_conv1", 2), coarse], dim=1)
        return [fine, middle, self.csp(x, "fpn.C3_n4")]

    def csp(self, x: Tensor, name: str) -> Tensor:
        one, other = self.conv_block(x, f"{name}.conv1"), self.conv_block(x, f"{name}.conv2")
        number = 0
        while f"{name}.m.{number}.conv1.conv.weight" in self.weights:
            one = self.conv_block(one, f"{name}.m.{number}.conv1")
            one = self.conv_block(one, f"{name}.m.{number}.conv2")
            number += 1
        return self.conv_block(torch.cat([one, other], dim=1), f"{name}.conv3")

    def outputs(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Raw outputs (B, A, 5 + classes), and column and row (A, 2) and stride (A,) of cells."""
        found, places, strides = [], [], []
        for i, level in enumerate(levels):
            name = "yolox_head.{}." + str(i)
            x = self.conv_block(level, name.format("stems"))
            for_class, for_box = x, x
            for j in range(2):
                for_class = self.conv_block(for_class, f"{name.format('cls_convs')}.{j}")
                for_box = self.conv_block(for_box, f"{name.format('reg_convs')}.{j}")
            boxes, objectness, classes = (
                self.conv(y, name.format(part))
                for y, part in (
                    (for_box, "reg_preds"),
                    (for_box, "obj_preds"),
                    (for_class, "cls_preds"),
                )
            )
            found.append(torch.cat([boxes, objectness, classes], dim=1).flatten(2).permute(0, 2, 1))
            rows, columns = x.shape[-2:]
            down, right = torch.meshgrid(
                *(torch.arange(n, device=x.device) for n in (rows, columns)), indexing="ij"
            )
            places.append(torch.stack([right, down], dim=-1).view(-1, 2).float())
            strides.append(x.new_full((rows * columns,), 2.0 ** (i + 1) * self.patch_size))
        return torch.cat(found, dim=1), torch.cat(places), torch.cat(strides)

    def detect(self, levels: Sequence[Tensor], confidence: float, overlap: float) -> list[Tensor]:
        """For each frame (n, 7): x1, y1, x2, y2, objectness, class confidence, class."""
        outputs, places, strides = self.outputs(levels)
        middles = (outputs[..., :2] + places) * strides[:, None]
        halves = outputs[..., 2:4].exp() * strides[:, None] / 2
        scores = outputs[..., 4:].sigmoid()
        decoded = torch.cat([middles - halves, middles + halves, scores], dim=-1)
        detections = []
        for frame in decoded:
            best, label = frame[:, 5:].max(dim=1, keepdim=True)
            rows = torch.cat([frame[:, :5], best, label.float()], dim=1)
            rows = rows[frame[:, 4] * best[:, 0] >= confidence]
            kept = batched_nms(rows[:, :4], rows[:, 4] * rows[:, 5], rows[:, 6], overlap)
            detections.append(rows[kept])
        return detections

    def norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], *self.pair(name))

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, *self.pair(name))

    def conv(self, x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, *self.pair(name))

    def conv_block(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = self.weights[f"{name}.conv.weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=(kernel.shape[-1] - 1) // 2)
        statistics = (self.weights[f"{name}.bn.running_{kind}"] for kind in ("mean", "var"))
        return F.silu(F.batch_norm(x, *statistics, *self.pair(f"{name}.bn"), self.training))

    def pair(self, name: str) -> tuple[Tensor, Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]


def cut(x: Tensor, size: tuple[int, int], grid: bool) -> Tensor:
    """Groups (N, P * Q, C) of a map: its windows, or its grids."""
    (batch, height, width, channels), (rows, columns) = x.shape, size
    if grid:
        x = x.reshape(batch, rows, height // rows, columns, width // columns, channels)
        x = x.permute(0, 2, 4, 1, 3, 5)
    else:
        x = x.reshape(batch, height // rows, rows, width // columns, columns, channels)
        x = x.permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, rows * columns, channels)


def put_back(x: Tensor, shape: Sequence[int], size: tuple[int, int], grid: bool) -> Tensor:
    """The map that was cut."""
    (batch, height, width, channels), (rows, columns) = shape, size
    x = x.view(batch, height // rows, width // columns, rows, columns, channels)
    return x.permute(*((0, 3, 1, 4, 2, 5) if grid else (0, 1, 3, 2, 4, 5))).reshape(*shape)


def twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest-exact")
