"""Command line of the lab book: plan, run, record and compare experiments."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from labbook.called import lab
from labbook.config.signatures import nearest
from runfolder.trust import OPTION

STEPS = 3  # the median of so many leaves out the first, which is slow


class Command(NamedTuple):
    """A sub-command."""

    function: str
    """What does it, as ``module.function`` of :mod:`labbook.commands`; imported when asked for."""
    arguments: str
    """Names in :data:`ARGUMENTS`; every command has ``--debug``, too."""
    help: str
    takes_overrides: bool = False
    """Whether it takes ``key=value``."""


COMMANDS = {
    "list": Command("folders.list_runs", "study", "list the experiments and their status"),
    "diff": Command(
        "configs.show_difference",
        "name",
        "show the resolved difference of an experiment to its parent and to the baseline",
        takes_overrides=True,
    ),
    "new-study": Command(
        "configs.write_study",
        "new --from --factor",
        "write configs/NAME: a study with the baseline of another one and a config for each level",
    ),
    "explain": Command(
        "configs.show_origin",
        "name key",
        "tell what a key of an experiment is, the line that set it, and what key=value does to it",
        takes_overrides=True,
    ),
    "plan": Command(
        "plan.execute",
        "study --only --seeds --measure",
        "list the runs with steps, batches, and what time and memory they are likely to take",
        takes_overrides=True,
    ),
    "preflight": Command(
        "configs.try_configs",
        "study --only",
        "run each config for 2 steps and a small evaluation at toy size; say which would fail",
    ),
    "run": Command(
        "run.execute",
        "study --only --seeds --stale --retries --gpus --jobs --processes --executor --slurm "
        "--nodes",
        "run the experiments that are not finished; key=value changes their configs",
        takes_overrides=True,
    ),
    "table": Command(
        "results.show_table",
        "study --only",
        "compare the results with the baseline; written as Markdown, CSV and LaTeX, too",
    ),
    "analyse": Command(
        "results.show_analysis",
        "study --only",
        "how the runs learned: speed, steadiness, plateaus, overfitting, memory and time",
    ),
    "report": Command(
        "results.write_report",
        "study --only",
        "write a page with plots, error analysis and pictures; opens in any browser",
    ),
    "combine": Command(
        "results.combine_levels",
        "study --trust",
        "take the best level of each factor and write configs/STUDY/combined.py",
    ),
    "watch": Command(
        "folders.watch_runs",
        "study --only",
        "watch the runs, also those in the background and on other machines",
    ),
    "clean": Command(
        "folders.clean_runs",
        "study --only --yes",
        "list run folders and the annotation files made from its data, ask, and remove just those",
    ),
    "reproduce": Command(
        "folders.reproduce_run",
        "run --run --trust",
        "check what differs today from a run's record, and print or run the command to repeat it",
    ),
}
"""By name, in the order of the help text."""


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
    return execute(parse(arguments), root, train_script)


def execute(options: argparse.Namespace, root: Path, train_script: str | None = None) -> int:
    """Run the command that :func:`parse` read; arguments and result as for :func:`main`."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    options.train_script = train_script
    module, _, function = COMMANDS[options.command].function.partition(".")
    command = getattr(importlib.import_module(f"labbook.commands.{module}"), function)
    try:
        return command(options, root)
    except ValueError as error:  # ConfigError and the sentences of studies
        print(f"{options.prog}: {error}", file=sys.stderr)
        return 2


def parse(arguments: Sequence[str], prog: str = "lab.py") -> argparse.Namespace:
    """Options and, in ``overrides``, the ``key=value`` words of a command that takes them."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, one in COMMANDS.items():
        command = commands.add_parser(name, help=one.help, description=one.help, allow_abbrev=False)
        for argument in (*one.arguments.split(), "--debug"):
            command.add_argument(argument, **ARGUMENTS[argument])
    options, rest = parser.parse_known_args(arguments)
    only, takes_overrides = getattr(options, "only", []), COMMANDS[options.command].takes_overrides
    options.overrides = [text for text in only if takes_overrides and _is_override(text)]
    options.only = [text for text in only if text not in options.overrides]
    options.overrides += rest
    options.prog = prog
    for text in options.overrides:
        if text.startswith("-"):
            known = [name for name in ARGUMENTS if name.startswith("--")]
            parser.error(f"unknown option {text}.{nearest(text, known)}")
        if not (takes_overrides and _is_override(text)):
            parser.error(f"'{text}' is neither an option nor, for run, of the form key=value")
    return options


def _is_override(text: str) -> bool:
    return "=" in text or text.startswith("~")


def _count(text: str) -> int:
    """A number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def _argument(metavar: str | None, text: str, **settings: Any) -> dict[str, Any]:
    return {"metavar": metavar, "help": text, **settings}


_MANY = {"nargs": "+", "action": "extend", "default": []}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "study": _argument("STUDY", "a folder of configs/"),
    "name": _argument("NAME", f"an experiment, as `{lab('list STUDY')}` shows"),
    "new": _argument("NAME", "of the new study, an identifier"),
    "key": _argument("KEY", "such as train.max_iter; a section lists its own"),
    "run": _argument("RUN", "a run folder, or its name below work_dirs"),
    "--debug": {"action": "store_true", "help": "the study at toy size"},
    "--only": _argument(
        "NAME", "just these; table, analyse and report take run folders anywhere, too", **_MANY
    ),
    "--from": _argument(
        "SOURCE", "a study with one baseline, or an experiment", dest="source", required=True
    ),
    "--factor": _argument(
        "KEY=A,B", "a key to move and its levels; once for each factor", required=True, **_MANY
    ),
    "--seeds": _argument("K", "runs of each experiment, by seed", type=_count, default=1),
    "--measure": _argument(
        "STEPS",
        f"first run so many steps ({STEPS}) at full size on generated data",
        type=_count,
        nargs="?",
        const=STEPS,
    ),
    "--stale": {
        "action": "store_true",
        "help": "repeat finished runs of older code; those are kept",
    },
    "--retries": _argument(
        "N",
        "start a run again, up to N times, that was killed or died without a word (default 1); "
        "one that ended with an error, such as a loss that is not finite, would meet it again",
        type=int,
        default=1,
    ),
    "--gpus": _argument("0,1", "these GPUs only; two runs never share one"),
    "--jobs": _argument("K", "runs at a time (default: 1, or one for each GPU)", type=_count),
    "--processes": _argument("N", "of a run on a machine: its GPUs", type=_count, default=1),
    "--executor": {
        "choices": ("slurm", "local"),
        "help": "submit the runs to a cluster through submitit (extra [sweep]); local tries that "
        "on this CPU",
    },
    "--slurm": _argument(
        "KEY=VALUE",
        "options of sbatch, such as partition=gpu time=600 (minutes) cpus_per_task=16",
        **_MANY,
    ),
    "--nodes": _argument("N", "machines of each run on a cluster", type=_count, default=1),
    "--yes": {"action": "store_true", "help": "remove without asking"},
    "--trust": OPTION,
    "--run": {
        "action": "store_true",
        "dest": "start",
        "help": "run the command, then compare the results",
    },
}
