"""Compiling on first use: cached, safe among processes, and absent without harm."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nativecode import CheckedKernel, checked, compiler, library

SOURCE = 'extern "C" int answer(int x) { return x + FACTOR; }\n'
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, compiler.COMPILERS)), reason="no C++ compiler here"
)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A C++ file, with a cache folder of its own and no memory of earlier calls."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv(checked.SWITCH, raising=False)
    path = tmp_path / "plus.cpp"
    path.write_text(SOURCE.replace("FACTOR", "41"))
    return path


def why_absent(source: Path) -> str | None:
    return CheckedKernel("sum", lambda: True, source).why_absent


def cached() -> list[Path]:
    return sorted(library.cache_folder().glob("*.so"))


@needs_compiler
def test_a_source_becomes_a_function(source: Path) -> None:
    kernel = CheckedKernel("sum", lambda: kernel.library.answer(1) == 42, source)
    assert kernel.available() and kernel.why_absent is None
    assert isinstance(kernel.library, ctypes.CDLL)


@needs_compiler
def test_the_second_process_compiles_nothing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library.build(source)
    monkeypatch.setattr(library, "compile_shared", lambda *_: pytest.fail("compiled again"))
    assert library.build(source).answer(0) == 41


@needs_compiler
def test_a_changed_source_is_another_library(source: Path) -> None:
    library.build(source)
    source.write_text(SOURCE.replace("FACTOR", "1"))
    assert library.build(source).answer(1) == 2
    assert len(cached()) == 2


@needs_compiler
def test_a_changed_header_is_another_library(source: Path) -> None:
    header = source.with_name("factor.h")
    for value in (1, 2):
        header.write_text(f"#define FACTOR {value}\n")
        source.write_text('#include "factor.h"\n' + SOURCE)
        assert library.build(source).answer(0) == value


@needs_compiler
def test_a_damaged_file_in_the_cache_is_built_again(source: Path) -> None:
    library.build(source)
    (path,) = cached()
    path.unlink()  # not truncated in place: this process has it mapped
    path.write_bytes(b"not a library")
    assert library.build(source).answer(0) == 41


@needs_compiler
def test_processes_that_start_together_share_one_build(source: Path) -> None:
    log = source.with_name("compilations")
    wrapper = source.with_name("counting-compiler")
    real = compiler.find_compiler()[0]
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in *-shared*) echo x >> "{log}"; sleep 0.3;; esac\n'
        f'exec "{real}" "$@"\n'
    )
    wrapper.chmod(0o755)
    code = (
        "import sys; from pathlib import Path; from nativecode.library import build;"
        "print(build(Path(sys.argv[1])).answer(1))"
    )
    root = Path(library.__file__).parents[1]
    environment = {**os.environ, "CXX": str(wrapper), "PYTHONPATH": str(root)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(source)], stdout=subprocess.PIPE, env=environment
        )
        for _ in range(3)
    ]
    assert [process.communicate()[0].strip() for process in processes] == [b"42"] * 3
    assert log.read_text() == "x\n"


def test_the_switch_gives_no_library(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(checked.SWITCH, "0")
    assert "SMALLDET_NATIVE=0" in str(why_absent(source))
    assert not library.cache_folder().exists()


def test_a_missing_compiler_is_said_once(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    kernel = CheckedKernel("sum", lambda: True, source)
    with caplog.at_level(logging.WARNING, logger=checked.logger.name):
        assert not kernel.available()
        assert not kernel.available()
    assert len(caplog.records) == 1
    assert "no-such-compiler" in caplog.text and "sum" in caplog.text


def test_no_compiler_at_all_is_a_sentence(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "install g++" in str(why_absent(source))


@needs_compiler
def test_an_error_in_the_source_is_named(source: Path) -> None:
    source.write_text("this is not C++\n")
    assert "could not compile plus.cpp" in str(why_absent(source))
    assert not list(library.cache_folder().glob("*.so"))
    assert not [path for path in library.cache_folder().iterdir() if path.is_dir()]


@needs_compiler
def test_a_folder_that_cannot_be_written_is_a_sentence(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = source.with_name("file")
    blocked.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert "XDG_CACHE_HOME" in str(why_absent(source))


def test_a_compiler_that_hangs_is_given_up(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = source.with_name("hanging")
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("CXX", str(hanging))
    monkeypatch.setattr(compiler, "TIME_LIMIT", 0.2)
    assert "did not end" in str(why_absent(source))


@needs_compiler
def test_a_compiler_without_openmp_will_do(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = source.with_name("refusing")
    real = compiler.find_compiler()[0]
    refusing.write_text(f'#!/bin/sh\ncase "$*" in *-fopenmp*) exit 1;; esac\nexec "{real}" "$@"\n')
    refusing.chmod(0o755)
    monkeypatch.setenv("CXX", str(refusing))
    assert library.build(source).answer(0) == 41
