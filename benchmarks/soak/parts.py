"""The parts of the soak by name, and what each has found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

KILLS = ("kill_ofat", "kill_streaming", "kill_mixed")
STEPS = ("steps_ofat", "steps_etram")
READERS = (
    *("runs", "coco", "images", "h5", "dat", "raw", "bbox", "prepared"),
    *("checkpoints", "overrides"),
)
NAMES = (*(f"read_{name}" for name in READERS), *KILLS, *STEPS)
"""The longest first."""


@dataclass
class Found:
    """What a part tried, and what was wrong."""

    part: str
    what: str
    """``kills``, ``inputs`` or ``steps``."""
    count: int = 0
    seed: int = 0
    """The first; an input has that of the one before plus 1."""
    refused: int = 0
    """Inputs that ended in a sentence; the others were read."""
    uncaught: list[str] = field(default_factory=list)
    """Exceptions, deaths and hangs, each with its seed; of steps what grew."""
    silent: list[str] = field(default_factory=list)
    """Numbers that differ without a word."""
    seconds: float = 0.0
    note: str = ""

    @property
    def is_sound(self) -> bool:
        return not (self.uncaught or self.silent)

    def line(self) -> str:
        """For the terminal."""
        text = f"{self.part:18} {self.count:6,} {self.what:6} from seed {self.seed}"
        text += f", {len(self.uncaught)} uncaught, {len(self.silent)} silent"
        return f"{text}, {self.seconds:.0f} s; {self.note}"


class Amounts(NamedTuple):
    """How much of everything."""

    kills: int
    """Over all kinds of run."""
    inputs: int
    """Of each reader."""
    steps: int
    """Over both lines."""


USUAL, FULL = Amounts(100, 2_000, 1_000), Amounts(200, 10_000, 3_000)


def carry_out(name: str, amounts: Amounts, seed: int) -> Found:
    """Try a part."""
    from benchmarks.soak import inputs, kills, steps  # they report in the words of this module

    if name in KILLS:
        return kills.survive(name, -(-amounts.kills // len(KILLS)), seed)
    if name in STEPS:
        return steps.watch(name, -(-amounts.steps // len(STEPS)))
    return inputs.try_reader(name.removeprefix("read_"), amounts.inputs, seed)
