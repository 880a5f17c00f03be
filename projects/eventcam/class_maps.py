"""Class maps by name: how the classes of raw label files become the ids that a model learns.

Own classes are a map that is written where a name would stand: ``person,bike=bicycle+scooter,=dog``
has the classes person and bike; bicycles and scooters become bikes, dogs are left out. In label
files they have their names, or are numbered in that order (dog is 3).

The raw ids of eTraM (Verma et al., "eTraM: Event-based Traffic Monitoring Dataset", CVPR 2024) are
0 pedestrian, 1 car, 2 bicycle, 3 bus, 4 motorbike, 5 truck, 6 tram, 7 wheelchair. Those of
Prophesee's sets are the positions of the names in ``GEN1_RAW`` (de Tournemire et al., "A Large
Scale Event-based Detection Dataset for Automotive", 2020, arXiv 2001.08499) and ``GEN4_RAW``
(Perot et al., "Learning to Detect Objects with a 1 Megapixel Event Camera", 2020, arXiv
2009.13436).
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from eventcam.errors import EventDataError

ETRAM_RAW = ("pedestrian", "car", "bicycle", "bus", "motorbike", "truck", "tram", "wheelchair")
GEN1_RAW = ("car", "pedestrian")
GEN4_RAW = ("pedestrian", "two-wheeler", "car", "truck", "bus", "traffic sign", "traffic light")


@dataclass(frozen=True)
class ClassMap:
    """From raw class ids to those of a study.

    Attributes:
        name: how configs and manifests call it.
        classes: names of the mapped classes; the position is the id.
        raw: names of the raw classes; the position is the raw id.
        from_raw: raw id -> mapped id; boxes with any other raw id are dropped and counted.
        small: mapped ids whose mean AP is reported as small-class AP.
    """

    name: str
    classes: tuple[str, ...]
    raw: tuple[str, ...]
    from_raw: Mapping[int, int] = field(repr=False)
    small: tuple[int, ...] = ()

    @property
    def keeps_ids(self) -> bool:
        """Whether mapped ids are raw ids, so that labels in either mean the same."""
        return all(raw == new for raw, new in self.from_raw.items())

    def apply(self, labels: np.ndarray) -> tuple[np.ndarray, Counter[str]]:
        """Boxes (structured) with mapped ids, and how many were dropped, by raw id."""
        mapped = np.full(len(labels), -1, np.int64)
        for raw, new in self.from_raw.items():
            mapped[labels["class_id"] == raw] = new
        known = mapped >= 0
        kept = labels[known].copy()
        kept["class_id"] = mapped[known]
        unknown = Counter(labels["class_id"][~known].tolist())
        names = {raw: self.raw[raw] if raw < len(self.raw) else raw for raw in unknown}
        return kept, Counter({f"boxes_of_raw_class_{names[i]}": n for i, n in unknown.items()})


def get_class_map(name: str | Sequence[str]) -> ClassMap:
    """The map of that name, or of own classes.

    Args:
        name: of a map; or own classes with commas between, or a list of them. Each may say which
            raw classes become it, as ``bike=bicycle+scooter``; those of ``=dog+cat`` are left out.

    Raises:
        EventDataError: there is none, and these are no classes; the text lists the names.
    """
    entries = name.split(",") if isinstance(name, str) else list(name)
    if isinstance(name, str) and len(entries) == 1 and "=" not in name:
        if name in CLASS_MAPS:
            return CLASS_MAPS[name]
        raise EventDataError(
            f"Unknown class map {name!r}; expected one of {sorted(CLASS_MAPS)}, or own classes as "
            f"person,bike=bicycle+scooter (a single one as {name}={name})."
        )
    return _own(entries)


def check_class_map(found: str, wanted: str, where: object) -> None:
    """Refuse data that were prepared with another map.

    Raises:
        EventDataError: ``found`` is not ``wanted``.
    """
    wanted = get_class_map(wanted).name
    if found != wanted:
        raise EventDataError(
            f"{where} was prepared with the class map {found!r}, but {wanted!r} is asked for: the "
            f"same ids mean other classes. Set the class map to {found!r}, or prepare the "
            f"recordings into another folder with `tools/prepare_events.py RAW OUT --class-map "
            f"{shlex.quote(wanted)}`."
        )


def _from_names(
    name: str, classes: tuple[str, ...], groups: Mapping[str, str], small: tuple[str, ...]
) -> ClassMap:
    """``groups`` gives the mapped class of each raw eTraM class, both by name."""
    ids = {ETRAM_RAW.index(raw): classes.index(new) for raw, new in groups.items()}
    smalls = tuple(map(classes.index, small))
    return ClassMap(name, classes, ETRAM_RAW, MappingProxyType(ids), smalls)


def _first(name: str, raw: tuple[str, ...], count: int, small: tuple[int, ...] = ()) -> ClassMap:
    """The first ``count`` raw classes as they are, the others left out."""
    ids = MappingProxyType({i: i for i in range(count)})
    return ClassMap(name, raw[:count], raw, ids, small)


def _own(entries: Sequence[str]) -> ClassMap:
    """A map of classes that are written as :func:`get_class_map` says."""
    parts = [[part.strip() for part in entry.split("=")] for entry in entries]
    pairs = [(part[0], old.strip()) for part in parts for old in part[-1].split("+")]
    classes = tuple(new for new, *_ in parts if new)
    raw = tuple(old for _, old in pairs)
    doubled = sorted({x for names in (classes, raw) for x in names if names.count(x) > 1})
    if doubled or not classes or not all(raw) or any(len(part) > 2 for part in parts):
        raise EventDataError(
            f"The class map {','.join(entries)!r} cannot be read"
            f"{f' ({doubled[0]} is there twice)' if doubled else ''}. Expected are classes with "
            "commas between, each once, as person,bike=bicycle+scooter,=dog."
        )
    name = ",".join(f"{part[0]}={part[-1]}" for part in parts)
    ids = {i: classes.index(new) for i, (new, _) in enumerate(pairs) if new}
    return ClassMap(name, classes, raw, MappingProxyType(ids))


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
    _first("etram_raw8", ETRAM_RAW, 8, small=(0, 2, 4)),
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
    _first("gen1_2classes", GEN1_RAW, 2, small=(1,)),
    # Prophesee's 1 Mpx set as RVT uses it: the first three of its seven classes, the rest dropped.
    _first("gen4_3classes", GEN4_RAW, 3, small=(0, 1)),
)
CLASS_MAPS: Mapping[str, ClassMap] = MappingProxyType({entry.name: entry for entry in _MAPS})
