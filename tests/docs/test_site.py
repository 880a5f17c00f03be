"""The pages as a site: it builds without a warning, and loads nothing from another host."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from page_commands import ROOT

pytest.importorskip("mkdocs", reason="the site wants the extra docs (make docs installs it)")
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "srcset", "link": "href"}
NAMED_ONLY = {"canonical", "next", "prev", "alternate"}  # kinds of links that are not loaded
# The theme's script has these for diagrams of mermaid, which no page has, and for browsers that
# lack what all have had since 2020.
CDN = re.compile(r"https?://(?:unpkg\.com|cdn\.\w[\w.]*|\w*\.googleapis\.com)/([\w./@-]+)")
SPARE = {"mermaid@11/dist/mermaid.min.js", "resize-observer-polyfill"}


class Loaded(HTMLParser):
    """Collects what a browser loads with a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.classes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.classes |= set(given.get("class", "").split())
        if tag in LOADING and given.get("rel") not in NAMED_ONLY and LOADING[tag] in given:
            self.addresses.append(given[LOADING[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, as ``make docs`` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_built(site):
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in ROOT.glob("docs/**/*.md")}
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    assert len(pages) > 15 and pages <= built
    reference = [path.read_text(encoding="utf-8") for path in site.glob("reference/*.html")]
    assert not [text for text in reference if re.search(r":(func|class|meth|mod|attr|data):", text)]


def test_pages_load_nothing_from_another_host(site):
    loaded = {path: Loaded(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    for path, page in loaded.items():
        assert "mermaid" not in page.classes, path
        for address in page.addresses:
            assert not re.match(r"(\w+:)?//", address), (path, address)
            file = (path.parent / address.split("#")[0].split("?")[0]).resolve()
            assert path.name == "404.html" or file.is_file(), (path, address)


def test_styles_and_scripts_load_nothing_from_another_host(site):
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"url\(\W*(https?:)?//|@import", text), path
    for path in site.rglob("*.js"):
        assert set(CDN.findall(path.read_text(encoding="utf-8"))) <= SPARE, path


def test_diagrams_are_drawings_of_ours():
    made = {path.suffix for path in (ROOT / "docs" / "images").iterdir()}
    assert made <= {".svg", ".png", ".jpg"}
    for path in ROOT.glob("docs/**/*.svg"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(href|src)=.https?://|@import|<script", text)
