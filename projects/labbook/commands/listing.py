"""``lab.py list STUDY``: experiments and their status."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labbook.commands.arguments import add_study, study_of
from labbook.config.studies import find_experiments
from labbook.run.display import status_of
from labbook.run.jobs import seed_folders
from labbook.run.ledger import older_code
from runfolder.locks import owner_of
from runfolder.provenance import code_version
from runfolder.records import read_record

NAME = "list"
HELP = "list the experiments and their status"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study."""
    add_study(parser)


def execute(options: argparse.Namespace, root: Path) -> int:
    """Print a line for each run: experiment, status, folder, and what is to be known of it."""
    study, code = study_of(options, root), code_version()
    for name in find_experiments(study, root):
        for folder in seed_folders(root / study.work_folder / study.run_name(name)):
            status = status_of(folder)
            line = f"{name:40} {status:12} {folder.relative_to(root)}"
            print(f"{line}  {remark(folder, status, code)}".rstrip())
    return 0


def remark(folder: Path, status: str, code: Mapping[str, Any]) -> str:
    """Whose a running run is, and whether a finished one is of older code."""
    if status == "running":
        return f"({owner_of(folder) or 'its lock names nobody'})"
    older = older_code(read_record(folder), code) if status == "finished" else None
    return f"(older code: {older})" if older else ""
