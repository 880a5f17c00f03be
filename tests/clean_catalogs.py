"""Detectron2's catalogs, which all tests of a process share, as they are after its import."""

from __future__ import annotations

from detectron2.data import DatasetCatalog, MetadataCatalog

BUILT_IN = set(DatasetCatalog.list())


def forget_data() -> None:
    for name in set(DatasetCatalog.list()) - BUILT_IN:
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name, None)
