"""How cost grows: the fit, the plots, the page, and every curve at toy size."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from benchmarks.growth import curves
from benchmarks.growth import page as page_module
from benchmarks.growth.fit import Fit, Line, fitted, in_words, load, power_law, save
from benchmarks.growth.page import write_page
from benchmarks.published import pair
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks import measure
from in_process import call

ROOT = Path(__file__).resolve().parents[2]
MACHINE = {"cpu": "a processor", "threads": 2, "torch": "2.11"}
TOYS = {
    "scan_length": [8, 16],
    "scan_batch": [1, 2],
    "rvt_resolution": [1, 2],
    "rvt_patch": [8, 4],
    "preparation": [2, 3],
    "evaluation": [1, 2],
}


@pytest.fixture
def results():
    """Made-up times of every curve, at its own sizes, that grow as their names say."""
    found = {}
    for name, curve in curves.CURVES.items():
        labels = ["chunked", "compiled"] if name.startswith("scan") else ["RVT-T"]
        sizes = sorted({384 * 640 / n**2 for n in curve.sizes} if "patch" in name else curve.sizes)
        found[name] = {
            label: Line(sizes, [[n * 0.9, n * 1.0, n * 1.1] for n in sizes]) for label in labels
        }
    return found


@settings(max_examples=60, deadline=None)
@given(
    exponent=st.floats(0.2, 2.5),
    factor=st.floats(1e-3, 1e3),
    noise=st.floats(0, 0.05),
    seed=st.integers(0, 2**16),
)
def test_a_known_exponent_is_found(exponent, factor, noise, seed):
    rng, sizes = np.random.default_rng(seed), [2.0**n for n in range(8)]
    times = factor * np.asarray(sizes)[:, None] ** exponent
    fit = fitted(Line(sizes, (times * np.exp(noise * rng.standard_normal((8, 9)))).tolist()))
    assert fit.exponent == pytest.approx(exponent, abs=1e-6 + 2 * noise)
    assert 0 <= fit.spread <= 1e-6 + 3 * noise
    assert fit.at(128) == pytest.approx(times[-1, 0], rel=1e-6 + 4 * noise)


def test_neither_a_fixed_cost_nor_a_drift_changes_the_exponent():
    sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256]
    fit = fitted(Line(sizes, [[1 + n] * 3 for n in sizes]))
    everywhere, _ = power_law(sizes, [1 + n for n in sizes])
    assert fit.start == 16 and fit.spread < 0.02
    assert everywhere < 0.9 < fit.exponent < 1
    slowing = fitted(Line(sizes, [[n * (1 + turn) for turn in range(5)] for n in sizes]))
    assert (slowing.exponent, slowing.spread) == pytest.approx((1, 0))


@pytest.mark.parametrize(
    ("sizes", "first"),
    [([1, 4], 1), ([1, 2, 4], 2), ([1, 2, 3, 100], 3), ([0.1, 0.2, 0.4, 0.8, 1.6], 0.4)],
)
def test_the_upper_half_is_fitted_and_two_sizes_at_least(sizes, first):
    assert fitted(Line(sizes, [[n] for n in sizes])).start == first


def test_a_bend_widens_the_spread():
    sizes = [1, 2, 4, 8, 16, 32]
    bent = fitted(Line(sizes, [[n * max(1, n / 16)] * 3 for n in sizes]))
    assert bent.exponent == pytest.approx(1.5) and bent.spread == pytest.approx(12**-0.5)


@pytest.mark.parametrize(
    ("exponent", "spread", "expected"),
    [
        (1.02, 0.0, "2.03 times the time: in proportion."),
        (0.949, 0.0, "1.93 times the time: in proportion."),
        (1.2, 0.3, "2.30 times the time: in proportion within the spread."),
        (1.2, 0.1, "2.30 times the time: more than in proportion."),
        (0.5, 0.1, "1.41 times the time: less than in proportion."),
    ],
)
def test_words_follow_the_number(exponent, spread, expected):
    words = in_words(Fit(exponent, spread, 1.0, 1.0), "length")
    assert words == f"Twice the length costs {expected}"


@pytest.mark.parametrize(
    ("sizes", "samples", "message"),
    [
        ([1], [[1.0]], "two sizes at least"),
        ([1, 2], [[1.0], [0.0]], "clock is too coarse"),
        ([1, 2], [[1.0], [float("nan")]], "not above 0 and finite"),
        ([0, 2], [[1.0], [1.0]], "Sizes must be above 0"),
        ([2, 1], [[1.0], [1.0]], "must ascend"),
        ([2, 2], [[1.0], [1.0]], "must ascend"),
        ([1, 2], [[1.0], [1.0, 2.0]], "same number of samples"),
        ([1, 2], [[], []], "same number of samples"),
        ([1, 2], [[1.0]], "same number of samples"),
    ],
)
def test_what_cannot_be_fitted_is_a_sentence(sizes, samples, message):
    with pytest.raises(ValueError, match=message):
        fitted(Line(sizes, samples))


def test_calls_are_sampled_in_turn(monkeypatch):
    monkeypatch.setattr(measure, "SAMPLE_SECONDS", 0.0)
    seen: list[str] = []
    series = {
        "a": {1: lambda: seen.append("a1"), 2: lambda: seen.append("a2")},
        "b": {5: lambda: seen.append("b5")},
    }
    lines = curves.in_turn(series, rounds=4)
    assert seen[-12:] == ["a1", "a2", "b5"] * 4
    assert lines["a"].sizes == [1, 2] and lines["b"].sizes == [5]
    assert [len(s) for line in lines.values() for s in line.samples_ms] == [4, 4, 4]


@pytest.mark.parametrize("name", TOYS)
def test_each_curve_at_toy_size(name: str, monkeypatch):
    monkeypatch.setattr(measure, "SAMPLE_SECONDS", 0.0)
    small = {"SCAN_LENGTH": 32, "PATCH_HEIGHT": 128, "PATCH_WIDTH": 128, "IMAGES": 50}
    for constant, size in small.items():
        monkeypatch.setattr(curves, constant, size)
    for side in ("UNIT_HEIGHT", "UNIT_WIDTH"):
        monkeypatch.setattr(curves, side, 64)
    for side, size in {"HEIGHT": 90, "WIDTH": 160, "SETTLED": 2}.items():
        monkeypatch.setattr(pair, side, size)
    assert TOYS.keys() == curves.CURVES.keys()
    lines = curves.measured(curves.CURVES[name]._replace(sizes=TOYS[name], rounds=2))
    assert lines and all(len(line.sizes) == 2 for line in lines.values())
    assert all(np.isfinite(fitted(line).exponent) for line in lines.values())


def test_every_event_is_prepared(tmp_path: Path):
    curves.prepared_street(2, tmp_path)()
    times = np.load(next(tmp_path.glob("prepared/event_representations_v2/*/timestamps_us.npy")))
    assert times.tolist() == [100_000, 150_000, 200_000, 250_000]  # 0.2 s from 50 ms on


def test_sizes_change_what_they_say_alone(tmp_path: Path):
    (few_truth, few), (truth, many) = (curves.generated(8, 20, n) for n in (1, 3))
    assert few_truth == truth and 3 * len(few) == len(many)
    limit = curves.REFERENCE_UP_TO
    series = curves.scan_length([limit, limit * 2], tmp_path)
    assert list(series["reference"]) == [limit] and list(series["chunked"]) == [limit, limit * 2]


def test_page_and_pictures_are_written(results, tmp_path: Path, monkeypatch):
    page = Path(shutil.copy(ROOT / "docs" / "growth.md", tmp_path))
    write_page(tmp_path, MACHINE, results)
    text = page.read_text(encoding="utf-8")
    assert "Measured on a processor, 2 threads, torch 2.11." in text
    assert "Patch 2 takes 4.0 times the time of patch 4" in text
    for name in TOYS:
        assert f"| `{name}` |" in text
        with Image.open(tmp_path / "images" / f"growth_{name}.png") as picture:
            assert picture.format == "PNG" and min(picture.size) > 400
            assert np.asarray(picture.convert("L")).std() > 10  # not blank
    monkeypatch.setattr(page_module, "draw", lambda *_: None)
    write_page(tmp_path, MACHINE, results)
    assert page.read_text(encoding="utf-8") == text


def test_the_page_of_the_project_holds_every_curve():
    text = (ROOT / "docs" / "growth.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(images/growth_(\w+)\.png\)", text)) == set(TOYS)
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(TOYS)


def test_a_page_without_its_numbers_is_refused(results, tmp_path: Path):
    with pytest.raises(OSError, match=r"growth\.md"):
        write_page(tmp_path, MACHINE, results)
    (tmp_path / "growth.md").write_text("no markers", encoding="utf-8")
    with pytest.raises(ValueError, match="has 0 places marked"):
        write_page(tmp_path, MACHINE, results)
    del results["evaluation"]
    with pytest.raises(ValueError, match="not measured yet: evaluation"):
        write_page(tmp_path, MACHINE, results)
    assert not (tmp_path / "images").exists()


def test_samples_are_kept_for_the_same_machine_only(results, tmp_path: Path):
    path = tmp_path / "growth.json"
    assert load(path, MACHINE) == {}
    save(path, MACHINE, results)
    assert load(path, MACHINE) == results
    assert load(path, {**MACHINE, "threads": 1}) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scan_lenght"], "no curve is called scan_lenght; there are scan_length, scan_batch"),
        (["--write", "nowhere"], "nowhere has no growth.md to fill in"),
    ],
)
def test_a_wrong_command_measures_nothing(arguments, message):
    done = call("benchmarks.bench_growth", *arguments)
    assert done.returncode == 2 and not done.stdout
    assert message in done.stderr and "Traceback" not in done.stderr
