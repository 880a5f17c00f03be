"""Where configs and the training script lie: in a checkout, or in the installed package."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

CONFIGS = "configs"
TRAIN_SCRIPT = "tools/lazyconfig_train_net.py"
CHECKOUT = Path(__file__).resolve().parents[2]
INSTALLED = Path(__file__).resolve().with_name("home")  # setup.py puts it into the wheel


def home() -> Path:
    """The folder that holds ``configs/`` and ``tools/``."""
    return CHECKOUT if (CHECKOUT / TRAIN_SCRIPT).is_file() else INSTALLED


def find_config(path: str) -> str:
    """``path``, or where there is no such file the one of that name that came with the project.

    Either may be of toy size, which is made from a real one.
    """
    from labbook.config.studies import real_config

    ours, theirs = home() / path, Path(path)
    is_theirs = theirs.exists() or real_config(theirs) is not None
    is_ours = ours.is_file() or real_config(ours) is not None
    return str(ours) if is_ours and not is_theirs else path


def add_trust(parser: ArgumentParser) -> ArgumentParser:
    """Give a command that reads configs the option ``--trust``; returns its parser."""
    from runfolder.trust import OPTION

    parser.add_argument("--trust", **OPTION)
    return parser


def train_script() -> str:
    """The script that trains a config, as it is called from the current folder."""
    path = home() / TRAIN_SCRIPT
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
