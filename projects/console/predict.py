"""Boxes on your own images, videos and event recordings, by a trained run.

%(prog)s work_dirs/RUN photo.jpg
%(prog)s work_dirs/RUN 'photos/*.jpg' --tile 640 --save-json --out found
%(prog)s work_dirs/RUN street.mp4
%(prog)s work_dirs/RUN recording_td.h5          (an event file, or .dat, .raw; labelled or not)
%(prog)s configs/examples/NAME.py photos --weights model.pth
%(prog)s RUN.onnx photo.jpg                     (an exported file)
"""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace, RawTextHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from console.home import add_trust, find_config


def main(arguments: Sequence[str], prog: str) -> int:
    """Look, write pictures and videos, say what was written; 1 if an input could not be read."""
    options = parse(arguments, prog)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    text, is_complete = predict(options)
    print(text)
    return 0 if is_complete else 1


def parse(arguments: Sequence[str], prog: str) -> Namespace:
    """The options of the command."""
    parser = ArgumentParser(prog=prog, description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder, config or exported file")
    parser.add_argument(
        "input", help="image, video, event recording, or a folder or pattern of them"
    )
    parser.add_argument("overrides", nargs="*", help="key=value for the config")
    parser.add_argument("--out", type=Path, help="folder of the results (predictions/RUN)")
    parser.add_argument("--score", type=float, default=0.3, help="least score (%(default)s)")
    parser.add_argument("--tile", type=int, default=0, help="cut images into tiles of so many px")
    parser.add_argument(
        "--overlap", type=float, default=0.2, help="of tiles, a share (%(default)s)"
    )
    parser.add_argument(
        "--merge", choices=("nms", "nmm"), default="nms", help="boxes of tiles (%(default)s)"
    )
    parser.add_argument(
        "--save-json", action="store_true", help="write predictions.json (COCO), too"
    )
    parser.add_argument(
        "--show-truth", action="store_true", help="draw labels, dashed, if there are any"
    )
    parser.add_argument("--weights", default="", help="checkpoint (the run's best model)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="bf16: for GPUs, and CPUs with AVX512-BF16 or AMX (%(default)s)",
    )
    options = add_trust(parser).parse_args(arguments)
    if not options.tile and (options.overlap, options.merge) != (0.2, "nms"):
        parser.error("--overlap and --merge are for tiles: give the size of those with --tile")
    return options


def predict(options: Namespace) -> tuple[str, bool]:
    """What was found and written, in lines, and whether every input could be read."""
    from smalldet.evaluation.tiles import Tiling
    from smalldet.predict.command import Options, predict_all
    from smalldet.predict.images import ImagePredictor
    from smalldet.predict.loading import load

    run = find_config(str(options.run))
    predictor = load(run, options.weights, options.device, options.overrides, options.precision)
    if options.tile:
        if not isinstance(predictor, ImagePredictor):
            raise ValueError("--tile is for images; this run looks at event recordings.")
        predictor.tiling = Tiling(options.tile, options.overlap, options.merge)
    out = options.out or Path("predictions") / options.run.resolve().stem
    kept = {"save_json": options.save_json, "show_truth": options.show_truth}
    done = predict_all(predictor, options.input, Options(out, options.score, **kept))
    return str(done), not done.unreadable
