"""What the runs support, what they leave open, and what may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from labbook.report.elements import Cell, Section, bullets, join, paragraph, table, tag
from labbook.report.evidence import Evidence, differences, reference
from labbook.report.svg import Axis, number, padded
from labbook.results.cells import difference_text, reasons
from labbook.results.comparison import Row
from labbook.results.differences import Difference, Entry
from labbook.results.intervals import LEVEL

PERCENT = f"{100 * LEVEL:g}\xa0%"
BETTER, WORSE, OPEN, UNKNOWN = "better", "worse", "open", "unknown"
WORDS = {
    BETTER: "▲ better",
    WORSE: "▼ worse",
    OPEN: "not told apart",
    UNKNOWN: "no statement",
}
_GROUPS = {
    BETTER: "Supported, better (the interval lies above 0)",
    WORSE: "Supported, worse (the interval lies below 0)",
    OPEN: "Not told apart from what they change (the interval holds 0)",
    UNKNOWN: "No statement",
}


class Claim(NamedTuple):
    """An experiment against another, judged by the interval of their difference."""

    entry: Entry
    against: Row
    found: Difference
    verdict: str
    reason: str = ""
    """Why there is no verdict."""


def claims(evidence: Evidence) -> list[Claim]:
    """Each experiment against the one that it changes."""
    key = (evidence.split, evidence.metric)
    return [
        _claim(entry, against, differences(entry).get(key, Difference()))
        for entry in evidence.entries
        if (against := reference(entry)) is not None
    ]


def claims_on_baseline(evidence: Evidence) -> list[Claim]:
    """Those that change another experiment than the baseline, against the baseline."""
    key = (evidence.split, evidence.metric)
    return [
        _claim(entry, entry.baseline, entry.to_baseline.get(key, Difference()))
        for entry in evidence.entries
        if entry.parent is not None and entry.baseline is not None
    ]


def section(evidence: Evidence) -> Section:
    """The first thing to read."""
    found = claims(evidence)
    lead = (
        f"Judged by {evidence.title(evidence.metric)} on {evidence.split}, each experiment against "
        f"the one that it changes. A change counts as supported where the {PERCENT} bootstrap "
        "interval of the difference leaves out 0."
    )
    parts = [paragraph(progress(evidence))]
    if not any(claim.found.estimate is not None for claim in found):
        parts.append(paragraph(_nothing_yet(evidence), "notice"))
    parts += [_verdicts(evidence, found), _forest(evidence, found, "Differences")]
    further = claims_on_baseline(evidence)
    if further:
        parts.append(_forest(evidence, further, "Differences to the baseline"))
    parts.append(bullets(cautions(evidence, found)))
    return Section("summary", "What the runs support", lead, join(parts))


def progress(evidence: Evidence) -> str:
    """How many experiments and runs came to their end."""
    rows = evidence.rows
    runs = [run for row in rows for run in row.runs]
    ended = sum(bool(row.finished) for row in rows)
    seeds = sorted({len(row.finished) for row in rows if row.finished})
    text = f"{ended} of {len(rows)} experiments have a finished run"
    if len(runs) > ended:
        text += f"; {sum(run.is_finished for run in runs)} of {len(runs)} runs finished"
    if seeds:
        span = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        text += f"; {span} seed{'' if seeds == [1] else 's'} each"
    return text + "."


def cautions(evidence: Evidence, found: Sequence[Claim]) -> list[str]:
    """What a reader could take for more than it is."""
    judged = [claim for claim in found if claim.verdict in (BETTER, WORSE, OPEN)]
    notes = []
    if judged:
        marked = sum(claim.verdict != OPEN for claim in judged)
        expected = (1 - LEVEL) * len(judged)
        notes.append(
            f"Many comparisons find something by chance: if no change had any effect, about "
            f"{expected:.1f} of these {len(judged)} intervals would leave out 0 all the same; "
            f"{marked} do."
        )
    if any(len(row.finished) == 1 for row in evidence.rows):
        notes.append(
            "The interval covers the choice of the test images, not the luck of training. One seed "
            f"says nothing about that: repeat with lab.py run {evidence.study.family} --seeds 3."
        )
    doubtful = [claim for claim in judged if claim.verdict != OPEN and _scatters(claim)]
    if doubtful:
        names = ", ".join(evidence.label(claim.entry.row) for claim in doubtful)
        notes.append(
            f"The interval leaves out 0, but over seeds the difference scatters so widely that its "
            f"mean is within two standard errors of 0: {names}. More seeds would tell."
        )
    if any(len(claim.entry.row.experiment.get("factors") or []) > 1 for claim in found):
        notes.append("A bundle moves several factors at once; it cannot say which of them did it.")
    return notes


def _scatters(claim: Claim) -> bool:
    """Whether seeds alone could make up the difference."""
    estimate, spread = claim.found.estimate, claim.found.spread
    seeds = min(len(claim.entry.row.finished), len(claim.against.finished))
    return estimate is not None and spread is not None and abs(estimate) < 2 * spread / seeds**0.5


def _claim(entry: Entry, against: Row, found: Difference) -> Claim:
    if found.estimate is None:
        return Claim(entry, against, found, UNKNOWN, _lacking(entry.row, against))
    if found.bounds is None:
        return Claim(entry, against, found, UNKNOWN, f"no interval: {found.reason}")
    if not found.is_marked:
        return Claim(entry, against, found, OPEN)
    return Claim(entry, against, found, BETTER if found.bounds.low > 0 else WORSE)


def _lacking(row: Row, against: Row) -> str:
    """Why there is no difference."""
    if not row.finished:
        why = reasons(row)
        return "no finished run" + (f" ({why[0].splitlines()[0]})" if why else "")
    if not against.finished:
        return f"{against.name} has no finished run"
    return "the score is not defined"


def _nothing_yet(evidence: Evidence) -> str:
    if any(row.finished for row in evidence.rows):
        return "There is nothing to compare yet: a comparison needs two finished experiments."
    command = f"tools/lab.py run {evidence.study.family}"
    if evidence.study.name != evidence.study.family:
        command += " --debug"
    return f"No run of this study has finished, so there are no numbers. Start them: {command}"


def _verdicts(evidence: Evidence, found: Sequence[Claim]) -> Markup:
    """A block for each verdict that occurs, with its experiments."""
    blocks = []
    for verdict, title in _GROUPS.items():
        those = [claim for claim in found if claim.verdict == verdict]
        if those:
            names = bullets(_sentence(evidence, claim) for claim in those)
            blocks.append(tag("div", tag("h3", title) + names, class_=f"verdict {verdict}"))
    return tag("div", join(blocks), class_="verdicts") if blocks else Markup("")


def _sentence(evidence: Evidence, claim: Claim) -> Markup:
    name = tag("strong", evidence.label(claim.entry.row))
    if claim.verdict == UNKNOWN:
        return name + f": {claim.reason}"
    return (
        name
        + f": {difference_text(claim.found).rstrip('*')} against "
        + evidence.label(claim.against)
    )


def _forest(evidence: Evidence, found: Sequence[Claim], title: str) -> Markup:
    """A table with a row for each claim and its interval drawn on a common axis."""
    known = [claim for claim in found if claim.found.estimate is not None]
    if not known:
        return Markup("")
    values = [0.0]
    for claim in known:
        values += [claim.found.estimate or 0.0, *(claim.found.bounds or ())]
    axis = Axis(*padded(values), 0, 100)
    points = f"{evidence.title(evidence.metric)} on {evidence.split}, points of AP"
    return table(
        f"{title}: {points}, with their {PERCENT} bootstrap intervals",
        ["Change", _scale(axis), "Difference"],
        [_forest_row(evidence, claim, axis) for claim in known],
        kind="forest",
    )


def _forest_row(evidence: Evidence, claim: Claim, axis: Axis) -> list[object]:
    row = claim.entry.row
    seeds = f", {len(row.finished)} seeds" if len(row.finished) > 1 else ""
    bundle = ", bundle" if len(row.experiment.get("factors") or []) > 1 else ""
    against = tag("small", f"against {evidence.label(claim.against)}{bundle}{seeds}")
    text = difference_text(claim.found).rstrip("*")
    return [
        Cell(tag("span", evidence.label(row)) + against, hint=row.title),
        Cell(_interval(claim, axis, text), "plot"),
        Cell(_difference(text, claim.verdict), "wrap", hint=claim.reason),
    ]


def _difference(text: str, verdict: str) -> Markup:
    """Estimate, interval and verdict; the interval may take a line of its own."""
    estimate, bracket, bounds = text.partition("[")
    word = tag("small", WORDS[verdict], class_=verdict)
    return tag("span", estimate) + " " + tag("span", bracket + bounds) + word


def _interval(claim: Claim, axis: Axis, text: str) -> Markup:
    """The interval at a height of its own; lengths are shares of the cell's width."""
    estimate, bounds = claim.found.estimate or 0.0, claim.found.bounds
    marks = [tag("line", class_="zero", x1=_at(axis, 0), x2=_at(axis, 0), y1=0, y2=26)]
    if bounds is not None:
        ends = {"x1": _at(axis, bounds.low), "x2": _at(axis, bounds.high)}
        marks.append(tag("line", class_=f"bar {claim.verdict}", **ends, y1=13, y2=13))
    marks.append(tag("circle", class_=f"dot {claim.verdict}", cx=_at(axis, estimate), cy=13, r=5))
    return tag("svg", join(marks), class_="interval", role="img", aria_label=text)


def _scale(axis: Axis) -> Markup:
    texts = [
        tag("text", number(value), class_="tick", x=_at(axis, value), y=14, text_anchor="middle")
        for value in axis.ticks(4)
    ]
    return tag("svg", join(texts), class_="interval", role="img", aria_label="axis of the interval")


def _at(axis: Axis, value: float) -> str:
    return f"{axis(value):.1f}%"
