"""The page of a study is complete, honest about what is missing, and needs nothing else."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
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
from labbook.results.tables import results_table
from labbook.results.text import difference_text

BASE = "baseline_lr0.001_bs8_adamw_ep100"
LR, SGD, EP200 = (f"ofat_{name}" for name in (
    "lr0.01_bs8_adamw_ep100", "lr0.001_bs8_sgd_ep100", "lr0.001_bs8_adamw_ep200"
))  # fmt: skip
IMAGES = 16
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


def section(page: Element, anchor: str) -> Element:
    return page.find("section", id=anchor)[0]


def rows_of(page: Element, anchor: str) -> list[Element]:
    """The rows below the head of a section's first table."""
    return section(page, anchor).find("table")[0].find("tr")[1:]


@pytest.fixture(params=["ofat", "etram"])
def either(request: pytest.FixtureRequest) -> tuple[Path, Element]:
    """The file of a page, and what is in it."""
    root, page = request.getfixturevalue(request.param)
    return root / "work_dirs" / f"{request.param}_report.html", page


def test_it_is_one_file_that_needs_nothing_else(either: tuple[Path, Element]) -> None:
    file, page = either
    text = file.read_text("utf-8")
    assert not page.find("script") and not page.find("iframe") and "@import" not in text
    assert not re.search(r"url\((?!data:|#)", text)
    for element in page.find("*"):
        for attribute in ("src", "href", "xlink:href"):
            target = element.attributes.get(attribute) or ""
            assert not re.match(r"(https?:)?//", target)
    assert len(text) < 3e6


def test_links_lead_somewhere(either: tuple[Path, Element]) -> None:
    file, page = either
    ids = [e.attributes["id"] for e in page.find("*") if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    links = [e.attributes for e in page.find("a") + page.find("use")]
    targets = [link.get("href") or link["xlink:href"] or "" for link in links]
    files = [target for target in targets if not target.startswith("#")]
    inner = {target[1:] for target in targets if target.startswith("#")}
    assert inner | set(re.findall(r"url\(#(.*?)\)", file.read_text("utf-8"))) <= set(ids)
    assert files and all((file.parent / unquote(target)).exists() for target in files)


def test_all_can_be_read_aloud(either: tuple[Path, Element]) -> None:
    """Wide tables scroll in a frame that a keyboard reaches; its shadow shows that it does."""
    page = either[1]
    assert page.find("html")[0].attributes["lang"] == "en"
    assert page.find("meta", name="viewport")
    assert all(table.find("caption")[0].words() for table in page.find("table"))
    drawings = page.find("svg", role="img")
    assert drawings and all(svg.find("title")[0].words() for svg in drawings)
    others = [svg for svg in page.find("svg") if svg not in drawings]
    assert others == page.find("svg", aria_hidden="true")
    for part in page.find("section"):
        assert part.find("h2") and part.find("p", class_="lead")[0].words()
    frames = page.find("div", class_="scroll", role="region", tabindex="0")
    assert len(frames) == len(page.find("table")) > 0
    assert all(len(frame.find("table")) == 1 and frame.attributes["aria-label"] for frame in frames)
    style = page.find("style")[0].text
    rule = style[style.index(".scroll {") :].partition("}")[0]
    assert "overflow-x: auto" in rule and "--shadow" in rule


def test_it_has_every_section_and_hostile_text_is_text(ofat) -> None:
    root, page = ofat
    anchors = [part.attributes["id"] for part in page.find("section")]
    assert anchors == [
        "summary", "results", "effects", "curves", "training", "costs", "errors", "gallery", "runs",
    ]  # fmt: skip
    for anchor in ("effects", "curves", "costs", "errors"):
        assert section(page, anchor).find("figure", class_="chart")
    assert HOSTILE in section(page, "runs").text
    assert "<script" not in (root / "work_dirs" / "ofat_report.html").read_text("utf-8")


def test_the_summary_sorts_by_what_is_supported(ofat) -> None:
    root, page = ofat
    summary = section(page, "summary")
    progress = summary.find("p")[1].words()
    assert re.findall(r"\d+", progress) == ["2", "9", "2", "4", "1"]  # experiments, runs, seeds
    intervals = json.loads((root / "work_dirs" / "ofat_intervals.json").read_text())
    assert any(high < 0 for found in intervals.values() for _, high in [found["interval"]])
    (worse,) = summary.find("div", class_="verdict worse")
    assert [claim.words() for claim in worse.find("strong")] == ["sgd"]
    (unknown,) = summary.find("div", class_="verdict unknown")
    silent = {claim.find("strong")[0].words(): claim.words() for claim in unknown.find("li")}
    assert silent.keys() == {"lr0.01", "lr0.005", "bs16", "bs32", "rmsprop", "ep150", "ep200"}
    assert "the loss is nan" in silent["lr0.01"]
    assert "--seeds 3" in summary.words()


def test_numbers_are_those_of_the_table(etram) -> None:
    root, page = etram
    results = collect(STUDIES["etram"], root, map(STUDIES["etram"].run_name, ETRAM))
    told = {row.find("th")[0].attributes["title"]: row for row in rows_of(page, "results")}
    assert list(told) == list(results.experiments.index)
    cells = results_table(results).cells.set_index("Experiment")
    titles = [cell.words() for cell in section(page, "results").find("th", scope="col")][1:]
    for title, row in told.items():
        assert [cell.words() for cell in row.find("td")] == cells.loc[title, titles].tolist()
    known = results.differences.query("key == 'bbox/AP-small-classes' and split == 'test'")
    drawings = section(page, "summary").find("svg")
    shown = " ".join(text.words() for svg in drawings for text in svg.find("text"))
    assert len(known) == 8
    assert all(difference_text(one).rstrip("*") in shown for one in known.itertuples())


def test_unfinished_runs_are_marked_and_have_no_numbers(ofat) -> None:
    _, page = ofat
    rows = {row.find("span")[0].words(): row for row in rows_of(page, "results")}
    for name, status in (("lr0.01", "FAILED"), ("ep200", "INTERRUPTED"), ("bs16", "not started")):
        assert rows[name].find("small")[0].words() == status
        assert {cell.words() for cell in rows[name].find("td")} == {"-"}
    captions = [chart.words() for chart in section(page, "curves").find("figcaption")]
    assert {"lr0.01 FAILED", "ep200 INTERRUPTED"} <= set(captions) and "bs16" not in captions


def test_each_factor_has_a_chart_for_each_score(etram) -> None:
    _, page = etram
    told = [svg.find("title")[0].words() for svg in section(page, "effects").find("svg")]
    factors = [text.partition(" by ")[2].partition(":")[0] for text in told]
    assert len(factors) == 4 * 5 and set(factors) == {
        "model.backbone.in_stages",
        "model.head.size_aware_loss",
        "model.head.rescue_unmatched",
        "model.head.size_aware_loss, model.head.size_aware_weight",
        "model.backbone.bottom_up.patch_size, train.total_batch_size",
    }


def test_a_tree_is_compared_with_parents_and_with_the_baseline(etram) -> None:
    _, page = etram
    first, second = section(page, "summary").find("svg")
    texts = [text.words() for text in first.find("text")]
    for name, against in (("sizeaware rescue", "sizeaware"), ("4scale sizeaware", "4scale")):
        note = texts[texts.index(name) + 1]
        assert f"against {against}," in note and "2 seeds" in note
        assert ("bundle" in note) == (name == "4scale sizeaware")
    notes = [text.words() for text in second.find("text") if "against" in text.words()]
    assert len(notes) == 3 and all("against baseline" in note for note in notes)


def test_without_any_run_the_page_says_so(tmp_path: Path) -> None:
    page = report(tmp_path, make_study(tmp_path, "ofat-debug", {}))
    assert (tmp_path / "work_dirs" / "debug" / "ofat_report.html").is_file()
    (notice,) = section(page, "summary").find("p", class_="notice")
    assert "lab.py run ofat --debug" in notice.words() and not page.find("figure")
    assert section(page, "results").words().count("not started") == len(OFAT)


def test_a_baseline_alone_is_compared_with_nothing(tmp_path: Path, capsys) -> None:
    make_study(tmp_path, "ofat", {BASE: OFAT[BASE]}, images=IMAGES)
    assert main(["report", "ofat", "--only", BASE], tmp_path) == 0
    printed = capsys.readouterr().out.split()
    assert printed == ["work_dirs/ofat_report.html", "work_dirs/ofat_errors.json"]
    assert (tmp_path / printed[1]).is_file()
    page = parse((tmp_path / printed[0]).read_text("utf-8"))
    assert section(page, "summary").find("p", class_="notice")
    assert section(page, "curves").find("figure") and section(page, "errors").find("table")


def test_damaged_matches_cost_only_their_own_numbers(tmp_path: Path) -> None:
    study = make_study(tmp_path, "ofat", {n: OFAT[n] for n in (BASE, SGD, LR)}, images=IMAGES)
    path = tmp_path / "work_dirs" / SGD / "evaluation" / "test" / "matches.npz"
    path.write_bytes(path.read_bytes()[:300])
    page = report(tmp_path, study)
    assert [row.find("th")[0].words() for row in rows_of(page, "errors")] == ["baseline", "lr0.01"]
    assert re.search(r"sgd: .*matches\.npz", section(page, "gallery").words())


def test_the_command_refuses_runs_on_different_data(tmp_path: Path, capsys) -> None:
    make_study(tmp_path, "ofat", {name: OFAT[name] for name in (BASE, SGD)}, images=IMAGES)
    path = tmp_path / "work_dirs" / SGD / "evaluation" / "test" / "evaluation.json"
    content = json.loads(path.read_text()) | {"annotation_sha256": "other"}
    path.write_text(json.dumps(content))
    assert main(["report", "ofat"], tmp_path) == 2
    assert "ground truth of test" in capsys.readouterr().err
    assert not (tmp_path / "work_dirs" / "ofat_report.html").exists()


def test_experiments_without_a_common_baseline_stand_side_by_side(tmp_path: Path) -> None:
    study = replace(make_study(tmp_path, "ofat", {BASE: OFAT[BASE]}, images=IMAGES), name="other")
    source = tmp_path / study.work_folder / f"ofat_{BASE}"
    for name in ("one", "two"):
        target = source.with_name(f"other_{name}")
        shutil.copytree(source, target)
        text = (source / "config.yaml").read_text().replace("study: ofat", "study: other")
        text = text.replace(f"name: ofat_{BASE}", f"name: other_{name}")
        (target / "config.yaml").write_text(text)
    page = parse(write_report(collect(study, tmp_path), tmp_path)[0].read_text("utf-8"))
    assert {row.find("th")[0].words() for row in rows_of(page, "results")} == {"one", "two"}
    assert not section(page, "effects").find("figure")
