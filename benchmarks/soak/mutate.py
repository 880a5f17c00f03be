"""Damage to a file, made from a random state: to its bytes, its values or its arrays."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3.5, 1e308, -1e308, float("nan"), float("inf"), 2**63, 10**400),
    *("", "x", "1", "nan", "-inf", "a/b", "../..", "${a}", "${", "{", "é\0\n", "\ud800", "=1+1"),
    *("x" * 5000, [], {}, [[]], [None], ["x"], {"x": 1}, {"": {}}, [{}], [1e400, "1"], [0] * 40),
)
"""What a value may turn into."""
TOKENS = (
    *(b"", b"\0", b"\xff" * 8, b"{", b"}", b"[" * 3000, b'"', b":", b",", b"\n", b"null", b"NaN"),
    *(b"-1", b"1e999", b"9" * 5000, b"true", b"!!python/object:os.system", b"&a [*a]", b"\t"),
)
"""What may stand among bytes."""


def damage(path: Path, rng: Random) -> None:
    """Change the file ``path``: mostly what it says, often its bytes, at times it is gone."""
    content = path.read_bytes()
    by_suffix = {".json": of_json, ".yaml": of_yaml, ".npz": of_npz, ".npy": of_npy}
    change = by_suffix.get(path.suffix, of_bytes)
    if rng.random() < 0.3:
        change = of_bytes
    if rng.random() < 0.02:
        path.unlink()
        return
    try:
        content = change(content, rng)
    except (ValueError, yaml.YAMLError, RecursionError):  # damaged before: by its bytes, then
        content = of_bytes(content, rng)
    path.write_bytes(content)


def of_bytes(content: bytes, rng: Random) -> bytes:
    """One to four changes: a flipped bit, a cut, a doubled or moved part, a token, noise."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        to = min(at + rng.choice((1, 1, 4, 64, 4096)), len(changed))
        kind = rng.randrange(7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at:]
        elif kind == 2:
            del changed[at:to]
        elif kind == 3:
            changed[at:at] = changed[at:to]
        elif kind == 4:
            changed[at:at] = rng.choice(TOKENS)
        elif kind == 5:
            changed[at:to] = rng.randbytes(to - at)
        else:
            changed[at:to] = bytes(to - at)
    return bytes(changed)


def of_json(content: bytes, rng: Random) -> bytes:
    """One value replaced; of a file of JSON lines one in one line."""
    try:
        return dumped(of_value(json.loads(content), rng))
    except ValueError:
        lines = content.splitlines()
        at = rng.randrange(len(lines) or 1)
        lines[at] = dumped(of_value(json.loads(lines[at]), rng))
        return b"\n".join(lines) + b"\n"


def of_yaml(content: bytes, rng: Random) -> bytes:
    """One value replaced."""
    changed = of_value(yaml.safe_load(content), rng)
    return yaml.safe_dump(changed, allow_unicode=True).encode("utf-8", "replace")


def dumped(tree: Any) -> bytes:
    """JSON as Python writes it, with NaN and surrogates."""
    return json.dumps(tree).encode()


def of_value(tree: Any, rng: Random) -> Any:
    """``tree`` with one of its values replaced, removed, renamed, wrapped or swapped with another.

    ``tree`` itself is changed where it can be.
    """
    places = list(_places(tree))
    if not places or rng.random() < 0.02:
        return rng.choice(ODD)
    parent, key = rng.choice(places)
    kind = rng.randrange(8)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[rng.choice(("", "x", f"{key}x", "0"))] = parent.pop(key)
    elif kind == 2:
        parent[key] = rng.choice(([parent[key]], {"x": parent[key]}))
    elif kind == 3:
        other, name = rng.choice(places)
        value = json.loads(json.dumps(other.get(name) if isinstance(other, dict) else other[name]))
        parent[key] = value
    else:
        parent[key] = rng.choice(ODD)
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Each place of a value: what holds it, and its key there."""
    if not isinstance(tree, dict | list):
        return
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        yield from _places(tree[key])


def of_npz(content: bytes, rng: Random) -> bytes:
    """One array of an archive replaced, removed or renamed."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = dict(archive)
    name = rng.choice(sorted(arrays))
    if rng.random() < 0.2:
        kept = arrays.pop(name)
        arrays |= {"x": kept} if rng.random() < 0.5 else {}
    else:
        arrays[name] = of_array(arrays[name], rng)
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def of_npy(content: bytes, rng: Random) -> bytes:
    """An array replaced."""
    stream = io.BytesIO()
    np.save(stream, of_array(np.load(io.BytesIO(content), allow_pickle=False), rng))
    return stream.getvalue()


def of_array(array: np.ndarray, rng: Random) -> np.ndarray:
    """Another type, shape or order, or odd values in it."""
    changes: tuple[Callable[[], np.ndarray], ...] = (
        lambda: array[: rng.randrange(len(array) + 1)] if array.ndim else array[None],
        lambda: array[::-1] if array.ndim else array[None],
        lambda: array[None],
        lambda: array.reshape(-1),
        lambda: array.reshape(-1)[:1].reshape(()) if array.size else array,
        lambda: np.concatenate([array, array]) if array.ndim else array,
        lambda: array[:0] if array.ndim else array,
        lambda: array.astype(str) if array.dtype.names is None else array,
        lambda: array.astype(object),
        lambda: _cast(array, rng.choice(("f4", "f8", "i1", "i8", "u8", "?", "c8", "M8[s]"))),
        lambda: _with_odd_values(array, rng),
        lambda: _with_odd_values(array, rng),
        lambda: _with_odd_values(array, rng),
    )
    return rng.choice(changes)()


def _cast(array: np.ndarray, dtype: str) -> np.ndarray:
    try:
        with np.errstate(all="ignore"):
            return array.astype(dtype)
    except (ValueError, TypeError):
        return np.zeros(array.shape, dtype)


def _with_odd_values(array: np.ndarray, rng: Random) -> np.ndarray:
    """Some of its numbers replaced by ones that are not finite, negative or very large."""
    if array.dtype.kind not in "iuf" or not array.size:
        return array[:0] if array.ndim else array
    changed, kind = array.copy().reshape(-1), array.dtype.kind
    limits = np.finfo(array.dtype) if kind == "f" else np.iinfo(array.dtype)
    odd = [limits.max, limits.min, 0, 1] + ([np.nan, np.inf] if kind == "f" else [])
    odd += [-1] if kind != "u" else []
    for _ in range(rng.choice((1, 1, 3, changed.size))):
        changed[rng.randrange(changed.size)] = rng.choice(odd)
    return changed.reshape(array.shape)
