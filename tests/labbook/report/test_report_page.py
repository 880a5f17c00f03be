"""The page of a study is complete, honest about what is missing, and needs nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from labbook_toys import STUDIES
from report_html import Element, parse
from report_toys import ETRAM, OFAT, make_study

from labbook.cli import main
from labbook.config.studies import Study
from labbook.report.page import write_report
from labbook.results.collect import collect

BASE = "baseline_lr0.001_bs8_adamw_ep100"
LR, SGD, EP200 = (f"ofat_{name}" for name in (
    "lr0.01_bs8_adamw_ep100", "lr0.001_bs8_sgd_ep100", "lr0.001_bs8_adamw_ep200"
))  # fmt: skip
IMAGES = 24
HOSTILE = "<script>alert('x')</script> & \"more\""


def report(root: Path, study: Study) -> Element:
    """Write the page and read it."""
    known = OFAT if study.family == "ofat" else ETRAM
    results = collect(study, root, map(study.run_name, known))
    return parse(write_report(results, root)[0].read_text("utf-8"))


@pytest.fixture(scope="module")
def ofat(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Element]:
    """Two finished runs, one failed, one interrupted with hostile text, five not started."""
    root = tmp_path_factory.mktemp("ofat")
    chosen = {name: OFAT[name] for name in (BASE, SGD)}
    chosen[LR] = {**OFAT[LR], "end": "failed", "level": HOSTILE}
    chosen[EP200] = {**OFAT[EP200], "end": "interrupted"}
    return root, report(root, make_study(root, "ofat", chosen, images=IMAGES))


@pytest.fixture(scope="module")
def etram(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Element]:
    """A tree of experiments, two seeds each."""
    root = tmp_path_factory.mktemp("etram")
    return root, report(root, make_study(root, "etram", seeds=2, images=IMAGES))


def section(page: Element, anchor: str) -> Element:
    return page.find("section", id=anchor)[0]


@pytest.mark.parametrize("name", ["ofat", "etram"])
def test_it_is_one_file_that_needs_nothing_else(name, request) -> None:
    root, page = request.getfixturevalue(name)
    text = (root / "work_dirs" / f"{name}_report.html").read_text("utf-8")
    assert not page.find("script") and not page.find("iframe") and "@import" not in text
    assert not re.search(r"url\((?!data:)", text)
    for element in page.find("*"):
        for attribute in ("src", "href", "xlink:href"):
            target = element.attributes.get(attribute) or ""
            assert not re.match(r"(https?:)?//", target)
    assert len(text) < 3e6


@pytest.mark.parametrize("name", ["ofat", "etram"])
def test_links_lead_somewhere(name, request) -> None:
    root, page = request.getfixturevalue(name)
    ids = [e.attributes["id"] for e in page.find("*") if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    targets = [e.attributes["href"] or "" for e in page.find("a") + page.find("use")]
    files = [target for target in targets if not target.startswith("#")]
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)
    assert files and all((root / "work_dirs" / unquote(target)).exists() for target in files)


@pytest.mark.parametrize("name", ["ofat", "etram"])
def test_all_can_be_read_aloud(name, request) -> None:
    _, page = request.getfixturevalue(name)
    assert page.find("html")[0].attributes["lang"] == "en"
    assert page.find("meta", name="viewport")
    assert all(table.find("caption")[0].words() for table in page.find("table"))
    hidden = page.find("svg", aria_hidden="true")
    drawings = [svg for svg in page.find("svg") if svg not in hidden]
    assert drawings and all(svg.attributes.get("aria-label") for svg in drawings)
    for part in page.find("section"):
        assert part.find("h2") and part.find("p", class_="lead")[0].words()


def test_it_has_every_section(ofat) -> None:
    _, page = ofat
    anchors = [part.attributes["id"] for part in page.find("section")]
    assert anchors == [
        "summary", "results", "effects", "curves", "training", "costs", "errors", "gallery", "runs",
    ]  # fmt: skip
    for anchor in ("effects", "curves", "costs", "errors"):
        assert section(page, anchor).find("figure", class_="chart")


def test_the_summary_sorts_by_what_is_supported(ofat) -> None:
    root, page = ofat
    summary = section(page, "summary")
    assert "2 of 9 experiments have a finished run; 2 of 4 runs finished; 1 seed each" in (
        summary.words()
    )
    intervals = json.loads((root / "work_dirs" / "ofat_intervals.json").read_text())
    assert any(high < 0 for found in intervals.values() for _, high in [found["interval"]])
    worse = summary.find("div", class_="verdict worse")
    assert len(worse) == 1 and "sgd" in worse[0].words()
    silent = summary.find("div", class_="verdict unknown")[0].words()
    assert "lr0.01 : no finished run (the loss is nan)" in silent
    assert "bs16 : no finished run" in silent
    assert "by chance" in summary.words() and "--seeds 3" in summary.words()


def test_unfinished_runs_are_marked_and_have_no_numbers(ofat) -> None:
    _, page = ofat
    rows = {row.find("th")[0].words(): row for row in section(page, "results").find("tr")[1:]}
    assert {"lr0.01 FAILED", "ep200 INTERRUPTED", "bs16 not started"} <= rows.keys()
    for name in ("lr0.01 FAILED", "bs16 not started"):
        assert {cell.words() for cell in rows[name].find("td")} == {"-"}
    titles = [
        chart.find("figcaption")[0].words() for chart in section(page, "curves").find("figure")
    ]
    assert "lr0.01 FAILED" in titles and "ep200 INTERRUPTED" in titles and "bs16" not in titles


def test_hostile_text_is_text(ofat) -> None:
    root, page = ofat
    assert HOSTILE in section(page, "runs").text
    assert "<script" not in (root / "work_dirs" / "ofat_report.html").read_text("utf-8")


def test_each_single_factor_has_a_chart_from_the_parents_level(etram) -> None:
    _, page = etram
    charts = section(page, "effects").find("figure", class_="chart")
    told = [chart.find("svg")[0].attributes["aria-label"] or "" for chart in charts]
    small = [text for text in told if text.startswith("AP of small classes by ")]
    factors = [text.removeprefix("AP of small classes by ").partition(":")[0] for text in small]
    assert factors == [
        "model.backbone.in_stages",
        "model.head.size_aware_loss",
        "model.head.rescue_unmatched",
        "model.head.size_aware_loss and model.head.size_aware_weight",
        "model.backbone.bottom_up.patch_size and train.total_batch_size",
    ]
    assert re.search(r": off: [\d.]+ ± [\d.]+, rescue: [\d.]+ ± [\d.]+$", small[2])


def test_a_tree_is_compared_with_parents_and_with_the_baseline(etram) -> None:
    _, page = etram
    first, second = section(page, "summary").find("table", class_="forest")
    against = {
        row.find("span")[0].words(): row.find("small")[0].words() for row in first.find("tr")[1:]
    }
    assert against["sizeaware rescue"] == "against sizeaware, 2 seeds"
    assert against["4scale sizeaware"] == "against 4scale, bundle, 2 seeds"
    assert [row.find("small")[0].words() for row in second.find("tr")[1:]] == [
        "against baseline, bundle, 2 seeds",
        "against baseline, bundle, 2 seeds",
        "against baseline, 2 seeds",
    ]


def test_without_any_run_the_page_says_so(tmp_path: Path) -> None:
    page = report(tmp_path, make_study(tmp_path, "ofat-debug", {}))
    assert (tmp_path / "work_dirs" / "debug" / "ofat_report.html").is_file()
    assert "tools/lab.py run ofat --debug" in section(page, "summary").find("p")[2].words()
    assert not page.find("figure")
    assert section(page, "results").words().count("not started") == len(OFAT)


def test_a_baseline_alone_is_compared_with_nothing(tmp_path: Path) -> None:
    page = report(tmp_path, make_study(tmp_path, "ofat", {BASE: OFAT[BASE]}, images=IMAGES))
    assert "a comparison needs two finished experiments" in section(page, "summary").words()
    assert section(page, "curves").find("figure") and section(page, "errors").find("table")


def test_damaged_matches_cost_only_their_own_numbers(tmp_path: Path) -> None:
    study = make_study(tmp_path, "ofat", {n: OFAT[n] for n in (BASE, SGD, LR)}, images=IMAGES)
    path = tmp_path / "work_dirs" / SGD / "evaluation" / "test" / "matches.npz"
    path.write_bytes(path.read_bytes()[:300])
    page = report(tmp_path, study)
    costs = section(page, "errors").find("table")[0]
    assert [row.find("th")[0].words() for row in costs.find("tr")[1:]] == ["baseline", "lr0.01"]
    assert "sgd: cannot be compared" in section(page, "gallery").words()


def test_the_command_refuses_runs_on_different_data(tmp_path: Path, capsys) -> None:
    make_study(tmp_path, "ofat", {name: OFAT[name] for name in (BASE, SGD)}, images=IMAGES)
    path = tmp_path / "work_dirs" / SGD / "evaluation" / "test" / "evaluation.json"
    content = json.loads(path.read_text()) | {"annotation_sha256": "other"}
    path.write_text(json.dumps(content))
    assert main(["report", "ofat"], tmp_path) == 2
    assert "cannot be compared" in capsys.readouterr().err
    assert not (tmp_path / "work_dirs" / "ofat_report.html").exists()


def test_the_command_says_where_the_page_is(tmp_path: Path, capsys) -> None:
    make_study(tmp_path, "ofat", {BASE: OFAT[BASE]}, images=IMAGES)
    assert main(["report", "ofat", "--only", BASE], tmp_path) == 0
    printed = capsys.readouterr().out.split()
    assert printed == ["work_dirs/ofat_report.html", "work_dirs/ofat_errors.json"]
    assert all((tmp_path / name).is_file() for name in printed)


def test_experiments_without_a_common_baseline_stand_side_by_side(tmp_path: Path) -> None:
    study = STUDIES["demo"]
    folder = tmp_path / study.work_folder
    make_study(tmp_path, "ofat", {BASE: OFAT[BASE]}, images=IMAGES)
    for name in ("heads", "events"):
        target = folder / f"demo_{name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        source = tmp_path / "work_dirs" / f"ofat_{BASE}"
        text = (source / "config.yaml").read_text()
        text = text.replace(f"name: ofat_{BASE}", f"name: demo_{name}")
        target.mkdir()
        for path in source.rglob("*"):
            place = target / path.relative_to(source)
            place.mkdir(exist_ok=True) if path.is_dir() else place.write_bytes(path.read_bytes())
        (target / "config.yaml").write_text(text.replace("study: ofat", "study: demo"))
    page = parse(write_report(collect(study, tmp_path), tmp_path)[0].read_text("utf-8"))
    rows = section(page, "results").find("tr")[1:]
    assert [row.find("th")[0].words() for row in rows] == ["heads", "events"]
