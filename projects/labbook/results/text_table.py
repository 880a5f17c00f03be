"""A table of text for people: on terminals of any width, as Markdown and as LaTeX."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pandas import DataFrame
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from labbook.config.studies import Study
from runfolder.files import write_text

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_PADDING, _EDGES = 3, 1  # characters of the border style
_LATEX = {"±": r"$\pm$", "Δ": r"$\Delta$", "²": r"\textsuperscript{2}", "<": "$<$", ">": "$>$"}


@dataclass(frozen=True)
class TextTable:
    """Cells, which are all text, and how they are laid out."""

    title: str
    cells: DataFrame
    left: Sequence[str] = ("Experiment",)
    """Columns of words, which start on the left, unlike numbers."""
    dispensable: Sequence[str] = ()
    """Columns that a narrow terminal does without, the first of them soonest."""
    folds: Mapping[str, int] = field(default_factory=dict)
    """Characters a line that the long texts of a column may be folded to."""

    def print(self, console: Console) -> list[str]:
        """Show the columns that the terminal has room for; return the titles of the others."""
        hidden = self.hidden(console.width)
        shown = self.without(hidden)
        excess = shown.width() - console.width
        is_tight = excess > 0
        if is_tight:
            shown = shown._narrowed(excess)
        table = Table(title=self.title, box=SIMPLE_HEAD, title_justify="left")
        for name in shown.cells:
            is_left = name in self.left
            no_wrap = not (name in self.folds or (is_tight and is_left))
            justify = "left" if is_left else "right"
            table.add_column(name, justify=justify, overflow="fold", no_wrap=no_wrap)
        for row in shown.cells.itertuples(index=False):
            table.add_row(*row)
        console.print(table, markup=False)
        return hidden

    def hidden(self, width: int) -> list[str]:
        """Titles of the columns that a terminal has no room for, in the order of the table."""
        gone: list[str] = []
        for name in self.dispensable:
            if self.without(gone).width() > width:
                gone.append(name)
        return [name for name in self.cells if name in gone]

    def width(self) -> int:
        """Characters that the table takes on a terminal."""
        widest = {name: max(map(len, [name, *self.cells[name]])) for name in self.cells}
        return _EDGES + sum(
            _PADDING + min(length, self.folds.get(name, length)) for name, length in widest.items()
        )

    def _narrowed(self, excess: int) -> TextTable:
        """With names on several lines, so that they are narrower by ``excess`` characters."""
        cells = self.cells.copy()
        for name in [name for name in cells if name in self.left and name not in self.folds]:
            width = max(map(len, cells[name]), default=0) - excess
            cells[name] = [in_lines(text, width) for text in cells[name]]
        return replace(self, cells=cells)

    def said(self, hidden: Sequence[str]) -> str:
        """Where the columns are that did not fit."""
        if not hidden:
            return ""
        wide = f"A terminal of {self.width()} columns shows the others, as do the files"
        return f"{wide}: {', '.join(hidden)}."

    def without(self, columns: Sequence[str]) -> TextTable:
        """The table without these columns, as far as it has them."""
        return replace(self, cells=self.cells.drop(columns=list(columns), errors="ignore"))

    def to_markdown(self) -> str:
        """A Markdown table with all columns; what its cells hold is text."""
        escaped = self.cells.map(lambda cell: markdown(" ".join(cell.split())))
        escaped = escaped.rename(columns=markdown)
        align = ["left" if name in self.left else "right" for name in self.cells]
        return escaped.to_markdown(index=False, disable_numparse=True, colalign=align)

    def to_latex(self) -> str:
        """A ``tabular`` with the rules of booktabs."""
        style = self.cells.style.hide(axis="index").format(escape="latex")
        style = style.format_index(escape="latex", axis="columns")
        align = "".join("l" if name in self.left else "r" for name in self.cells)
        text = style.to_latex(hrules=True, column_format=align)
        return re.sub("[±Δ²<>]", lambda found: _LATEX[found[0]], text)


def markdown(text: str) -> str:
    """Text as Markdown shows it as it is, in a table, too: no HTML, link or code of its own."""
    return re.sub(r"[\\|*`]|\](?=\()", r"\\\g<0>", html.escape(text, quote=False))


def to_csv(frame: DataFrame) -> str:
    """A frame as CSV in which no text is a formula: an apostrophe stands before such a one."""
    cells = {_no_formula(name): [*map(_no_formula, frame[name])] for name in frame}
    return DataFrame(cells, dtype=object).to_csv(index=False)


def _no_formula(cell: Any) -> Any:
    is_formula = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if is_formula and not _NUMBER.fullmatch(cell) else cell


def in_lines(name: str, width: int) -> str:
    """A name on lines of at most ``width`` characters, as far as it has underscores to end them."""
    lines = [""]
    for part in re.findall("[^_]*_|[^_]+", name):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def print_texts(console: Console, *texts: str) -> None:
    """Show texts as they are."""
    for text in texts:
        console.print(text, markup=False, highlight=False)


def write_texts(study: Study, root: Path, what: str, texts: Mapping[str, str]) -> list[Path]:
    """Write ``<study>_<what>.<kind>`` into the study's work folder, for each text by kind."""
    paths = [root / study.work_folder / f"{study.family}_{what}.{kind}" for kind in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths
