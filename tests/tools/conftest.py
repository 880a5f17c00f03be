"""Modules beside the commands in tools/, which only those commands import otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(scope="module")
def tool_module() -> Iterator[Callable[[str], ModuleType]]:
    """Imports such a module by name; forgotten afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOOLS)
        yield import_module
    for name in [name for name in sys.modules if name.split(".")[0] in ("growth", "bench_parts")]:
        del sys.modules[name]
