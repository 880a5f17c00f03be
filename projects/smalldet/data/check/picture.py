"""A picture of how large boxes are beside what the network can see and propose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from runfolder.files import replacing
from smalldet.data.check.advice import LEVELS
from smalldet.data.check.shapes import BoxShapes

BINS_PER_DOUBLING = 4


def draw_sizes(
    splits: Mapping[str, BoxShapes], image_size: int, stride: int, anchor: float, path: Path
) -> None:
    """Histograms of the sides of boxes, with strides and anchors as lines, as a PNG.

    Args:
        splits: shapes by name, at ``image_size``.
        image_size: height and width of the network input, px.
        stride: of the finest level, px of the input; each further level doubles it.
        anchor: side of the smallest anchor, px of the input; likewise.
        path: is replaced.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    every = np.concatenate([[stride, image_size], *(shapes.sides for shapes in splits.values())])
    low, high = np.floor(np.log2(max(every.min(), 0.5))), np.ceil(np.log2(every.max()))
    bins = 2 ** np.arange(low, high + 1e-6, 1 / BINS_PER_DOUBLING)
    for name, shapes in splits.items():
        weights = np.full(len(shapes.sides), 100 / max(len(shapes.sides), 1))
        label = f"{name}: {len(shapes.sides):,} boxes"
        axes.hist(shapes.sides.clip(bins[0], bins[-1]), bins.tolist(), weights=weights, label=label,
                  histtype="step", linewidth=1.8)  # fmt: skip
    lines = (("stride", stride, ":", "tab:gray"), ("anchor", anchor, "--", "tab:red"))
    for row, (kind, first, style, colour) in enumerate(lines):
        sides = [side for level in range(LEVELS) if (side := first * 2**level) < bins[-1]]
        for level, side in enumerate(sides):
            axes.axvline(side, color=colour, linestyle=style, linewidth=1, zorder=0,
                         label=f"{kind}s" if not level else None)  # fmt: skip
            axes.annotate(f"{side:g}", (side, 1 - 0.05 * row), (2, -2), va="top", color=colour,
                          xycoords=("data", "axes fraction"), fontsize=8,
                          textcoords="offset points")  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xlim(bins[0], bins[-1])
    axes.set_xticks(bins[::BINS_PER_DOUBLING], [f"{side:g}" for side in bins[::BINS_PER_DOUBLING]])
    axes.set_xlabel(f"square root of the area of a box, px of the network input ({image_size} px)")
    axes.set_ylabel("share of the boxes, %")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120)
