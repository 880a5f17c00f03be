"""Data sets under names in Detectron2's catalogs: registered once, found again by loaders."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from detectron2.config import instantiate
from detectron2.data import DatasetCatalog, MetadataCatalog

from smalldet.data.errors import DataError

logger = logging.getLogger(__name__)


class DataSet(Protocol):
    """What is registered; :class:`smalldet.data.splits.CocoSplits` is one.

    Attributes:
        name: of the whole.
        splits: names of its parts.
    """

    @property
    def name(self) -> str: ...

    @property
    def splits(self) -> Sequence[str]: ...

    def records(self, split: str) -> list[Any]:
        """Images in Detectron2's format, or recordings; the same list at each call."""
        ...

    def metadata(self, split: str) -> dict[str, Any]:
        """What else is known of a split, equal for equal data; at least ``split``, its name."""
        ...


def register(dataset: DataSet) -> dict[str, str]:
    """Make each split known as ``<name>_<split>``; doing it again changes nothing.

    Returns:
        The registered name by split.

    Raises:
        DataError: a name is taken by other content.
    """
    names = {split: f"{dataset.name}_{split}" for split in dataset.splits}
    for split, name in names.items():
        metadata = dataset.metadata(split)
        if name in DatasetCatalog:
            _check_same(name, metadata)
            continue
        MetadataCatalog.pop(name, None)  # left from a set that was removed from the other catalog
        DatasetCatalog.register(name, partial(dataset.records, split))
        MetadataCatalog.get(name).set(**metadata)
    counts = (f"{name} ({len(dataset.records(split))})" for split, name in names.items())
    logger.info(f"Registered {', '.join(counts)}.")
    return names


def registered(node: Mapping[str, Any]) -> Any:
    """The data set that a config's ``dataset`` describes, its splits registered.

    Raises:
        DataError: see :func:`register`.
    """
    dataset = instantiate(node)
    register(dataset)
    return dataset


def records_of(name: str) -> list[Any]:
    """The images or recordings that are registered as ``name``.

    Raises:
        DataError: nothing is.
    """
    if name not in DatasetCatalog:
        near = ", ".join(difflib.get_close_matches(name, DatasetCatalog.list(), 3, 0.5))
        raise DataError(
            f"No data set is registered as {name!r}{near and f', but {near}'}. The dataset section "
            "of a config registers <name>_<split>; elsewhere call smalldet.data.register(dataset)."
        )
    return DatasetCatalog.get(name)


def _check_same(name: str, metadata: dict[str, Any]) -> None:
    known = MetadataCatalog.get(name).as_dict()
    differing = [key for key, value in metadata.items() if known.get(key) != value]
    if differing:
        raise DataError(
            f"A data set named {name!r} is already registered, from "
            f"{known.get('root', 'somewhere else')}, and differs in {', '.join(differing)}. Give "
            f"this one another dataset.name; if its files were changed meanwhile, start a new "
            f"process."
        )
