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
def source(tmp_path, monkeypatch) -> Path:
    """A C++ file, with a cache folder of its own and no memory of earlier calls."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv(checked.SWITCH, raising=False)
    path = tmp_path / "plus.cpp"
    path.write_text(SOURCE.replace("FACTOR", "41"))
    return path


def why_absent(source: Path) -> str:
    return str(CheckedKernel("sum", lambda: True, source).why_absent)


def compiler_script(source: Path, *lines: str) -> Path:
    """A compiler that runs ``lines`` of shell."""
    path = source.with_name("wrapper")
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return path


def real_compiler() -> str:
    return f'exec "{compiler.find_compiler()[0]}" "$@"'


@needs_compiler
def test_a_source_becomes_a_function_and_is_compiled_once(source, monkeypatch):
    kernel = CheckedKernel("sum", lambda: kernel.library.answer(1) == 42, source)
    assert kernel.available() and kernel.why_absent is None
    assert isinstance(kernel.library, ctypes.CDLL)
    monkeypatch.setattr(library, "compile_shared", lambda *_: pytest.fail("compiled again"))
    assert library.build(source).answer(0) == 41


@needs_compiler
def test_a_changed_source_or_header_is_another_library(source):
    library.build(source)
    header = source.with_name("factor.h")
    source.write_text('#include "factor.h"\n' + SOURCE)
    for value in (1, 2):
        header.write_text(f"#define FACTOR {value}\n")
        assert library.build(source).answer(0) == value
    assert len(list(library.cache_folder().glob("*.so"))) == 3


@needs_compiler
def test_a_damaged_file_in_the_cache_is_built_again(source):
    library.build(source)
    (path,) = library.cache_folder().glob("*.so")
    path.unlink()  # not truncated in place: this process has it mapped
    path.write_bytes(b"not a library")
    assert library.build(source).answer(0) == 41


@needs_compiler
def test_processes_that_start_together_share_one_build(source):
    log = source.with_name("compilations")
    count = f'case "$*" in *-shared*) echo x >> "{log}"; sleep 0.3;; esac'
    wrapper = compiler_script(source, count, real_compiler())
    code = (
        "import sys; from pathlib import Path; from nativecode.library import build;"
        "print(build(Path(sys.argv[1])).answer(1))"
    )
    root = Path(library.__file__).parents[1]
    environment = {**os.environ, "CXX": str(wrapper), "PYTHONPATH": str(root)}
    words = [sys.executable, "-c", code, str(source)]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in processes] == [b"42"] * 3
    assert log.read_text() == "x\n"


def test_a_missing_compiler_is_said_once(source, monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    kernel = CheckedKernel("sum", lambda: True, source)
    with caplog.at_level(logging.WARNING, logger=checked.logger.name):
        assert not kernel.available() and not kernel.available()
    assert len(caplog.records) == 1
    assert "no-such-compiler" in caplog.text and "sum" in caplog.text


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        (checked.SWITCH, "0", "SMALLDET_NATIVE=0"),
        ("PATH", "", "install g++"),
        pytest.param("XDG_CACHE_HOME", __file__, "XDG_CACHE_HOME", marks=needs_compiler),
    ],
)
def test_the_environment_may_forbid_it(source, monkeypatch, variable, value, reason):
    monkeypatch.setenv(variable, value)
    assert reason in why_absent(source)
    assert not library.cache_folder().exists()


@needs_compiler
def test_an_error_in_the_source_is_named(source):
    source.write_text("this is not C++\n")
    assert "could not compile plus.cpp" in why_absent(source)
    left = list(library.cache_folder().iterdir())
    assert not [path for path in left if path.suffix == ".so" or path.is_dir()]


def test_a_compiler_that_hangs_is_given_up(source, monkeypatch):
    monkeypatch.setenv("CXX", str(compiler_script(source, "exec sleep 60")))
    monkeypatch.setattr(compiler, "TIME_LIMIT", 0.2)
    assert "did not end" in why_absent(source)


@needs_compiler
def test_a_compiler_without_openmp_will_do(source, monkeypatch):
    refuse = 'case "$*" in *-fopenmp*) exit 1;; esac'
    monkeypatch.setenv("CXX", str(compiler_script(source, refuse, real_compiler())))
    assert library.build(source).answer(0) == 41
