"""Class maps by name: how the ids of raw label files become the ids that a model learns.

The raw ids of eTraM (Verma et al., "eTraM: Event-based Traffic Monitoring Dataset", CVPR 2024) are
0 pedestrian, 1 car, 2 bicycle, 3 bus, 4 motorbike, 5 truck, 6 tram, 7 wheelchair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from eventcam.errors import EventDataError

ETRAM_RAW = ("pedestrian", "car", "bicycle", "bus", "motorbike", "truck", "tram", "wheelchair")


@dataclass(frozen=True)
class ClassMap:
    """From raw class ids to those of a study.

    Attributes:
        name: how configs and manifests call it.
        classes: names of the mapped classes; the position is the id.
        from_raw: raw id -> mapped id; boxes with any other raw id are dropped and counted.
        small: mapped ids whose mean AP is reported as small-class AP.
    """

    name: str
    classes: tuple[str, ...]
    from_raw: Mapping[int, int] = field(repr=False)
    small: tuple[int, ...] = ()

    def apply(self, labels: np.ndarray) -> tuple[np.ndarray, Counter[str]]:
        """Boxes (structured) with mapped ids, and how many were dropped, by raw id."""
        mapped = np.full(len(labels), -1, np.int64)
        for raw, new in self.from_raw.items():
            mapped[labels["class_id"] == raw] = new
        known = mapped >= 0
        kept = labels[known].copy()
        kept["class_id"] = mapped[known]
        unknown = Counter(labels["class_id"][~known].tolist())
        return kept, Counter({f"boxes_of_raw_class_{raw}": n for raw, n in unknown.items()})


def get_class_map(name: str) -> ClassMap:
    """The map of that name.

    Raises:
        EventDataError: there is none; the text lists the names.
    """
    if name not in CLASS_MAPS:
        raise EventDataError(f"Unknown class map {name!r}; expected one of {sorted(CLASS_MAPS)}.")
    return CLASS_MAPS[name]


def check_class_map(found: str, wanted: str, where: object) -> None:
    """Refuse data that were prepared with another map.

    Raises:
        EventDataError: ``found`` is not ``wanted``.
    """
    if found != get_class_map(wanted).name:
        raise EventDataError(
            f"{where} was prepared with the class map {found!r}, but {wanted!r} is asked for: the "
            f"same ids mean other classes. Set the class map to {found!r}, or prepare the "
            f"recordings into another folder with `tools/prepare_etram.py RAW OUT --class-map "
            f"{wanted}`."
        )


def _from_names(
    name: str, classes: tuple[str, ...], groups: Mapping[str, str], small: tuple[str, ...]
) -> ClassMap:
    """``groups`` gives the mapped class of each raw eTraM class, both by name."""
    ids = {ETRAM_RAW.index(raw): classes.index(new) for raw, new in groups.items()}
    return ClassMap(name, classes, MappingProxyType(ids), tuple(map(classes.index, small)))


def _unchanged(name: str, classes: tuple[str, ...], small: tuple[int, ...] = ()) -> ClassMap:
    return ClassMap(name, classes, MappingProxyType({i: i for i in range(len(classes))}), small)


_MAPS = (
    _from_names(
        "etram_cls8",
        ("Car", "Truck", "Motorcycle", "Bicycle", "Pedestrian", "Bus", "Static", "Other"),
        {
            "pedestrian": "Pedestrian",
            "car": "Car",
            "bicycle": "Bicycle",
            "bus": "Bus",
            "motorbike": "Motorcycle",
            "truck": "Truck",
            "tram": "Other",
            "wheelchair": "Other",
        },  # no raw class becomes Static
        small=("Motorcycle", "Bicycle", "Pedestrian"),
    ),
    _unchanged("etram_raw8", ETRAM_RAW, small=(0, 2, 4)),
    # The three groups of the published eTraM table. The publication counts trams as vehicles; that
    # wheelchairs are micro-mobility is our reading, as no published script has the mapping.
    _from_names(
        "etram_3groups",
        ("pedestrian", "vehicle", "micromobility"),
        {
            "pedestrian": "pedestrian",
            "car": "vehicle",
            "bus": "vehicle",
            "truck": "vehicle",
            "tram": "vehicle",
            "bicycle": "micromobility",
            "motorbike": "micromobility",
            "wheelchair": "micromobility",
        },
        small=("pedestrian", "micromobility"),
    ),
    # Prophesee's 1 Mpx set as RVT uses it: the first three of its seven classes, the rest dropped.
    _unchanged("gen4_3classes", ("pedestrian", "two-wheeler", "car"), small=(0, 1)),
)
CLASS_MAPS: Mapping[str, ClassMap] = MappingProxyType({entry.name: entry for entry in _MAPS})
