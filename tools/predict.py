#!/usr/bin/env python3
"""Boxes on your own images, videos and event recordings, by a trained run.

tools/predict.py work_dirs/RUN photo.jpg
tools/predict.py work_dirs/RUN 'photos/*.jpg' --tile 640 --save-json --out found
tools/predict.py work_dirs/RUN street.mp4
tools/predict.py work_dirs/RUN recording_td.h5          (an event file, labelled or not)
tools/predict.py configs/examples/NAME.py photos --weights model.pth
tools/predict.py RUN.onnx photo.jpg                     (a file of tools/export.py)
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
        "--save-json", action="store_true", help="write predictions.json (COCO), too"
    )
    parser.add_argument(
        "--show-truth", action="store_true", help="draw labels, dashed, if there are any"
    )
    parser.add_argument("--weights", default="", help="checkpoint (the run's best model)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    return parser.parse_args()


def predict(options: Namespace) -> str:
    from smalldet.evaluation.tiles import Tiling
    from smalldet.predict.command import Options, predict_all
    from smalldet.predict.images import ImagePredictor
    from smalldet.predict.loading import load

    predictor = load(options.run, options.weights, options.device, options.overrides)
    if options.tile:
        if not isinstance(predictor, ImagePredictor):
            raise ValueError("--tile is for images; this run looks at event recordings.")
        predictor.tiling = Tiling(options.tile, options.overlap)
    out = options.out or Path("predictions") / options.run.resolve().stem
    kept = {"save_json": options.save_json, "show_truth": options.show_truth}
    return str(predict_all(predictor, options.input, Options(out, options.score, **kept)))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        print(predict(parse_arguments()))
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
