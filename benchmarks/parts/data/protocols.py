"""Scores of 2,000 frames of event recordings: Prophesee's toolbox against our protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.measure import Candidate, Row, compare
from benchmarks.published import evaluation as published
from boxmetrics.boxes import xywh_to_xyxy
from boxmetrics.protocols import ETRAM_PUBLISHED, RVT_PUBLISHED, Protocol, evaluate
from boxmetrics.tables import BoxTable, Frame, ImageBoxes
from eventcam.class_maps import get_class_map
from eventcam.io import BBOX_DTYPE

RECORDINGS, FRAMES = 10, 200  # of a recording, 100 ms apart
OBJECTS, DETECTIONS = 8, 100  # of a frame, as many as a low threshold lets through
WIDTH, HEIGHT, SENSOR = published.WIDTH, published.HEIGHT, 2  # px of the sensor for one of these
CLASSES = get_class_map("etram_cls8").classes
SPEED = 5.0  # times that of the toolbox
Scored = Callable[[], np.ndarray]
SCORES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
SCORES += ("AR@1", "AR@10", "AR@100", "ARs", "ARm", "ARl")  # as the toolbox orders them


def rows() -> Iterator[Row]:
    """From boxes to scores; classes matter in the first, in the second they do once more not."""
    recordings = [recorded(seed) for seed in range(RECORDINGS)]
    frames = [frame for number, one in enumerate(recordings) for frame in frames_of(number, *one)]
    for name, protocol in (("Prophesee", RVT_PUBLISHED), ("eTraM", ETRAM_PUBLISHED)):
        reference = toolbox(recordings, protocol)
        candidate = ours(frames, protocol)
        theirs, scores = reference(), candidate()
        if not np.allclose(theirs, scores, rtol=0, atol=1e-9):
            raise AssertionError(f"The toolbox scores {theirs}, the project {scores}")
        row = f"{name}'s protocol, {len(frames):,} frames"
        yield from compare(reference, {row: Candidate(candidate, SPEED)}, rounds=3)


def toolbox(recordings: list[tuple[np.ndarray, np.ndarray]], protocol: Protocol) -> Scored:
    """eTraM's code scores by class, which it prints, and then without."""
    truth, found = zip(*recordings, strict=True)

    def run() -> np.ndarray:
        scores = published.evaluate(truth, found, CLASSES)
        if protocol.class_agnostic:
            scores = published.evaluate(truth, found, CLASSES, by_class=False)
        return scores

    return run


def ours(frames: list[Frame], protocol: Protocol) -> Scored:
    def run() -> np.ndarray:
        scores = evaluate(protocol, BoxTable.of_frames(frames), CLASSES).scores
        return np.array([scores[name] for name in SCORES], float) / 100

    return run


def recorded(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions of a recording, in px at half resolution; each is near an object."""
    rng = np.random.default_rng(seed)
    truth, found = (np.zeros((FRAMES, number), BBOX_DTYPE) for number in (OBJECTS, DETECTIONS))
    times = 100_000 * np.arange(1, FRAMES + 1)[:, None]
    sizes = np.exp(rng.uniform(np.log(4), np.log(160), (FRAMES, OBJECTS, 2)))
    boxes = np.concatenate([rng.uniform(0, (WIDTH, HEIGHT) - sizes), sizes], axis=-1)
    labels = rng.integers(0, len(CLASSES), (FRAMES, OBJECTS))
    aimed = rng.integers(0, OBJECTS, (FRAMES, DETECTIONS))
    near, sides = (np.take_along_axis(a, aimed[..., None], axis=1) for a in (boxes, sizes))
    near = near + rng.normal(0, 0.15, near.shape) * np.tile(sides, 2)
    near[..., 2:] = near[..., 2:].clip(1)
    seen = np.take_along_axis(labels, aimed, axis=1)
    seen = np.where(rng.random(seen.shape) < 0.9, seen, rng.integers(0, len(CLASSES), seen.shape))
    for made, places, kinds in ((truth, boxes, labels), (found, near, seen)):
        made["t"], made["class_id"] = times, kinds
        made["x"], made["y"], made["w"], made["h"] = np.moveaxis(places, -1, 0)
    found["class_confidence"] = rng.random(found.shape)
    return truth.reshape(-1), found.reshape(-1)


def frames_of(number: int, truth: np.ndarray, found: np.ndarray) -> Iterator[Frame]:
    """What evaluators collect: the frames of a recording, in px of the sensor."""
    edges, areas = [], []
    for boxes in (truth, found):
        places = SENSOR * np.stack([boxes[name] for name in "xywh"], axis=1).astype(np.float64)
        edges.append(xywh_to_xyxy(places))
        areas.append(places[:, 2] * places[:, 3])
    for step in range(FRAMES):
        gts = slice(step * OBJECTS, (step + 1) * OBJECTS)
        dets = slice(step * DETECTIONS, (step + 1) * DETECTIONS)
        scores = found["class_confidence"][dets].astype(np.float64)
        image = ImageBoxes(
            image_id=number * FRAMES + step,
            boxes=edges[1][dets],
            scores=scores,
            classes=found["class_id"][dets].astype(np.int64),
            gt_boxes=edges[0][gts],
            gt_classes=truth["class_id"][gts].astype(np.int64),
            gt_areas=areas[0][gts],
            gt_crowd=np.zeros(OBJECTS, bool),
        )
        yield Frame(image, f"recording {number}", int(truth["t"][gts][0]), scores)
