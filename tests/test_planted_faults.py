"""Each planted fault can be planted: its code is there once, and so are its tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from planted_faults import FAULTS, ROOT, Fault, pattern_of, read_faults

CODE = [path.read_text("utf-8") for path in sorted(ROOT.glob("projects/**/*.py"))]


@pytest.mark.parametrize("fault", read_faults(FAULTS).values(), ids=lambda fault: fault.name)
def test_the_code_and_the_tests_are_there(fault: Fault) -> None:
    pattern, word = pattern_of(fault.old), max(re.findall(r"\w+", fault.old), key=len)
    # A search takes 20 times as long as finding the files that have the longest word.
    assert sum(len(pattern.findall(text)) for text in CODE if word in text) == 1
    assert all(any(Path(ROOT, "tests").glob(glob)) for glob in fault.tests.split())
