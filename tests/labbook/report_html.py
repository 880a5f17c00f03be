"""Reads a report's page, and shows it in a browser without a window."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

Attributes = dict[str, str | None]
_VOID = {"meta", "link", "br", "img", "input", "hr"}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

_PROBE = """<script>
const pictures = [...document.querySelectorAll("image, img")].map((e) => {
  const picture = new Image();  // the page is loaded when this is
  picture.src = e.getAttribute("href") || e.src;
  return picture;
});
addEventListener("load", () => {
  const texts = [...document.querySelectorAll("svg text")].filter((e) => e.checkVisibility());
  const crops = [...document.querySelectorAll("figure.crop svg")];
  parent.document.body.dataset.probe = JSON.stringify({
    page: document.documentElement.scrollWidth,
    window: innerWidth,
    background: getComputedStyle(document.body).backgroundColor,
    pictures: pictures.map((e) => e.naturalWidth),
    crops: crops.map((e) => e.getBBox().width),
    charts: [...document.querySelectorAll("figure.chart svg")].map(
      (e) => e.getBoundingClientRect().width),
    text: Math.min(...texts.map(
      (e) => parseFloat(getComputedStyle(e).fontSize) * e.getScreenCTM().a)),
  });
});
</script></body>"""
_FRAME = """<!DOCTYPE html><html><head><link rel="icon" href="data:,"></head><body>
<iframe src="inner.html" width="WIDTH" height="900" style="border: 0"></iframe></body></html>"""
"""A window is at least 500 pixels wide, a frame in it is not."""


@dataclass
class Element:
    """A tag with all text below it."""

    tag: str
    attributes: Attributes
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def find(self, tag: str, **attributes: str) -> list[Element]:
        """All elements below with this tag (any: ``*``) and these attributes."""
        wanted = {name.replace("_", "-").rstrip("-"): value for name, value in attributes.items()}
        found = []
        for child in self.children:
            if tag in ("*", child.tag) and wanted.items() <= child.attributes.items():
                found.append(child)
            found += child.find(tag, **attributes)
        return found

    def words(self) -> str:
        """The text with single spaces."""
        return " ".join(self.text.split())


class _Tree(HTMLParser):
    """Builds elements and insists that every one is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += f"{data} "


def parse(text: str) -> Element:
    """The page as a tree; it must be well formed."""
    tree = _Tree()
    tree.feed(text)
    tree.close()
    assert [element.tag for element in tree.open] == [""], "an element is not closed"
    return tree.root


@dataclass
class Shown:
    """What a browser made of a page."""

    facts: dict[str, Any]
    console: list[str]


def show(page: Path, folder: Path, width: int, dark: bool = False) -> Shown:
    """Load a page in headless Chromium, or skip the test if there is none.

    Args:
        page: the file.
        folder: for the copy that holds the probe, and for the browser's own files.
        width: of the page in pixels.
        dark: whether the reader prefers dark pages.
    """
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    (folder / "inner.html").write_text(page.read_text("utf-8").replace("</body>", _PROBE), "utf-8")
    outer = folder / "outer.html"
    outer.write_text(_FRAME.replace("WIDTH", str(width)), "utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    command += [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    command += ["--allow-file-access-from-files", "--dump-dom", outer.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    body = parse(done.stdout).find("body")[0]
    probe = body.attributes.get("data-probe")
    assert probe, f"the page has not been loaded:\n{done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if re.search(r":CONSOLE[:(]", line)]
    return Shown(json.loads(probe), console)
