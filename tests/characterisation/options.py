"""Print the options of every command as JSON, from one process.

Every script is run as ``python SCRIPT [SUB-COMMAND] --help``, and its parser is asked instead of
the text that it would print.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
from contextlib import suppress
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
NO_PARSER = {"demo.py"}  # would train
FOLDERS = ("tools", "datasets", "benchmarks")


def help_parser(script: Path, *words: str) -> argparse.ArgumentParser:
    """The parser that answers ``--help`` in ``script``."""
    asked: list[argparse.ArgumentParser] = []

    def print_help(parser: argparse.ArgumentParser) -> None:
        asked.append(parser)

    with (
        suppress(SystemExit),
        mock.patch.object(argparse.ArgumentParser, "print_help", print_help),
        mock.patch.object(sys, "argv", [str(script), *words, "--help"]),
        mock.patch.object(sys, "path", [str(script.parent), str(ROOT), *sys.path]),
    ):
        runpy.run_path(str(script), run_name="__main__")
    return asked[0]


def options_of(script: Path) -> dict[str, list[str]]:
    """Option strings of ``script`` and of its sub-commands, by command."""
    command = script.relative_to(ROOT).as_posix()
    parser = help_parser(script)
    found = {command: sorted(parser._option_string_actions)}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name in action.choices:
                sub_parser = help_parser(script, name)
                found[f"{command} {name}"] = sorted(sub_parser._option_string_actions)
    return found


def all_options() -> dict[str, list[str]]:
    """Option strings by command, as ``tools/lab.py run``."""
    found = {}
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.py")):
        if path.name not in NO_PARSER and "__main__" in path.read_text(encoding="utf-8"):
            found |= options_of(path)
    return found


if __name__ == "__main__":
    print(json.dumps(all_options()))
