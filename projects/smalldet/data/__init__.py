"""Image data: COCO-format splits, filtering, mapping, loading."""

from smalldet.data.checks import check_classes, check_image_count
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
    "check_classes",
    "check_image_count",
    "default_root",
    "filter_coco",
    "report_table",
]
