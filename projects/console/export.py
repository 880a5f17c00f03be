"""A trained run as one file, compared with the run before it is kept.

%(prog)s work_dirs/RUN --format onnx                     (onnxruntime and others)
%(prog)s work_dirs/RUN --format pt2 --size 360 640       (torch.export)
%(prog)s work_dirs/RUN --format weights --out RUN.safetensors

The predict command and smalldet.load() take the file in the place of the run. Graphs hold YOLOX
detectors up to decoded boxes, before NMS; of other detectors backbone and neck.
"""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace, RawTextHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from console.home import add_trust, find_config


def main(arguments: Sequence[str], prog: str) -> str:
    """Write the file; what it holds and how it compares, in lines."""
    options = parse(arguments, prog)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    from smalldet.export.command import export_run

    size = tuple(options.size) if options.size else None
    rest = (options.weights, options.overrides)
    run = Path(find_config(str(options.run)))
    return export_run(run, options.format, options.out, size, *rest)


def parse(arguments: Sequence[str], prog: str) -> Namespace:
    """The options of the command."""
    parser = ArgumentParser(prog=prog, description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder, or a config file")
    parser.add_argument("overrides", nargs="*", help="key=value for the config")
    parser.add_argument(
        "--format", choices=("onnx", "pt2", "weights"), required=True, help="kind of file"
    )
    parser.add_argument("--out", type=Path, help="the file (in the run folder, named after it)")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="of the network's input, px (as the run's)",
    )
    parser.add_argument("--weights", default="", help="checkpoint (the run's best model)")
    return add_trust(parser).parse_intermixed_args(arguments)
