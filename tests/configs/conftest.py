"""Each test here reads a config of its own, several of them under one data set's name."""

from __future__ import annotations

import pytest

from clean_catalogs import forget_data


@pytest.fixture(autouse=True)
def other_tests_forgotten() -> None:
    forget_data()
