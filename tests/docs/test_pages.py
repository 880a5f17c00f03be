"""The pages name files that exist, and the drawing of the rooms is of today."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from page_commands import FENCED, ROOT

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")]
FOLDERS = ("configs", "docs", "projects", "tests", "tools", "benchmarks")
MADE = re.compile(
    r"configs/(debug/(STUDY|ofat|etram|rvt)/|ofat/NAME|.*\bcombined\.py)|STUDY|NAME|\*|…"
)


def files_named(text: str) -> set[str]:
    """Paths below the project's folders in back ticks, without those that are made on demand."""
    names = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`", text)
    return {name for name in names if not MADE.search(name)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_and_links_of_a_page_exist(page):
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    missing = [name for name in files_named(text) if not (ROOT / name).exists()]
    missing += [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_the_version_is_the_newest_of_the_changelog():
    def first(pattern: str, name: str) -> tuple[str, ...]:
        found = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.M)
        assert found, name
        return found.groups()

    version, date = first(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", "CHANGELOG.md")
    assert first(r'^    version="(.+)",$', "setup.py") == (version,)
    assert first(r"^version: (.+)$", "CITATION.cff") == (version,)
    assert first(r"^date-released: (.+)$", "CITATION.cff") == (date,)


def test_the_page_of_studies_lists_every_experiment():
    page = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    paths = [path for path in ROOT.glob("configs/*/*.py") if (path.parent / "study.yaml").exists()]
    listed = set(re.findall(r"`([\w.]+)`", page)) | {"combined"}  # lab.py combine writes it
    assert len(paths) > 30 and not {path.stem for path in paths} - listed


def test_the_journeys_pass_through_many_files():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert len({name for name in files_named(page) if name.endswith(".py")}) > 30


def test_the_drawing_shows_the_rooms_of_today():
    svg = (ROOT / "docs" / "images" / "rooms.svg").read_text(encoding="utf-8")
    shown = set(re.findall(r">([a-z_]+)</text>", svg))
    code = "import draw_rooms as d; print(*d.PLACES, *(r for p in d.FILLS for r in d.rooms(p)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "docs", capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= shown, "run python docs/draw_rooms.py"
