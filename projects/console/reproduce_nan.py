"""The step after which a run stopped with a NaN, once more, and where the NaN begins.

%(prog)s work_dirs/RUN/nan_dump.pth
%(prog)s work_dirs/RUN/nan_dump.pth train.device=cpu train.amp.enabled=false

Nothing is written. The exit status is 0 if the error comes again, 1 if all values are finite.
"""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace, RawTextHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from console.home import add_trust


def main(arguments: Sequence[str], prog: str) -> int:
    """Repeat the step and say what was found."""
    options = parse(arguments, prog)
    logging.basicConfig(level=logging.CRITICAL)  # the error is printed, without its traceback
    is_raised, lines = reproduce_dump(options)
    print("\n".join(lines))
    return 0 if is_raised else 1


def parse(arguments: Sequence[str], prog: str) -> Namespace:
    """The options of the command."""
    parser = ArgumentParser(prog=prog, description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("dump", type=Path, help="nan_dump.pth of a run folder")
    parser.add_argument("overrides", nargs="*", help="key=value for the config")
    return add_trust(parser).parse_args(arguments)


def reproduce_dump(options: Namespace) -> tuple[bool, list[str]]:
    """Whether the error comes again, and what to say about it."""
    from smalldet.engine.faults.nan_dump import read_dump
    from smalldet.engine.faults.reproduce import reproduce
    from smalldet.predict.manifest import read_config_text

    dump = read_dump(options.dump)
    if not dump["config"]:
        raise ValueError(
            f"{options.dump} has no config: the run's folder had no config.yaml. A run of "
            "tools/lazyconfig_train_net.py writes one."
        )
    return reproduce(dump, read_config_text(dump["config"], options.dump, options.overrides))
