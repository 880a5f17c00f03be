"""Will it work? Each line that is not ok says how to mend it. Status 1 if one is red.

%(prog)s [env]                                       this machine (the default)
%(prog)s data [options]                              a data set, as smalldet data does
%(prog)s config CONFIG [--no-step] [key=value ...]   what a config will do, with one real step
%(prog)s weights FILE CONFIG [key=value ...]         whether a weight file fits a config
"""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace, RawTextHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console import data
from console.home import add_trust, find_config


def main(arguments: Sequence[str], prog: str) -> int | str:
    """Print the findings; 1 if any is red."""
    topics = {"data": data.main, "config": config, "weights": weights}
    if arguments and arguments[0] in topics:
        return topics[arguments[0]](arguments[1:], f"{prog} {arguments[0]}")
    parser = ArgumentParser(prog=prog, description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("topic", nargs="?", choices=["env", *topics], default="env")
    parser.parse_args(arguments)
    from smalldet.doctor.env import main as examine

    return examine()


def config(arguments: Sequence[str], prog: str) -> int:
    """Look at a config as training would: keys, model, weights, data, sizes, schedule, one step."""
    parser = _parser(prog, config.__doc__)
    parser.add_argument("--no-step", action="store_true", help="without the real step")
    _add_config(parser)
    options = parser.parse_intermixed_args(arguments)
    cfg = _load(options)
    from smalldet.doctor.config import examine_config

    logging.getLogger("detectron2").setLevel(logging.CRITICAL)  # its errors become findings
    return _show(examine_config(cfg, not options.no_step))


def weights(arguments: Sequence[str], prog: str) -> int:
    """Look at a weight file: what is missing, unknown or of another shape for a config's model."""
    parser = _parser(prog, weights.__doc__)
    parser.add_argument("file", type=Path, help="checkpoint of a run, or published weights")
    _add_config(parser)
    options = parser.parse_intermixed_args(arguments)
    cfg = _load(options)
    from smalldet.doctor.weights import examine_weights
    from smalldet.engine.build import build_model
    from smalldet.engine.settings import read_settings

    model = build_model(cfg, read_settings({**cfg["train"], "device": "cpu"}))
    return _show(examine_weights(model, options.file))


def _parser(prog: str, description: str | None) -> ArgumentParser:
    return ArgumentParser(prog=prog, description=description)


def _add_config(parser: ArgumentParser) -> None:
    parser.add_argument("config", help="a config file, or the folder of a run")
    parser.add_argument("opts", nargs="*", metavar="key=value", help="key=value for the config")
    add_trust(parser)


def _load(options: Namespace) -> Any:
    """The config in plain dicts and lists.

    Raises:
        ValueError: it cannot be read, or a key in it is not known; the sentence says which.
    """
    from labbook.config.load import load_config, to_plain
    from runfolder.names import CONFIG

    path = Path(options.config)
    file = path / CONFIG if path.is_dir() else Path(find_config(options.config))
    return to_plain(load_config(file, options.opts))


def _show(findings: Any) -> int:
    from smalldet.doctor.findings import as_lines, show, status

    show(as_lines(findings))
    return status(findings)
