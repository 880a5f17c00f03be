"""The page in headless Chromium: it loads without complaint and can be read on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_html import Element, Shown, show

PHONE, DESKTOP = 390, 1280


@pytest.mark.parametrize(("width", "dark"), [(PHONE, False), (DESKTOP, True)])
def test_it_is_readable(
    etram: tuple[Path, Element], tmp_path: Path, width: int, dark: bool
) -> None:
    shown = show(etram[0] / "work_dirs" / "etram_report.html", tmp_path, width, dark)
    facts = shown.facts
    assert shown.console == []
    assert facts["window"] == width
    assert facts["page"] <= width  # only tables scroll sideways, within themselves
    assert facts["text"] >= 9.5  # pixels of the smallest text in a chart
    assert facts["pictures"] and min(facts["pictures"]) > 0
    assert facts["crops"] and min(facts["crops"]) > 0
    assert facts["charts"] and all(200 < chart <= width for chart in facts["charts"])
    assert is_dark(shown) == dark


def test_the_browser_would_tell(tmp_path: Path) -> None:
    wide = '<p style="width: 900px">x</p><image href="data:image/png;base64,AAAA"/>'
    source = f"<html><head></head><body><svg>{wide}</svg>{wide[:30]}</p>"
    source += "<script>console.error('broken')</script></body></html>"
    (tmp_path / "page.html").write_text(source)
    shown = show(tmp_path / "page.html", tmp_path, PHONE)
    assert any("broken" in line for line in shown.console)
    assert shown.facts["page"] > PHONE
    assert 0 in shown.facts["pictures"]


def is_dark(shown: Shown) -> bool:
    """Whether the page's ground is darker than middle grey."""
    channels = shown.facts["background"].removeprefix("rgb(").removesuffix(")").split(",")
    return sum(map(int, channels)) < 3 * 128
