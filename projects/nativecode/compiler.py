"""The C++ compiler of this machine: which one, with which flags, and one call of it."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

COMPILERS = ("g++", "c++", "clang++")  # g++ first: its OpenMP threads are the ones torch uses
# Not -ffast-math: it would lose NaN and infinity, and let a result depend on the compiler.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math")
SHARED = ("-shared", "-fPIC")
OPENMP = "-fopenmp"
TIME_LIMIT = 120.0  # seconds


class NativeCodeError(RuntimeError):
    """Why there is no compiled library, as a sentence."""


def find_compiler() -> list[str]:
    """The compiler command: the variable ``CXX`` (arguments allowed), else the first installed.

    Raises:
        NativeCodeError: if there is none.
    """
    chosen = shlex.split(os.environ.get("CXX", ""))
    for command in [chosen] if chosen else [[name] for name in COMPILERS]:
        path = shutil.which(command[0])
        if path:
            return [path, *command[1:]]
    if chosen:
        raise NativeCodeError(f"CXX names {chosen[0]!r}, which is not installed; correct CXX.")
    raise NativeCodeError(f"No C++ compiler was found ({', '.join(COMPILERS)}); install g++.")


def describe_target(compiler: list[str]) -> str:
    """What a compiled file depends on besides its source: compiler, flags, processor, libc."""
    version = _run([*compiler, "--version"]).stdout
    parts = [*compiler, version, *FLAGS, platform.machine(), _cpu_flags(), *platform.libc_ver()]
    return "\n".join(parts)


def compile_shared(compiler: list[str], source: Path, target: Path) -> None:
    """Compile ``source`` into the shared library ``target``, with OpenMP where there is it.

    Raises:
        NativeCodeError: if the compiler fails, cannot be run or takes too long.
    """
    command = [*compiler, *FLAGS, *SHARED, "-o", str(target), str(source)]
    done = _run([*command, OPENMP])
    if done.returncode:
        done = _run(command)  # a compiler without OpenMP: the same on one thread
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
        raise NativeCodeError(f"{compiler[0]} could not compile {source.name}: {lines[0].strip()}.")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=TIME_LIMIT
        )
    except subprocess.TimeoutExpired as error:
        raise NativeCodeError(f"{command[0]} did not end within {TIME_LIMIT:.0f} s.") from error
    except OSError as error:
        raise NativeCodeError(f"{command[0]} could not be run ({error}).") from error


def _cpu_flags() -> str:
    """What the processor can do; a home folder may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    keys = ("model name", "flags", "Features")  # the last is that of ARM
    return "\n".join(sorted({line for line in lines if line.startswith(keys)}))
