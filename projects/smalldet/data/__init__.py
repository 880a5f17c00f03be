"""Images on disk to batches in memory.

In comes a folder with three COCO exports (``splits``), filtered once into a sound copy (``filter``)
and registered by name (``catalog``); out come Detectron2's dicts: ``mapper`` augments one image
(``augment`` and ``mosaic`` hold what Detectron2 lacks), ``loader`` deals them out in an order that
``sample_stream`` fixes. Whoever looks at the file of an image reads it by ``images``. ``check``
looks at a data set before training. Imports ``evaluation`` of smalldet at most, and no model. Start
reading at ``splits``, then ``loader``.
"""

from smalldet.data.catalog import records_of, register, registered
from smalldet.data.errors import DataError
from smalldet.data.filter.annotations import filter_coco
from smalldet.data.filter.report import FilterReport, report_table
from smalldet.data.loader import TrainLoader, build_eval_loader, build_train_loader
from smalldet.data.mapper import SeededMapper
from smalldet.data.splits import SPLITS, CocoSplits, default_root

__all__ = [
    "SPLITS",
    "CocoSplits",
    "DataError",
    "FilterReport",
    "SeededMapper",
    "TrainLoader",
    "build_eval_loader",
    "build_train_loader",
    "default_root",
    "filter_coco",
    "records_of",
    "register",
    "registered",
    "report_table",
]
