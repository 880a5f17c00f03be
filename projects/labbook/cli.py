"""Command line of the lab book: ``tools/lab.py COMMAND ...``."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

from labbook.config.signatures import nearest

COMMANDS = (
    "listing",
    "diff",
    "explain",
    "plan",
    "preflight",
    "run",
    "table",
    "analyse",
    "report",
    "combine",
    "watch",
    "clean",
    "reproduce",
)
"""Modules of :mod:`labbook.commands`, in the order of the help text."""


def main(arguments: Sequence[str], root: Path, train_script: str | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name.
        root: the project's root folder; configs, scripts and run folders are found below it.
        train_script: what trains a config, relative to ``root``; it takes ``--config-file FILE
            [--resume] [key=value ...]``. Commands that start no run do without.

    Returns:
        The exit status: 0 if all is well, 1 if an experiment is not, 2 if the command or a config
        is wrong, 130 if stopped.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    modules = [importlib.import_module(f"labbook.commands.{name}") for name in COMMANDS]
    options = _parse(list(arguments), modules)
    options.train_script = train_script
    try:
        return options.execute(options, root)
    except ValueError as error:  # ConfigError and the sentences of studies
        print(f"lab.py: {error}", file=sys.stderr)
        return 2


def _parse(arguments: list[str], modules: Iterable[ModuleType]) -> argparse.Namespace:
    """Options and, in ``overrides``, the ``key=value`` words of a command that takes them."""
    parser = argparse.ArgumentParser(prog="lab.py", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    known = set()
    for module in modules:
        command = commands.add_parser(
            module.NAME, help=module.HELP, description=module.HELP, allow_abbrev=False
        )
        module.add_arguments(command)
        command.add_argument("--debug", action="store_true", help="the study at toy size")
        takes = getattr(module, "TAKES_OVERRIDES", False)
        command.set_defaults(execute=module.execute, takes_overrides=takes)
        known |= {word for action in command._actions for word in action.option_strings}
    options, rest = parser.parse_known_args(arguments)
    only = getattr(options, "only", [])
    options.overrides = [text for text in only if _is_override(text)] + rest
    options.only = [text for text in only if not _is_override(text)]
    for text in options.overrides:
        if text.startswith("-"):
            parser.error(f"unknown option {text}.{nearest(text, known)}")
        if not options.takes_overrides or not _is_override(text):
            parser.error(f"'{text}' is neither an option nor, for run, of the form key=value")
    return options


def _is_override(text: str) -> bool:
    return "=" in text or text.startswith("~")
