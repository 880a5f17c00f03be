"""A study in a temporary project folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from comparison_toys import with_few_draws
from labbook_toys import CONFIG, declare_studies

from runfolder.trust import trust

trust("labbook_toys")  # which the run folders of these tests name


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Writes ``configs/ofat/<name>.py`` with lines added at its end; returns its path."""

    def write(name: str = "baseline", *lines: str) -> Path:
        path = tmp_path / "configs" / "ofat" / f"{name}.py"
        declare_studies(tmp_path, "ofat")
        text = CONFIG.replace("NAME", name.removeprefix("ofat_"))
        path.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="module")
def few_draws() -> Iterator[None]:
    """For the tests of a module."""
    with with_few_draws():
        yield
