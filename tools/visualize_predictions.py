#!/usr/bin/env python3
"""Show what an evaluated run found, with the ground truth: a video (.mp4) or a sheet (.png).

tools/visualize_predictions.py work_dirs/RUN found.mp4 --recording val_day_0001 --seconds 5

Boxes of events stay until the next labelled time; of images, a .png shows those with most boxes.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawTextHelpFormatter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))
from console.home import add_trust
from console.status import exit_status


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("out", type=Path, help=".png or .mp4")
    parser.add_argument("--split", default="valid", help="an evaluated split (%(default)s)")
    parser.add_argument("--recording", default="", help="name, or best (the first one)")
    parser.add_argument("--min-score", type=float, default=0.3, help="of a box (%(default)s)")
    parser.add_argument("--start", type=float, default=0.0, help="seconds (%(default)s)")
    parser.add_argument("--seconds", type=float, default=None, help="length (until the end)")
    parser.add_argument("--images", type=int, default=12, help="of a sheet (%(default)s)")
    parser.add_argument("--data-root", help="where the data set lies now, if it was moved")
    parser.add_argument("--light", action="store_true", help="white background, for print")
    return add_trust(parser).parse_args()


def show(options: Namespace) -> str:
    from detectron2.config import instantiate

    from eventcam.dataset import EventRecordings
    from eventcam.render.evaluation import View, write_evaluation
    from labbook.config.load import load_config, to_plain
    from pictures.boxes import DARK, LIGHT

    config = options.run / "config.yaml"
    if not config.is_file():
        raise ValueError(f"{options.run} is no run folder: it has no config.yaml.")
    cfg = to_plain(load_config(config))
    splits = cfg["evaluation"]
    folder = options.run / "evaluation" / options.split
    if options.split not in splits or not (folder / "matches.npz").is_file():
        done = ", ".join(sorted(p.parent.name for p in folder.parent.glob("*/matches.npz")))
        raise ValueError(
            f"{options.run} has predictions of {done or 'no split'}, not of '{options.split}'. "
            f"They come from `tools/lazyconfig_train_net.py --config-file {config} --eval-only`."
        )
    cfg["dataset"]["root"] = options.data_root or cfg["dataset"]["root"]
    dataset = instantiate(cfg["dataset"])
    split = splits[options.split]["dataset"].removeprefix(f"{dataset.name}_")
    theme = LIGHT if options.light else DARK
    if not isinstance(dataset, EventRecordings):
        return show_images(options, dataset, split, folder, theme)
    part = options.start, options.seconds, options.images
    view = View(options.recording, options.min_score, *part, theme)
    shown = dataset.recordings(split), dataset.class_map.classes, options.out
    return write_evaluation(folder / "matches.npz", *shown, view)


def show_images(options: Namespace, dataset, split: str, folder: Path, theme) -> str:
    from pictures.predictions import prediction_sheet
    from smalldet.data.images import read_image

    if options.out.suffix.lower() != ".png" or options.recording or options.seconds:
        raise ValueError(f"{options.run} is a run on images: name a .png file, and no recording.")
    truth, read = dataset.filtered(split).path, lambda path: read_image(path, "RGB")
    files = truth, truth.parent, folder / "predictions.json", options.out
    prediction_sheet(*files, read, options.images, min_score=options.min_score, theme=theme)
    return f"{options.out}: up to {options.images} images of {truth}"


if __name__ == "__main__":
    sys.exit(exit_status(lambda: show(parse_arguments())))
