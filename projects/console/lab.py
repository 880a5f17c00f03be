"""``smalldet lab``: the lab book's own command line, in the folder of the configs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from console.home import CONFIGS, INSTALLED, home, train_script


def main(arguments: Sequence[str], prog: str) -> int:
    """Run one command of the lab book."""
    from labbook import cli

    options = cli.parse(arguments, prog)  # help needs no configs
    return cli.execute(options, _root(), train_script())


def _root() -> Path:
    """The folder with ``configs``: the current one, or the checkout.

    Raises:
        ValueError: there is neither; studies are worked on in a folder of their own.
    """
    if Path(CONFIGS).is_dir():
        return Path.cwd()
    if home() == INSTALLED:
        copy = f"cp -r {INSTALLED / CONFIGS} ."
        raise ValueError(f"There are no configs here. Bring those that are installed: {copy}")
    return home()
