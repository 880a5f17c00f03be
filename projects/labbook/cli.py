"""Command line of the lab book: ``tools/lab.py run|table|list STUDY``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from labbook.records import run_status
from labbook.runner import plan_jobs, run_jobs
from labbook.signatures import nearest
from labbook.studies import Study, find_experiments, get_study, select
from labbook.tables import collect, print_table, write_tables

TRAIN_SCRIPT = "tools/lazyconfig_train_net.py"
INTERRUPTED = 130  # what a shell reports after Ctrl-C


def main(arguments: Sequence[str], root: Path) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name.
        root: the project's root folder; configs, scripts and run folders are found below it.

    Returns:
        The exit status: 0 if all is well (``run``: every experiment is finished), 1 if an
        experiment is not, 2 if the command or a config is wrong, 130 if stopped.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    options, overrides = _parse(list(arguments))
    try:
        study = get_study(options.study, options.debug)
        if options.command == "run":
            return _run(study, root, options.only, overrides)
        return {"table": _table, "list": _list}[options.command](study, root)
    except ValueError as error:  # ConfigError and the sentences of studies
        print(f"lab.py: {error}", file=sys.stderr)
        return 2


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Options and, for ``run``, the ``key=value`` overrides, in any order."""
    parser = argparse.ArgumentParser(prog="lab.py", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="run|table|list")
    helps = {
        "run": "run the experiments that are not finished; key=value changes their configs",
        "table": "show the results and write them as Markdown and CSV",
        "list": "list the experiments and their status",
    }
    known = {"--debug", "--help", "--only"}
    for name, text in helps.items():
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.add_argument("study", help="as ofat")
        command.add_argument("--debug", action="store_true", help="the study at toy size")
        if name == "run":
            command.add_argument(
                "--only",
                nargs="+",
                action="extend",
                default=[],
                metavar="NAME",
                help="run just these experiments",
            )
    options, rest = parser.parse_known_args(arguments)
    only = getattr(options, "only", [])
    overrides = [text for text in only if _is_override(text)] + rest
    options.only = [text for text in only if not _is_override(text)]
    for text in overrides:
        if text.startswith("-"):
            parser.error(f"unknown option {text}.{nearest(text, known)}")
        if options.command != "run" or not _is_override(text):
            parser.error(f"'{text}' is neither an option nor, for run, of the form key=value")
    return options, overrides


def _is_override(text: str) -> bool:
    return "=" in text or text.startswith("~")


def _run(study: Study, root: Path, only: list[str], overrides: list[str]) -> int:
    experiments = find_experiments(study, root)
    chosen = select(study, experiments, only) if only else experiments
    jobs = plan_jobs(chosen, root, overrides)
    outcomes, stopped = run_jobs(jobs, root, overrides, TRAIN_SCRIPT)
    for outcome in outcomes:
        if not outcome.is_finished:
            print(f"\n{outcome.name} {outcome.message}", file=sys.stderr)
            print(outcome.log_tail, file=sys.stderr)
    _table(study, root)
    if stopped:
        return INTERRUPTED
    return 0 if all(outcome.is_finished for outcome in outcomes) else 1


def _table(study: Study, root: Path) -> int:
    rows = collect(study, root, map(study.run_name, find_experiments(study, root)))
    print_table(study, rows)
    for path in write_tables(study, rows, root):
        print(path.relative_to(root))
    return 0


def _list(study: Study, root: Path) -> int:
    for name in find_experiments(study, root):
        folder = Path(study.work_folder) / study.run_name(name)
        print(f"{name:40} {run_status(root / folder):12} {folder}")
    return 0
