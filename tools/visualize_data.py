#!/usr/bin/env python3
"""Show data with its boxes: a contact sheet (.png) or, of event recordings, a video (.mp4).

tools/visualize_data.py RECORDING OUT         (an event file or a prepared folder)
tools/visualize_data.py --config-file CONFIG OUT [key=value ...]     (augmented training samples)
tools/visualize_data.py --config-file CONFIG --assignment OUT.png    (which cells learn what)

The assignment is that of a run's best model (work_dirs/RUN/config.yaml), of any checkpoint
(train.init_checkpoint=PATH), or of the weights that training starts from.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawTextHelpFormatter
from itertools import chain, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

from console.home import add_trust
from console.status import exit_status


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("paths", nargs="+", metavar="RECORDING OUT, or OUT key=value")
    parser.add_argument("--config-file", type=Path, help="show its training samples")
    parser.add_argument("--samples", type=int, default=4, help="with a config (%(default)s)")
    parser.add_argument("--assignment", action="store_true", help="cells that SimOTA chose (YOLOX)")
    parser.add_argument("--start", type=float, default=0.0, help="seconds (%(default)s)")
    parser.add_argument("--seconds", type=float, help="length (until the end; of samples 3)")
    parser.add_argument("--light", action="store_true", help="white background, for print")
    options = add_trust(parser).parse_intermixed_args()
    if options.samples < 1 or not (options.config_file or len(options.paths) == 2):
        parser.error("name RECORDING and OUT, or --config-file, OUT and at least one sample")
    if options.assignment and not options.config_file:
        parser.error("--assignment needs --config-file: its model chooses the cells")
    return options


def show(options: Namespace) -> str:
    from eventcam.render.footage import write_footage
    from eventcam.render.sources import open_footage
    from pictures.boxes import DARK, LIGHT

    options.theme = LIGHT if options.light else DARK
    if options.config_file:
        return show_samples(options)
    recording, out = map(Path, options.paths)
    footage = open_footage(recording, options.start, options.seconds)
    return f"{out}: {write_footage(footage, out, theme=options.theme)} images of {footage.source}"


def show_samples(options: Namespace) -> str:
    from detectron2.config import instantiate

    from eventcam.render.samples import write_samples
    from labbook.config.load import load_config, to_plain
    from smalldet.data import registered
    from smalldet.vis.assignment import show_assignment
    from smalldet.vis.samples import write_image_samples

    config, (name, *overrides), theme = options.config_file, options.paths, options.theme
    if options.assignment:
        return show_assignment(config, overrides, Path(name), options.samples, theme)
    out, cfg = Path(name), to_plain(load_config(config, overrides))
    dataset, node = registered(cfg["dataset"]), cfg["dataloader"]["train"]
    batches = map(chain.from_iterable, instantiate({**node, "num_workers": 0}))
    if hasattr(dataset, "class_map"):  # of recordings
        names = dataset.class_map.classes
        count = write_samples(batches, names, out, options.samples, options.seconds, theme)
    else:
        samples = islice(chain.from_iterable(batches), options.samples)
        count = write_image_samples(samples, dataset.classes, out, theme=theme)
    return f"{out}: {count} images, as {config} trains on them"


if __name__ == "__main__":
    sys.exit(exit_status(lambda: show(parse_arguments())))
