"""Which classes of the source count as which wanted class, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from smalldet.data.errors import DataError
from smalldet.data.filter.fields import has_id, shown

Merge = Mapping[str, Sequence[str]]


def checked_merge(wanted: Sequence[str], merge: Merge) -> dict[str, list[str]]:
    """``merge`` in the one spelling that data sets are compared by: ordered, nothing empty.

    Args:
        wanted: class names.
        merge: by wanted class, the source classes that become it, besides one of its own name.

    Raises:
        DataError: a class that is not wanted is merged to, or one would become several.
    """
    for name in merge:
        if name not in wanted:
            raise DataError(
                f"dataset.merge makes other classes {name!r}, which is not one of dataset.classes "
                f"({', '.join(wanted)}).{nearest(name, wanted)} Name it in both alike."
            )
    merged = {name: sorted(set(merge[name])) for name in wanted if merge.get(name)}
    uses = Counter(old for name in dict.fromkeys(wanted) for old in {name, *merged.get(name, ())})
    for name, count in uses.items():
        if count > 1:
            raise DataError(
                f"By dataset.classes and dataset.merge the class {name!r} becomes {count} classes. "
                "Name it in one of them."
            )
    return merged


def map_categories(
    categories: Iterable[Any], wanted: Sequence[str], merge: Merge
) -> dict[Any, int]:
    """Source category id to new id: 1, 2, ... in the order of ``wanted``.

    Source categories of one name become one, as do those that ``merge`` (checked) names.

    Raises:
        DataError: a class is not in the source, none is wanted, or one twice.
    """
    found = names_by_id(categories)
    names = set(found.values())
    missing = [old for name in wanted for old in merge.get(name, [name]) if old not in names]
    if missing or not wanted or len(set(wanted)) < len(wanted):
        listed = ", ".join(map(repr, found.values())) or "none"
        absent = f" {missing[0]!r} is not there.{nearest(missing[0], names)}" if missing else ""
        raise DataError(
            f"Wanted are the classes {list(wanted)}, but the annotation file lists {listed}."
            f"{absent} Name classes as they are written there, each once: dataset.classes=[...] "
            f"(and dataset.merge), or --classes (and --merge) of datasets/register_custom_coco.py."
        )
    numbers = {
        old: number
        for number, name in enumerate(wanted, start=1)
        for old in (name, *merge.get(name, ()))
    }
    return {source_id: numbers[name] for source_id, name in found.items() if name in numbers}


def names_by_id(categories: Iterable[Any]) -> dict[Any, str]:
    """Class names of the entries that are objects with an id that can be looked up."""
    entries = (entry for entry in categories if isinstance(entry, Mapping) and has_id(entry))
    return {entry["id"]: shown(entry.get("name")) for entry in entries}


def nearest(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` (with its leading space), or nothing if no known name is near."""
    close = get_close_matches(name, sorted(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
