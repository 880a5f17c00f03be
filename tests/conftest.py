"""Puts this folder on the import path, so that tests share the modules in it."""

from __future__ import annotations

import pytest

from clean_catalogs import forget_data


@pytest.fixture(autouse=True, scope="module")
def other_modules_forgotten() -> None:
    """A module never meets the data sets that another one registered in the same process."""
    forget_data()
