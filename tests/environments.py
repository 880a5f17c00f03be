#!/usr/bin/env python3
"""The tests in other environments, as far as they are at hand (make test-matrix).

Python 3.11 and 3.12 with the pinned dependencies, with the oldest that setup.py allows, and with
the newest; and, in this environment, with another importable Detectron2 (--detectron2 FOLDER, the
one that its package is in). Each environment is made once, in work_dirs/environments. What cannot
be made is skipped, and said; ends with status 1 if tests failed anywhere. Words behind -- go to
pytest: make test-matrix ARGS="tests/runfolder -x" DETECTRON2=/path/to/checkout
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "work_dirs" / "environments"
PYTHONS = ("3.11", "3.12")
EXTRAS = ("train", "events", "convert", "export", "sahi", "supervision", "sweep")


class Skipped(Exception):
    """An environment is not at hand; the text says why."""


class Outcome(NamedTuple):
    """What became of the tests in an environment."""

    name: str
    text: str
    is_failed: bool = False


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--detectron2", type=Path, metavar="FOLDER")
    parser.add_argument("words", nargs="*", help="for pytest")
    options = parser.parse_args()
    outcomes = [
        in_new(version, kind, options.words)
        for version in PYTHONS
        for kind in ("pinned", "oldest", "newest")
    ]
    outcomes.append(with_detectron2(options.detectron2, options.words))
    print("\nEnvironment                 Tests")
    print("\n".join(f"{one.name:26}  {one.text}" for one in outcomes))
    return int(any(one.is_failed for one in outcomes))


def in_new(version: str, kind: str, words: Sequence[str]) -> Outcome:
    """The tests with a Python and a kind of dependencies, in an environment of their own."""
    name = f"python {version}, {kind}"
    try:
        return tested(name, made(version, kind), words)
    except Skipped as reason:
        return Outcome(name, f"skipped: {reason}")


def with_detectron2(folder: Path | None, words: Sequence[str]) -> Outcome:
    """The tests in this environment with the Detectron2 that lies in ``folder``."""
    name = "this one, other Detectron2"
    if folder is None:
        return Outcome(name, "skipped: no --detectron2 FOLDER (DETECTRON2=...) was given")
    if not (folder / "detectron2" / "__init__.py").is_file():
        return Outcome(name, f"skipped: {folder} holds no detectron2/__init__.py")
    return tested(name, Path(sys.executable), words, str(folder.resolve()))


def made(version: str, kind: str) -> Path:
    """The Python of an environment, made if need be.

    Raises:
        Skipped: there is no such Python, or a package cannot be installed.
    """
    home = FOLDER / f"{version}-{kind}"
    python, ready = home / "bin" / "python", home / ".ready"
    if ready.exists():
        return python
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(home, ignore_errors=True)
    execute([interpreter(version), "-m", "venv", str(home)])
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    pins = home / "constraints.txt"
    pins.write_text(constraints(kind))
    execute([*pip, "-c", str(pins), "setuptools<82", "wheel", "torch", "torchvision"])
    package = f".[{','.join((*EXTRAS, 'dev'))}]"
    execute([*pip, "-c", str(pins), "--no-build-isolation", "-e", package])
    execute([str(python), "tools/install_detectron2.py"])
    ready.touch()
    return python


def interpreter(version: str) -> str:
    """A Python of this version.

    Raises:
        Skipped: there is none.
    """
    code = f"import sys; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    known = [f"python{version}", *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))]
    for command in known:
        if shutil.which(command):
            done = subprocess.run([command, "-c", code], capture_output=True, check=False)
            if done.returncode == 0:
                return command
    raise Skipped(f"no Python {version} was found")


def constraints(kind: str) -> str:
    """Pins, as pip reads them."""
    if kind == "newest":
        return ""
    if kind == "pinned":
        return (ROOT / "constraints.txt").read_text(encoding="utf-8")
    found = map(Requirement, metadata.requires("smalldet") or ())
    wanted = [
        one
        for one in found
        if not one.marker or any(one.marker.evaluate({"extra": extra}) for extra in EXTRAS)
    ]
    pins = {  # the newest patch of the oldest version
        f"{one.name}=={bound.version}{'' if 'post' in bound.version else '.*'}"
        for one in wanted
        for bound in one.specifier
        if bound.operator == ">=" and one.name != "setuptools"
    }
    return "\n".join(sorted(pins)) + "\n"


def execute(command: Sequence[str]) -> None:
    """Run a step of making an environment.

    Raises:
        Skipped: it failed; with the last that it said.
    """
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise Skipped(f"{' '.join(command[1:4])} failed: {' '.join(said)[:200]}")


def tested(name: str, python: Path, words: Sequence[str], path: str = "") -> Outcome:
    """Run pytest; its last line says what became of it."""
    print(f"\n{name}", flush=True)
    paths = os.pathsep.join(filter(None, [path, str(ROOT / "projects")]))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        last = ""
        for line in process.stdout or ():
            print(line, end="", flush=True)
            last = line.strip() or last
    return Outcome(name, last, is_failed=bool(process.returncode))


if __name__ == "__main__":
    sys.exit(main())
