"""What was published with each data set, by the class map of its labels.

Sources: Prophesee's sets as in :mod:`eventcam.class_maps`; their preparation, as that of RVT
(Gehrig and Scaramuzza, CVPR 2023); eTraM was prepared as the 1 Mpx set.
"""

from __future__ import annotations

from dataclasses import dataclass

from eventcam.io.readers.h5 import DEFAULT_HEIGHT, DEFAULT_WIDTH
from eventcam.labels import LabelFilter
from eventcam.representations import Downsample


@dataclass(frozen=True)
class DataSet:
    """How a data set was recorded, and prepared for the published results.

    Attributes:
        sensor: width and height in px, of recordings that do not say it.
        downsample: how representations came to half resolution, if they did.
        label_filter: which boxes were kept, in all splits.
        frame_period_us: labelled frames are multiples of it apart; None: of a tenth of a second,
            by the rate of the labels, 30 or 60 Hz.
    """

    sensor: tuple[int, int]
    downsample: Downsample
    label_filter: LabelFilter
    frame_period_us: int | None


MEGAPIXEL = DataSet((DEFAULT_WIDTH, DEFAULT_HEIGHT), "nearest", LabelFilter(), None)
# Its labels are at 1, 2 or 4 Hz. Four of its training recordings have no box left.
GEN1 = DataSet((304, 240), "none", LabelFilter(min_side=10, min_diagonal=30), 250_000)
_DATA_SETS = {"gen1_2classes": GEN1}


def as_published(class_map: str) -> DataSet:
    """The data set whose labels the class map is for; of any other, as the 1 Mpx set."""
    return _DATA_SETS.get(class_map, MEGAPIXEL)
