"""Check this machine; each line that is not ok says how to mend it. Status 1 if one is red."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence


def main(arguments: Sequence[str], prog: str) -> int:
    """Print the findings; 1 if any is red."""
    ArgumentParser(prog=prog, description=__doc__).parse_args(arguments)
    from smalldet.doctor import main as examine

    return examine()
