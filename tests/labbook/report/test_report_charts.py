"""Axes, labels and lines of the charts, and what they are drawn from."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from report_html import parse
from report_toys import ETRAM, OFAT, make_study

from labbook.report import svg
from labbook.report.costs import front
from labbook.report.curves import thin_out
from labbook.report.effects import effects, level_of
from labbook.report.elements import Cell, details, table, tag
from labbook.report.evidence import Evidence, evidence_of
from labbook.report.summary import cautions, claims
from labbook.report.svg import Axis
from labbook.results.differences import Difference
from labbook.results.intervals import Bounds
from labbook.results.tables import collect

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)
RISING = st.tuples(NUMBERS, st.floats(1e-3, 1e6)).map(lambda pair: (pair[0], sum(pair)))


@given(RISING, st.integers(2, 8))
def test_round_ticks_lie_within_at_equal_steps(limits: tuple[float, float], count: int) -> None:
    low, high = limits
    ticks = svg.round_ticks(low, high, count)
    room = 1e-6 * max(abs(low), abs(high), 1)
    assert 1 <= len(ticks) <= count + 1
    assert all(low - room <= tick <= high + room for tick in ticks)
    steps = [b - a for a, b in pairwise(ticks)]
    assert all(math.isclose(step, steps[0], abs_tol=room) for step in steps)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.5, 40, [0.5, 1, 2, 5, 10, 20]),
        (1e-4, 1e3, [1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100, 1000]),
        (12, 18, [12, 13, 14, 15, 16, 17, 18]),
    ],
)
def test_logarithmic_ticks(low: float, high: float, expected: list[float]) -> None:
    assert Axis(low, high, 0, 1, log=True).ticks(6 if high < 1e3 else 8) == pytest.approx(expected)


@given(RISING, st.floats(0, 1))
def test_an_axis_runs_from_start_to_end(limits: tuple[float, float], share: float) -> None:
    axis = Axis(*limits, 40, 300)
    assert axis(limits[0]) == pytest.approx(40) and axis(limits[1]) == pytest.approx(300)
    value = limits[0] + share * (limits[1] - limits[0])
    assert axis(value) == pytest.approx(40 + share * 260, abs=1e-3)


def test_an_axis_of_one_value_shows_it_in_the_middle() -> None:
    assert Axis(5, 5, 0, 100)(5) == 50 and Axis(5, 5, 0, 100).ticks() == [5]


@given(st.lists(st.floats(0, 1e4), max_size=6), st.floats(0.1, 10))
def test_limits_hold_all_values_and_never_cross_zero(values: list[float], least: float) -> None:
    low, high = svg.padded(values, least=least)
    assert high - low >= least * (1 - 1e-9) and low >= 0
    assert all(low <= value <= high for value in values)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_labels_are_moved_apart_in_their_order(heights: list[float]) -> None:
    placed = svg.spread(heights, 12, 0, 100)
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    in_order = [placed[i] for i in order]
    gaps = [b - a for a, b in pairwise(in_order)]
    assert all(gap >= 12 - 1e-9 for gap in gaps)
    if all(b - a >= 12 for a, b in pairwise(sorted(heights))):
        assert placed == pytest.approx(heights)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 100)), min_size=1, max_size=12))
def test_the_front_is_what_no_other_beats(points: list[tuple[float, float]]) -> None:
    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return a[0] <= b[0] and a[1] >= b[1] and a != b

    expected = {p for p in points if not any(beats(other, p) for other in points)}
    found = front(points)
    assert set(found) == expected and found == sorted(found)


def test_thinning_keeps_the_mean_and_short_lines() -> None:
    points = [(float(x), float(x % 7)) for x in range(1000)]
    thin = thin_out(points, most=100)
    assert len(thin) == 100
    assert sum(y for _, y in thin) / 100 == pytest.approx(sum(y for _, y in points) / 1000)
    assert thin_out(points[:100], most=100) == points[:100]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.001, "0.001"),
        (1, "1"),
        (True, "on"),
        (False, "off"),
        ([2, 3, 4], "[2, 3, 4]"),
        ({"_target_": "torch.optim.AdamW", "lr": 1}, "AdamW"),
        ({"lr": 1}, None),
    ],
)
def test_a_level_in_words(value: object, expected: str | None) -> None:
    assert level_of({"a": {"b": value}}, "a.b") == expected
    assert level_of({"a": {}}, "a.b") is None and level_of({"a": 1}, "a.b") is None


def test_text_is_escaped_and_markup_is_not() -> None:
    text = "<b>\"&'"
    made = tag("p", text, title=text) + table(text, [text], [[Cell(text, hint=text)]])
    root = parse(f"<div>{made}{details(text, Markup('<i>x</i>'))}</div>")
    assert root.find("p")[0].attributes["title"] == text and root.find("p")[0].text.strip() == text
    assert not root.find("b") and root.find("i")
    assert root.find("caption")[0].words() == text
    assert root.find("th", scope="row")[0].attributes["title"] == text


@pytest.fixture(scope="module")
def ofat(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    root = tmp_path_factory.mktemp("charts")
    names = list(OFAT)[:4]
    study = make_study(root, "ofat", {name: OFAT[name] for name in names}, images=24)
    return evidence_of(collect(study, root, map(study.run_name, OFAT)), root)


def test_short_names_are_what_differs_from_the_baseline(ofat: Evidence) -> None:
    names = ["baseline", "lr0.01", "lr0.005", "bs16", "bs32", "sgd", "rmsprop", "ep150", "ep200"]
    assert list(ofat.labels.values()) == names


def test_short_names_of_a_tree(tmp_path: Path) -> None:
    study = make_study(tmp_path, "etram", {"baseline_3scale_100k": {"skill": 0.5}}, images=8)
    found = evidence_of(collect(study, tmp_path, map(study.run_name, ETRAM)), tmp_path)
    assert list(found.labels.values()) == [
        "baseline", "4scale", "sizeaware", "4scale sizeaware", "patch2 sizeaware",
        "sizeaware rescue",
    ]  # fmt: skip
    assert found.split == "test" and found.metric == "bbox/AP-small-classes"


def test_effects_start_at_the_parents_level(ofat: Evidence) -> None:
    found = effects(ofat, "bbox/AP50", bundles=False)
    told = {effect.factors[0]: [level.text for level in effect.levels] for effect in found}
    assert told == {
        "optimizer.lr": ["0.001", "0.01", "0.005"],
        "train.total_batch_size": ["8", "16"],
    }
    assert effects(ofat, "bbox/AP50", bundles=True) == []
    rate = found[0].levels
    assert rate[0].found is None and rate[1].found is not None
    expected = (
        rate[1].row.score("test", "bbox/AP50").mean - rate[0].row.score("test", "bbox/AP50").mean
    )  # type: ignore[operator]
    assert rate[1].found.estimate == pytest.approx(expected)


def test_claims_follow_their_intervals(ofat: Evidence) -> None:
    found = [claim for claim in claims(ofat) if claim.entry.row.finished]
    assert len(found) == 3 and len(claims(ofat)) == len(OFAT) - 1
    for claim in found:
        assert claim.found.bounds is not None
        low, high = claim.found.bounds
        expected = "better" if low > 0 else "worse" if high < 0 else "open"
        assert claim.verdict == expected
    assert "worse" in [claim.verdict for claim in found]


@pytest.mark.parametrize(("estimate", "is_doubtful"), [(4.7, True), (7.0, False)])
def test_a_difference_within_the_scatter_of_seeds_is_said(
    ofat: Evidence, estimate: float, is_doubtful: bool
) -> None:
    one = next(claim for claim in claims(ofat) if claim.entry.row.finished)
    three = {"runs": one.entry.row.runs * 3}
    claim = one._replace(
        entry=replace(one.entry, row=replace(one.entry.row, **three)),
        against=replace(one.against, **three),
        found=Difference(estimate, 5.1, Bounds(2.1, 7.8)),  # 2 standard errors are 5.9
        verdict="better",
    )
    said = " ".join(cautions(ofat, [claim]))
    assert ("within two standard errors of 0: lr0.01" in said) == is_doubtful
