"""The soak: what damages files, what counts as a finding, and the page."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from benchmarks.soak import mutate, reading
from benchmarks.soak.page import page, totals
from benchmarks.soak.parts import NAMES, Found
from benchmarks.soak.readers import READERS, Reader
from benchmarks.soak.steps import Sample, grown
from hypothesis import given, settings
from hypothesis import strategies as st

SMALL = ("bbox", "images", "h5", "dat", "raw", "checkpoints")


def samples_of(folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    (folder / "a.json").write_text('{"x": [1, {"y": "z"}], "n": null}')
    (folder / "a.yaml").write_text("x: [1, {y: z}]\n")
    (folder / "metrics.json").write_text('{"iteration": 1}\n{"iteration": 2}\n')
    (folder / "a.bin").write_bytes(bytes(range(100)))
    np.savez(folder / "a.npz", a=np.arange(6.0).reshape(2, 3), b=np.array(["x"]))
    np.save(folder / "a.npy", np.arange(4))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> dict[str, bytes]:
    return samples_of(tmp_path_factory.mktemp("damage") / "files")


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damage_follows_from_the_seed(seed, samples, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    for name, content in samples.items():
        results = []
        for _ in range(2):
            (folder / name).write_bytes(content)
            mutate.damage(folder / name, Random(seed))
            there = (folder / name).exists()
            results.append((folder / name).read_bytes() if there else None)
        assert results[0] == results[1] or name.endswith("npz")  # archives hold the time


def test_most_damage_changes_the_file(tmp_path):
    (content,) = {samples_of(tmp_path / "files")["a.json"]}
    changed = {mutate.of_json(content, Random(seed)) for seed in range(200)}
    assert len(changed) > 40


@pytest.mark.parametrize("name", SMALL)
def test_damaged_inputs_end_in_a_value_or_a_sentence(name, tmp_path):
    READERS[name].make(tmp_path / "sound")
    expected = READERS[name].read(tmp_path / "sound", Random(0))
    outcomes = [reading.outcome_of(READERS[name], tmp_path, n, expected) for n in range(12)]
    assert {kind for kind, _ in outcomes} <= {"read", "refused"}, outcomes


def test_findings_are_told_from_sentences(tmp_path):
    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "number").write_text("7" * 50)

    def read(folder: Path, rng: Random) -> int:
        return int((folder / "number").read_text())

    make(tmp_path / "sound")
    expected = read(tmp_path / "sound", Random(0))
    kinds = {"uncaught": (), "refused": (ValueError, OSError)}
    for wanted, sentences in kinds.items():
        reader = Reader(make, read, ("*",), sentences, is_sealed=True)
        found = [reading.outcome_of(reader, tmp_path, seed, expected) for seed in range(40)]
        assert {kind for kind, _ in found} >= {wanted, "silent"}
        assert all(text.startswith("number: ") for kind, text in found if kind != "read")


def test_growth_is_a_finding():
    flat = [Sample(100 + n % 3, 10) for n in range(40)]
    assert grown(flat)[0] == []
    assert len(grown([Sample(100 + 5 * n, 10 + n) for n in range(40)])[0]) == 2


def test_the_page_has_a_row_for_each_part_and_all_findings():
    found = [Found(name, "inputs", count=10, refused=3) for name in NAMES]
    found[0].uncaught.append("seed 5: died")
    text = page(found)
    assert all(f"| `{name}` | 10 inputs |" in text for name in NAMES)
    assert "seed 5: died" in text and "1 uncaught" in totals(found)
    assert json.dumps(vars(found[0]))
