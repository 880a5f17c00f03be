"""Runs in one process share Detectron2's catalogs; each test begins with its built-in data sets."""

from __future__ import annotations

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

BUILT_IN = set(DatasetCatalog.list())


@pytest.fixture(autouse=True)
def forgotten_data() -> None:
    for name in set(DatasetCatalog.list()) - BUILT_IN:
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name, None)
