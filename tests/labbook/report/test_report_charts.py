"""Axes, labels and lines of the charts, and what they are drawn from."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas import DataFrame, Series
from report_html import parse
from report_toys import ETRAM, OFAT, make_study

from labbook.report import plots
from labbook.report.curves import thin_out
from labbook.report.data import ReportData, report_data
from labbook.report.effects import effect_charts, effects, level_of
from labbook.report.summary import comparisons, may_be_chance
from labbook.results.collect import collect

HOSTILE = '<b>$x$ & "y"</b>'


@given(st.lists(st.floats(0, 1e4), max_size=6), st.floats(0.1, 10))
def test_limits_hold_all_values_and_never_cross_zero(values: list[float], least: float) -> None:
    low, high = plots.limits([*values, float("nan")], least)
    assert high - low >= least * (1 - 1e-9) and low >= 0
    assert all(low <= value <= high for value in values)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_labels_are_moved_apart_in_their_order(heights: list[float]) -> None:
    placed = plots.spread(heights, 12, 0, 100)
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    assert all(b - a >= 12 - 1e-9 for a, b in pairwise(placed[i] for i in order))
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in placed)
    if all(b - a >= 12 for a, b in pairwise(sorted(heights))):
        assert placed == pytest.approx(heights)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 100)), min_size=1, max_size=12))
def test_the_front_is_what_no_other_beats(points: list[tuple[float, float]]) -> None:
    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return a[0] <= b[0] and a[1] >= b[1] and a != b

    expected = {p for p in points if not any(beats(other, p) for other in points)}
    front = plots.front(DataFrame(points, columns=["cost", "score"], dtype=float))
    found = [*front.itertuples(index=False, name=None)]
    assert set(found) == expected and found == sorted(found)


def test_thinning_keeps_the_mean_and_short_lines() -> None:
    curve = Series([float(x % 7) for x in range(1000)], index=range(1000))
    thin = thin_out(curve, most=100)
    assert len(thin) == 100
    assert thin.mean() == pytest.approx(curve.mean())
    assert thin_out(curve[:100], most=100).tolist() == curve[:100].tolist()


@pytest.mark.parametrize("points", [1, 2])
def test_a_curve_of_one_point_is_a_dot(points: int) -> None:
    drawing = plots.lines([plots.Line(Series([1.0] * points))], (0, 4), "step", "score")
    assert ("<use" in drawing) == (points == 1)


def a_line(name: str) -> str:
    return plots.lines([plots.Line(Series([1.0, 3.0, 2.0]), end="2.0")], (0, 4), "step", name)


def a_forest(name: str) -> str:
    row = {"name": name, "note": "n", "text": "+1.0", "word": "w", "verdict": "better"}
    return plots.forest(DataFrame([{**row, "estimate": 1.0, "low": None, "high": None}]), name)


def some_levels(name: str) -> str:
    row = {"seeds": [3.0, 5.0], "low": 3.0, "high": 6.0, "verdict": "worse", "score": 4.0}
    found = DataFrame([{**row, "name": n, "is_reference": n == name} for n in (name, "b")])
    return plots.levels(found, (0, 9), name, name)


def some_costs(name: str) -> str:
    row = {"cost": 1.0, "score": 2.0}
    found = DataFrame([{**row, "name": n, "is_reference": n == name} for n in (name, "b")])
    return plots.costs(found, name, name)


@pytest.mark.parametrize("draw", [a_line, a_forest, some_levels, some_costs])
def test_a_figure_fits_into_any_page(draw) -> None:
    """Same bytes for the same data, ids of its own, text as text, colours of the page."""
    both = draw("a") + draw(HOSTILE)
    assert draw("a") + draw(HOSTILE) == both
    root = parse(f"<div>{both}</div>")
    ids = [element.attributes["id"] for element in root.find("*") if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    uses = {use.attributes["xlink:href"] for use in root.find("use")}
    assert uses <= {f"#{name}" for name in ids}
    assert set(re.findall(r"url\(#(.*?)\)", both)) <= set(ids)
    assert not root.find("style") and not root.find("b")
    assert [title.words() for title in root.find("title")] == ["a", HOSTILE]
    assert not re.search(r"#[0-9a-f]{6}\b(?!\")", re.sub(r"(id|href|url\()=?\"?#?\w+", "", both))
    svg = root.find("svg")[0]
    assert "width" not in svg.attributes and svg.attributes["viewbox"] and svg.find("text")


def test_the_text_of_a_tick_at_the_end_of_the_axis_is_not_cut_off() -> None:
    row = {"name": "n", "note": "n", "text": "t", "word": "w", "verdict": "better"}
    found = DataFrame([{**row, "estimate": -9.0, "low": -18.2, "high": -1.0}])  # the axis: -20.02
    texts = parse(plots.forest(found, "a")).find("text")
    ticks = [text for text in texts if "middle" in (text.attributes["style"] or "")]
    (end,) = [float(tick.attributes["x"] or 0) for tick in ticks if tick.words() == "-20"]
    assert 12 < end < 20


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


@pytest.fixture(scope="module")
def ofat(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    root = tmp_path_factory.mktemp("charts")
    study = make_study(root, "ofat", {name: OFAT[name] for name in list(OFAT)[:4]}, images=16)
    return report_data(collect(study, root, map(study.run_name, OFAT)), root)


def test_short_names_are_what_differs_from_the_baseline(
    ofat: ReportData, etram_data: ReportData
) -> None:
    names = ["baseline", "lr0.01", "lr0.005", "bs16", "bs32", "sgd", "rmsprop", "ep150", "ep200"]
    assert list(ofat.labels.values()) == names
    tree = ["baseline", "4scale", "sizeaware", "4scale sizeaware", "patch2 sizeaware"]
    assert list(etram_data.labels.values()) == [*tree, "sizeaware rescue"]
    assert etram_data.split == "test" and etram_data.metric == "bbox/AP-small-classes"


def test_effects_start_at_the_references_level(ofat: ReportData) -> None:
    found = {effect.factors: effect.levels for effect in effects(ofat, "bbox/AP50")}
    assert {factors: list(levels["name"]) for factors, levels in found.items()} == {
        ("optimizer.lr",): ["0.001", "0.005", "0.01"],
        ("train.total_batch_size",): ["8", "16"],
    }
    for levels in found.values():
        reference, others = levels[levels["is_reference"]], levels[~levels["is_reference"]]
        assert len(reference) == 1 and reference[["low", "high"]].isna().all(axis=None)
        for title, level in others.iterrows():
            assert level["score"] == ofat.experiments.at[title, "test bbox/AP50"]
            known = ofat.results.differences.query(
                "title == @title and split == 'test' and key == 'bbox/AP50'"
            )
            expected = reference["score"].item() + known[["low", "high"]].to_numpy()[0]
            assert [level["low"], level["high"]] == pytest.approx(expected)


def test_effects_of_a_tree_start_at_the_parent(etram_data: ReportData) -> None:
    found = {effect.factors: effect for effect in effects(etram_data, etram_data.metric)}
    rescue = found["model.head.rescue_unmatched",]
    assert etram_data.labels[rescue.reference] == "sizeaware"
    assert list(rescue.levels["name"]) == ["off", "on"]
    assert rescue.levels["low"].isna().tolist() == [True, False]
    assert sum(len(factors) > 1 for factors in found) == 2


@pytest.mark.parametrize("end", ["failed", "running", None])  # None: no folder
def test_levels_whose_reference_has_no_score_are_not_drawn(tmp_path: Path, end: str | None) -> None:
    facts = {name: {**ETRAM[name]} for name in ETRAM}
    reference = facts.pop("3scale_sizeaware_100k")
    if end:
        facts["3scale_sizeaware_100k"] = {**reference, "end": end}
    study = make_study(tmp_path, "etram", facts, images=8)
    data = report_data(collect(study, tmp_path, map(study.run_name, ETRAM)), tmp_path)
    found = effects(data, data.metric)
    assert sorted(data.labels[effect.reference] for effect in found) == ["4scale", "baseline"]
    drawn = {data.labels[title] for effect in found for title in effect.levels.index}
    assert drawn == {"baseline", "4scale", "4scale sizeaware"}
    assert all(effect.levels["score"].notna().all() for effect in found)
    charts = [chart for group in effect_charts(data) for chart in group["charts"]]
    assert len(charts) == len(found) * len(data.metrics)


def test_without_a_score_of_any_reference_there_is_no_chart(tmp_path: Path) -> None:
    facts = {name: {**ETRAM[name]} for name in list(ETRAM)[:2]}
    facts["baseline_3scale_100k"]["end"] = "failed"
    study = make_study(tmp_path, "etram", facts, images=8)
    data = report_data(collect(study, tmp_path, map(study.run_name, facts)), tmp_path)
    assert effect_charts(data) == []


def test_the_levels_of_a_factor_are_of_one_kind(tmp_path: Path) -> None:
    """As of a toy study, whose values are smaller than those that its experiments declare."""
    facts = {name: {**OFAT[name], "level": 150} for name in list(OFAT)[:3]}
    study = make_study(tmp_path, "ofat", facts, images=8)
    data = report_data(collect(study, tmp_path, map(study.run_name, facts)), tmp_path)
    (effect,) = effects(data, "bbox/AP50")
    assert list(effect.levels["name"]) == ["0.001", "0.005", "0.01"]


def test_verdicts_follow_their_intervals(ofat: ReportData) -> None:
    found = comparisons(ofat)
    assert len(found) == len(OFAT) - 1
    known = found.dropna(subset="low")
    assert len(known) == 3 and "worse" in set(known["verdict"])
    for claim in known.itertuples():
        expected = "better" if claim.low > 0 else "worse" if claim.high < 0 else "open"
        assert claim.verdict == expected and not claim.why
    assert all(found[found["low"].isna()]["why"])


@pytest.mark.parametrize(("estimate", "is_doubtful"), [(4.7, True), (7.0, False)])
def test_a_difference_within_the_scatter_of_seeds_may_be_chance(estimate, is_doubtful) -> None:
    claim = {"estimate": estimate, "spread": 5.1, "seeds": 3, "is_marked": True}
    assert may_be_chance(DataFrame([claim])).item() == is_doubtful  # 2 standard errors are 5.9
    assert not may_be_chance(DataFrame([claim | {"spread": None}]).astype({"spread": float})).item()
