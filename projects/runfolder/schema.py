"""What the files of a run folder hold, as far as anybody reads them, and whether they do.

A value that is not there, or is null where its type allows it, is not known (yet). Keys that are
not named here are nobody's business.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

Scores = dict[str, float | None]
"""AP in percent by Detectron2's keys; null: not defined."""
_LARGE = 1e18
"""No number in these files is larger."""


class Experiment(TypedDict, total=False):
    """What a config declares of itself."""

    name: str | None
    study: str | None
    parent: str | None
    factors: list[str] | None
    hypothesis: str | None
    targets: dict[str, Any] | None


class Train(TypedDict, total=False):
    """How a run is carried out."""

    seed: int | None
    best_metric: str | None
    epochs: float | None
    max_iter: int | None
    iterations_per_epoch: int | None
    total_batch_size: int | None
    micro_batch_size: int | None
    warmup_iters: float | None
    device: str | None


class Splits(TypedDict, total=False):
    """Settings of the two splits that are evaluated."""

    valid: dict[str, Any] | None
    test: dict[str, Any] | None


class Config(TypedDict, total=False):
    """``config.yaml``."""

    experiment: Experiment | None
    train: Train | None
    dataset: dict[str, Any] | None
    evaluation: Splits | None


class SplitScores(TypedDict, total=False):
    """Scores of one model on both splits."""

    valid: Scores | None
    test: Scores | None


class Results(SplitScores, total=False):
    """``results.json``."""

    ema: SplitScores | None
    parameters: dict[str, int] | None
    iterations: int | None
    best_iteration: int | None
    best_epoch: float | None
    training_seconds: float | None
    seconds_per_iteration: float | None
    peak_memory_mb: float | None
    final_loss: float | None
    data_fingerprint: str | None
    data_findings: dict[str, dict[str, int]] | None


class Patch(TypedDict, total=False):
    """The uncommitted changes that a run was made with."""

    file: str | None
    sha256: str | None
    files: list[str]
    left_out: list[str]
    note: str | None


class Code(TypedDict, total=False):
    """The version of the code that a run was made with."""

    commit: str | None
    uncommitted_changes: bool | None
    patch: Patch | None


class Devices(TypedDict, total=False):
    """What a run was made on."""

    gpus: list[str] | None
    cpu: str | None


class Slice(TypedDict, total=False):
    """Some recordings of a split, scored by themselves."""

    recordings: list[str]
    results: Scores | None


class Protocol(TypedDict, total=False):
    """One of several ways to score a split."""

    area_ranges: dict[str, tuple[float, float]] | None


class Evaluation(TypedDict, total=False):
    """``evaluation.json`` of a split."""

    protocol: str | None
    evaluator: str | None
    classes: list[str] | None
    small_classes: list[str] | None
    annotation_file: str | None
    annotation_sha256: str | None
    area_ranges: dict[str, tuple[float, float]] | None
    protocols: list[Protocol] | None
    slices: dict[str, Slice] | None
    results: Scores | None


def check(value: Any, kind: Any, where: str) -> None:
    """Refuse a value that is not what it should be.

    Args:
        value: of a JSON or YAML file.
        kind: a type, one of the classes above, or a dataclass of such types.
        where: the file and, behind a colon, the key.

    Raises:
        ValueError: says the key, what was found and what was expected.
    """
    options = get_args(kind) if get_origin(kind) is UnionType else (kind,)
    if kind is Any or (value is None and NoneType in options):
        return
    (kind,) = (option for option in options if option is not NoneType)
    if not _is_a(value, kind):
        raise ValueError(f"{where} is {_short(value)}; expected {_in_words(kind)}.")
    for key, child, child_kind in _children(value, kind):
        check(child, child_kind, f"{where}{'.' if ': ' in where else ': '}{key}")


def _is_a(value: Any, kind: Any) -> bool:
    origin = get_origin(kind) or kind
    if origin is Literal:
        return value in get_args(kind)
    if origin is tuple:
        return isinstance(value, list | tuple) and len(value) == len(get_args(kind))
    if origin is dict or is_typeddict(kind) or dataclasses.is_dataclass(kind):
        return isinstance(value, Mapping)
    if origin in (int, float):
        return isinstance(value, int | origin) and abs(value) < _LARGE
    return isinstance(value, origin)


def _children(value: Any, kind: Any) -> list[tuple[Any, Any, Any]]:
    """Key, value and kind of what a value holds."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return [(index, child, arguments[0]) for index, child in enumerate(value)]
    if origin is tuple:
        return [(index, *pair) for index, pair in enumerate(zip(value, arguments, strict=True))]
    if origin is dict:
        return [
            pair
            for key, child in value.items()
            for pair in (("a name", key, arguments[0]), (key, child, arguments[1]))
        ]
    if is_typeddict(kind) or dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return [(key, value[key], hint) for key, hint in hints.items() if key in value]
    return []


_hints = cache(get_type_hints)  # which evaluates each of them anew


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:76]} ..."


def _in_words(kind: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    origin = get_origin(kind) or kind
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    return words.get(origin, "a list" if origin in (list, tuple) else "names and values")
