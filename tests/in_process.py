"""Calling a script as a shell does, in this process: loading torch once more takes seconds."""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess

ROOT = Path(__file__).resolve().parents[1]


def call(script: str, *words: object) -> CompletedProcess[str]:
    """``python script words`` in the project's root folder; ``-m`` for a ``script`` with dots."""
    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = [script, *map(str, words)]
    run = runpy.run_path if script.endswith(".py") else runpy.run_module
    status = None
    try:
        with contextlib.chdir(ROOT), redirect_stdout(out), redirect_stderr(err):
            run(script, run_name="__main__")
    except SystemExit as error:
        status = error.code
    finally:
        sys.argv = argv
    return CompletedProcess([script, *words], int(status or 0), out.getvalue(), err.getvalue())
