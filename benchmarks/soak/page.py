"""The page on what the soak found, written whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.soak.parts import NAMES, Found
from runfolder.files import write_text

PAGE = "soak.md"
TEXT = """# The soak

What a long life does to the project: training runs are killed at random moments and resumed,
damaged files are read, and small steps are done by the thousand. `make soak` is sized for 25
minutes on 2 cores, `make soak PARTS="kill_mixed read_coco"` runs some parts, `make soak FULL=1`
takes hours. It writes this page from `work_dirs/soak.json`, which keeps the last result of each
part.

{totals}

| part | tried | from seed | refused | uncaught | silent differences | minutes | note |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |
{rows}

- **kill_…**: a toy run with a micro-batch of half the batch, a data-loading process and a
  checkpoint at each step is killed with that process (`kill -9`), a fifth of the times while it
  starts, else within a second after a new checkpoint, and resumed, many times. In the end weights,
  scores and the lines of the metrics must be those of a run that was left alone, digit for digit;
  what differs is a silent difference.
- **read_…**: one file of a sound input is damaged: a value replaced, removed, renamed or wrapped,
  another type or shape of an array, bits flipped, bytes cut, doubled or made up, or no file at all.
  A child process reads it within a minute and 1.5 GiB; it may be read, or refused in a sentence.
  Whatever else ends it is uncaught. What carries a checksum and is read must be what was written.
  `python -m benchmarks.soak.reading READER SEED 1` repeats an input, READER without `read_`.
- **steps_…**: a run in which memory and open files, of the second quarter and of the last, are the
  same, memory to within 48 MiB.
{findings}"""


def write_page(folder: Path, known: Mapping[str, Found]) -> None:
    """Write ``soak.md``."""
    found = [known[name] for name in NAMES if name in known]
    write_text(folder / PAGE, page(found))


def page(found: Iterable[Found]) -> str:
    """The text."""
    found = list(found)
    wrong = [f"- `{one.part}`, {text}" for one in found for text in (*one.uncaught, *one.silent)]
    findings = "\n".join(["", "## Findings", "", *wrong, ""]) if wrong else ""
    rows = "\n".join(map(_row, found))
    return TEXT.format(totals=totals(found), rows=rows, findings=findings)


def totals(found: Iterable[Found]) -> str:
    """What was tried and what was wrong, in a sentence."""
    found = list(found)
    kills, inputs, steps = (
        sum(one.count for one in found if one.what == what) for what in ("kills", "inputs", "steps")
    )
    uncaught, silent = (sum(len(getattr(o, n)) for o in found) for n in ("uncaught", "silent"))
    return (
        f"{kills:,} kills survived, {inputs:,} inputs tried, {steps:,} steps watched: {uncaught} "
        f"uncaught exceptions, {silent} silent differences."
    )


def _row(one: Found) -> str:
    refused = f"{one.refused:,}" if one.what == "inputs" else "-"
    note = "" if one.what == "inputs" else one.note
    cells = [f"`{one.part}`", f"{one.count:,} {one.what}", f"{one.seed}", refused]
    cells += [f"{len(one.uncaught)}", f"{len(one.silent)}", f"{one.seconds / 60:.1f}", note]
    return f"| {' | '.join(cells)} |"
