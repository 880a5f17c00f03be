"""The one setting of the C library's memory."""

from __future__ import annotations

import platform

import pytest

from nativecode import keep_freed_memory
from nativecode.memory import USER_SETTINGS


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_freed_memory.cache_clear()
    for name in USER_SETTINGS:
        monkeypatch.delenv(name, raising=False)


def test_it_is_done_where_there_is_glibc() -> None:
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


@pytest.mark.parametrize("name", USER_SETTINGS)
def test_settings_of_the_user_are_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert not keep_freed_memory()
