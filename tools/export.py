#!/usr/bin/env python3
"""A trained run as one file, compared with the run before it is kept.

tools/export.py work_dirs/RUN --format onnx                     (onnxruntime and others)
tools/export.py work_dirs/RUN --format pt2 --size 360 640       (torch.export)
tools/export.py work_dirs/RUN --format weights --out RUN.safetensors

tools/predict.py and smalldet.load() take the file in the place of the run. Graphs hold YOLOX
detectors up to decoded boxes, before NMS; of other detectors backbone and neck.
"""

from __future__ import annotations

import logging
import os
from argparse import ArgumentParser, Namespace, RawTextHelpFormatter
from pathlib import Path

# Before torch is imported: threads that spin while they wait stall a CPU that others use too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
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
    return parser.parse_intermixed_args()


def export(options: Namespace) -> str:
    from smalldet.export.command import export_run

    size = tuple(options.size) if options.size else None
    rest = (options.weights, options.overrides)
    return export_run(options.run, options.format, options.out, size, *rest)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        print(export(parse_arguments()))
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
