"""Requests to stop that a program looks at when it is ready to."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from labbook.run.processes import signal_name


@dataclass
class Requests:
    """How often, and at first how, the program was asked to stop."""

    count: int = 0
    first: str = ""


@contextmanager
def stop_requests() -> Iterator[Requests]:
    """Count Ctrl-C and requests to end (SIGTERM, SIGHUP), except where they are ignored."""
    requests = Requests()

    def note(number: int, frame: FrameType | None) -> None:
        requests.count += 1
        requests.first = requests.first or signal_name(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if before[number] != signal.SIG_IGN:  # as under nohup
            signal.signal(number, note)
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
