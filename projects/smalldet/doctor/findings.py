"""One line about one thing: its state, what was found, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

LONG_FIX = 100  # characters

Level = Literal["green", "yellow", "red", "info"]
MARKS: dict[Level, str] = {"green": "ok  ", "yellow": "warn", "red": "FAIL", "info": "info"}
STYLES: dict[Level, str] = {"green": "green", "yellow": "yellow", "red": "bold red", "info": "cyan"}


class Finding(NamedTuple):
    """The outcome of one check; for red, ``fix`` says what to do, or ``found`` ends with it."""

    level: Level
    found: str
    fix: str = ""


def examine(checks: Mapping[str, Callable[[], Finding]], fix: str = "") -> dict[str, Finding]:
    """Run ``checks``; one that raises becomes a red finding.

    Args:
        checks: by name.
        fix: of unexpected errors. Errors whose message is a sentence for users bring their own.
    """
    findings = {}
    for name, check in checks.items():
        try:
            findings[name] = check()
        except Exception as error:
            if isinstance(error, ValueError | OSError) and not fix:
                findings[name] = from_sentences(str(error))
            else:
                remedy = fix or "This is a defect of the project; please report it."
                findings[name] = Finding("red", f"broken ({first_line(error)})", remedy)
    return findings


def from_sentences(text: str) -> Finding:
    """A red finding of an error's message: what was found, then what to do, if not in one."""
    found, _, fix = text.partition(". ")
    return Finding("red", found.removesuffix("."), fix)


def as_lines(findings: Mapping[str, Finding]) -> list[tuple[Level, str]]:
    """One line a finding, with its level; the fix comes last, a command of many words once."""
    first: dict[str, str] = {}
    lines = []
    for name, (level, found, fix) in findings.items():
        before = first.setdefault(fix, name)
        again = len(fix) > LONG_FIX and before != name
        mend = f". Fix: {f'as for {before}' if again else fix}" if fix else ""
        lines.append((level, f"{MARKS[level]}  {name}: {found}{mend}"))
    return lines


def show(lines: Sequence[tuple[Level, str]]) -> None:
    """Print ``lines``, coloured where rich is installed and the output is a terminal."""
    try:
        from rich.console import Console
    except ImportError:
        print("\n".join(text for _, text in lines))
        return
    console = Console()
    for level, text in lines:
        console.print(text, style=STYLES[level], markup=False, highlight=False, soft_wrap=True)


def status(findings: Mapping[str, Finding]) -> int:
    """1 if any is red, else 0."""
    return int(any(finding.level == "red" for finding in findings.values()))


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type where there is none."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
