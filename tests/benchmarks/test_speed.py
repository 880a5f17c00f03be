"""What the bench keeps of machines, and the page made from it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.measure import Candidate, Row, compare
from benchmarks.speed import kept, machine, page

from benchmarks import bench

ROOT = Path(__file__).resolve().parents[2]
MACHINE = machine.Machine("AVX2", 2, "2.11.0", 100.0, 9.0)


def ratio(value: float, name: str = "x", required: float = 1.0, goal: float = 0.0) -> Row:
    return Row(name, 10 * value, 10.0, value, required, 0.1, goal)


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Notes one part and keeps it; the classes then."""
    monkeypatch.setattr(bench, "MEASURED", tmp_path / "bench")

    def run(rows: list[Row], part: str = "scan", on: machine.Machine = MACHINE):
        bench.note(on, part, rows, ["a sentence"])
        kept.keep(tmp_path / "bench" / f"{on.name}.json", tmp_path / "results")
        return kept.load(tmp_path / "results")

    return run


def test_the_page_of_the_project_follows_from_the_kept_results():
    text = (ROOT / "docs" / page.PAGE).read_text(encoding="utf-8")
    assert text == page.page(kept.load()), "run python -m benchmarks.bench --write docs"


def test_classes_have_no_names_of_machines():
    classes = kept.load()
    assert classes
    for name, found in classes.items():
        assert re.fullmatch(r"[a-z0-9-]+-\d+threads|cuda-\d+\.\d+-\d+gb", name)
        known = {"instructions", "threads", "torch", *kept.RATES, "note", "parts"}
        assert found.keys() <= known
        assert machine.Machine(found["instructions"], found["threads"], "", 0, 0).name == name


def test_the_latest_and_the_range_of_all_runs_are_kept(measured):
    for value in (3.0, 1.0, 1.0, 2.0):
        kept_now = measured([ratio(value)])
    found = kept_now[MACHINE.name]
    assert found["parts"]["scan"]["rows"]["x"]["ratio"] == {"latest": 2.0, "low": 1.0, "high": 3.0}
    assert found["gemm_gflops"] == {"latest": 100.0, "low": 100.0, "high": 100.0}


def test_a_part_has_its_rows_of_today_and_others_stay(measured):
    measured([ratio(2.0, "old"), ratio(3.0, "x")])
    measured([ratio(1.0, "y")], part="vim")
    parts = measured([ratio(4.0, "x")])[MACHINE.name]["parts"]
    assert list(parts["scan"]["rows"]) == ["x"] and list(parts["vim"]["rows"]) == ["y"]
    assert parts["scan"]["rows"]["x"]["ratio"] == {"latest": 4.0, "low": 3.0, "high": 4.0}


def test_the_page_shows_the_range_over_all_machines(measured):
    measured([ratio(2.0, goal=5.0)])
    classes = measured([ratio(1.5)], on=MACHINE._replace(instructions="AVX512 BF16 AMX"))
    assert list(classes) == ["avx2-2threads", "avx512-bf16-amx-2threads"]
    text = page.page(classes)
    assert "| x | 1.5 - 2 | 1 | 5 | 2 (10 ms) | 1.5 (10 ms) |" in text
    assert text.count("a sentence") == 2 and page.NO_GPU in text
    assert page.page(measured([], part="bf16")).count("a sentence") == 3  # left out, with a note


def test_a_required_ratio_is_that_of_the_slowest_machine_less_a_tenth(measured):
    assert not kept.too_strict(measured([ratio(2.0, required=1.8)]))
    (said,) = kept.too_strict(measured([ratio(1.5, required=1.8)]))
    assert "1.35" in said


def test_candidates_have_goals_beside_what_is_required():
    calls = {"x": Candidate(lambda: None, 1e-9, 1e9), "y": Candidate(lambda: None, 1e9)}
    x, y = compare(lambda: None, calls, rounds=3)
    assert x.passed and x.goal == 1e9 and not y.passed and y.goal == 0
    assert "MISSED" in bench.line(y) and "MISSED" not in bench.line(x)


def test_the_rates_of_this_machine():
    found = machine.measured(side=32, copied=1 << 16)
    assert found.gemm_gflops > 0 and found.copy_gb_s > 0
    assert found.name.endswith(f"-{torch.get_num_threads()}threads")
    assert found.instructions in str(found)


def test_a_wrong_command_measures_nothing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "scna"])
    with pytest.raises(SystemExit, match="2"):
        bench.main()
    assert "no part is called scna; there are " in capsys.readouterr().err
