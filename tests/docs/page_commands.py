"""The commands that README and the pages tell to type, taken apart.

A command stands in a block of ``sh``, or in back ticks with at least one argument. Words in
capitals are the reader's: ``STUDY``, ``RUN``, ``configs/ofat/NAME.py``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *(ROOT / name / "README.md" for name in ("ckpts", "datasets", "work_dirs")),
]
BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```", re.M | re.S)
FENCED = re.compile(r"^ *```.*?^ *```", re.M | re.S)
PROGRAMS = (
    r"(tools|datasets|tests|docs)/\w+\.py|lab\.py|\./\w+\.sh|make|smalldet|python3?|pip|pytest"
)
INLINE = re.compile(rf"`((?:{PROGRAMS}|torchrun|tensorboard) [^`]+)`")
READERS = re.compile(r"\b(NAME|STUDY|CONFIG|RUN|X)\b")
STANDS_FOR = {
    "configs/ofat/NAME.py": "configs/ofat/baseline_lr0.001_bs8_adamw_ep100.py",
    "configs/etram/NAME.py": "configs/etram/baseline_3scale_100k.py",
    "CONFIG": "configs/ofat/baseline_lr0.001_bs8_adamw_ep100.py",
    "X": "configs/ofat/baseline_lr0.001_bs8_adamw_ep100.py",
    "STUDY": "ofat",
}


class Command(NamedTuple):
    """One command of a page, with examples in the place of words that stand for them."""

    page: str
    line: int
    words: list[str]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {shlex.join(self.words)}"


def commands() -> list[Command]:
    """Those of all pages, in their order."""
    return [command for page in PAGES for command in commands_of(page)]


def commands_of(page: Path) -> Iterator[Command]:
    """Those of one page: its blocks, then its text."""
    text, name = page.read_text(encoding="utf-8"), page.relative_to(ROOT).as_posix()
    for block in BLOCK.finditer(text):
        number = text[: block.start(2)].count("\n") + 1
        for line in block[2].replace("\\\n", "\0").split("\n"):
            yield from (Command(name, number, words) for words in taken_apart(line))
            number += 1 + line.count("\0")
    plain = FENCED.sub(lambda block: "\n" * block[0].count("\n"), text)
    for found in INLINE.finditer(plain):
        number = plain[: found.start()].count("\n") + 1
        yield from (Command(name, number, words) for words in taken_apart(found[1]))


def taken_apart(line: str) -> Iterator[list[str]]:
    """The words of each command of a line; without comments, ``nohup``, ``&`` and variables set."""
    parser = shlex.shlex(line.replace("\0", " "), posix=True, punctuation_chars="&;|")
    parser.whitespace_split = True
    words: list[str] = []
    for token in [*parser, ";"]:
        if set(token) <= set("&;|"):
            while words and (words[0] == "nohup" or re.match(r"[A-Z_]+=", words[0])):
                words.pop(0)
            if words:
                yield words
            words = []
        elif token != "...":
            words.append(STANDS_FOR.get(token, token))
