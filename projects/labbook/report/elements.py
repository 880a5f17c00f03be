"""The HTML that a report is made of. All text is escaped; what is :class:`Markup` is HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup, escape


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    anchor: str
    title: str
    lead: str
    """What the reader sees, and how to read it."""
    content: Markup


class Cell(NamedTuple):
    """A cell of a table with a style of its own."""

    content: object
    kind: str = ""
    """Classes in the style sheet."""
    shade: float | None = None
    """0..1: how strongly the cell is coloured."""
    hint: str = ""
    """Shown on hover."""


def tag(name: str, content: object = "", **attributes: object) -> Markup:
    """An element; ``class_`` and ``stroke_width`` become HTML's names; None is left out."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{words}>{escape(content)}</{name}>")


def join(parts: Iterable[Markup]) -> Markup:
    """The elements one after the other."""
    return Markup("").join(parts)


def paragraph(text: object, kind: str | None = None) -> Markup:
    """A paragraph."""
    return tag("p", text, class_=kind)


def bullets(items: Iterable[object]) -> Markup:
    """A list; nothing without items."""
    content = join(tag("li", item) for item in items)
    return tag("ul", content) if content else Markup("")


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    texts: Sequence[str] = (),
    kind: str = "",
) -> Markup:
    """A table that scrolls sideways where it is wider than the page.

    Args:
        caption: what it shows.
        columns: titles.
        rows: cells; the first names its row.
        texts: titles of further columns that hold text, not numbers.
        kind: more classes.
    """
    is_text = [index == 0 or title in texts for index, title in enumerate(columns)]
    head = join(
        tag("th", title, scope="col", class_="text" if text else None)
        for title, text in zip(columns, is_text, strict=True)
    )
    body = join(
        tag("tr", join(_cell(cell, i == 0, is_text[i]) for i, cell in enumerate(row)))
        for row in rows
    )
    content = (
        tag("caption", tag("span", caption)) + tag("thead", tag("tr", head)) + tag("tbody", body)
    )
    return tag(
        "div",
        tag("table", content, class_=kind or None),
        class_="scroll",
        role="region",
        aria_label=caption,
        tabindex=0,
    )


def details(summary: object, content: Markup) -> Markup:
    """Something that opens on a click."""
    return tag("details", tag("summary", summary) + content)


def panels(charts: Iterable[Markup]) -> Markup:
    """Charts side by side, as many as the page is wide."""
    content = join(charts)
    return tag("div", content, class_="panels") if content else Markup("")


def _cell(cell: object, is_first: bool, is_text: bool) -> Markup:
    found = cell if isinstance(cell, Cell) else Cell(cell)
    kinds = " ".join(filter(None, ["text" if is_text else "", found.kind]))
    shade = None if found.shade is None else f"--shade: {found.shade:.2f}"
    attributes = {"class_": kinds or None, "style": shade, "title": found.hint or None}
    if is_first:
        return tag("th", found.content, scope="row", **attributes)
    return tag("td", found.content, **attributes)


def _short(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
