"""Each planted fault can be planted: its code is there once, and so are its tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from planted_faults import FAULTS, ROOT, Fault, pattern_of, read_faults

CODE = "\n".join(path.read_text("utf-8") for path in sorted(ROOT.glob("projects/**/*.py")))


@pytest.mark.parametrize("fault", read_faults(FAULTS).values(), ids=lambda fault: fault.name)
def test_the_code_and_the_tests_are_there(fault: Fault) -> None:
    assert len(pattern_of(fault.old).findall(CODE)) == 1
    assert all(any(Path(ROOT, "tests").glob(glob)) for glob in fault.tests.split())
