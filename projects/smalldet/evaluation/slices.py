"""Slices of a split: groups of its recordings with scores of their own, as day and night."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

logger = logging.getLogger(__name__)

_COLUMNS = ("recording", "slice")
_NAME = re.compile(r"[\w.+-]+")  # it becomes part of the keys of scores and of titles of columns


def recordings_by_slice(
    slices: Mapping[str, str] | str | None, recordings: Sequence[str], split: str
) -> dict[str, list[str]]:
    """The recordings of each slice; one that holds none of them, or all, is left out, and said.

    Args:
        slices: a pattern of names by slice, as ``{"night": "*_night_*"}`` (``*``, ``?`` and
            ``[...]``), or a CSV file with the columns ``recording`` and ``slice``, a line for each
            pair; a recording may be in several slices or in none. None: no slices.
        recordings: names of those of the split.
        split: named in the log.

    Raises:
        ValueError: a slice has a name that cannot be part of a key, or the file cannot be read.
    """
    if not slices:
        return {}
    pairs = _listed(Path(slices)) if isinstance(slices, str) else _matching(slices, recordings)
    names = dict.fromkeys([name for name, _ in pairs] if isinstance(slices, str) else slices)
    for name in names:
        if not _NAME.fullmatch(str(name)):
            raise ValueError(
                f"A slice of recordings is called {name!r}; expected letters, digits and _ . + - "
                "alone, as its scores are called bbox-NAME/AP. Rename it."
            )
    members = {name: {other for slice_, other in pairs if slice_ == name} for name in names}
    found = {name: [r for r in recordings if r in chosen] for name, chosen in members.items()}
    sizes = ", ".join(f"{name} {len(chosen)}" for name, chosen in found.items())
    in_none = set(recordings).difference(*found.values())
    is_strange = isinstance(slices, str) and not any(found.values())  # a file of other recordings
    logger.log(
        logging.WARNING if is_strange else logging.INFO,
        "Slices of %s, by number of recordings: %s; in none of them %d. Those that hold no "
        "recording, or all, get no scores of their own.",
        split,
        sizes,
        len(in_none),
    )
    return {name: chosen for name, chosen in found.items() if 0 < len(chosen) < len(recordings)}


def _matching(patterns: Mapping[str, str], recordings: Iterable[str]) -> list[tuple[str, str]]:
    """Slices and recordings whose names fit."""
    return [
        (name, recording)
        for recording in recordings
        for name, pattern in patterns.items()
        if fnmatchcase(recording, str(pattern))
    ]


def _listed(path: Path) -> list[tuple[str, str]]:
    """Slices and recordings as a CSV file has them, which may be those of other splits."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"The slices of recordings cannot be read from {path} ({error}). Give a CSV file with "
            f"the columns {','.join(_COLUMNS)}, or patterns, as {{night: '*_night_*'}}."
        ) from error
    lacking = [name for name in _COLUMNS if name not in columns]
    if lacking:
        raise ValueError(
            f"{path} has the columns {', '.join(columns) or 'of no name'}; missing are "
            f"{', '.join(lacking)}. Its first line has to be {','.join(_COLUMNS)}."
        )
    short = [number for number, row in enumerate(rows, start=2) if not all(map(row.get, _COLUMNS))]
    if short:
        raise ValueError(
            f"{path}, line {short[0]}: a recording and a slice are expected, with a comma between. "
            f"Complete or remove it{f' and {len(short) - 1} more' if short[1:] else ''}."
        )
    return [(row["slice"].strip(), row["recording"].strip()) for row in rows]
