"""Random COCO files and predictions that hurt, and pycocotools' verdict on them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.coco import load_coco_json
from detectron2.structures import Boxes, Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIZE = 400
STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR@1", "AR@10", "AR@100", "ARs", "ARm", "ARl")


def write_dataset(folder: Path, boxes_by_image: dict[int, list[dict]], names=("head",)) -> str:
    """A COCO file in which class k has the category id 3 * k + 2 and annotations count from 0.

    Returns:
        Its path, which is also the name that Detectron2's own reader is registered under.
    """
    annotations = [
        {"iscrowd": 0, "area": box["bbox"][2] * box["bbox"][3], **box, "image_id": image_id}
        for image_id, boxes in boxes_by_image.items()
        for box in boxes
    ]
    data = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "height": SIZE, "width": SIZE}
            for i in boxes_by_image
        ],
        "annotations": [{**a, "id": number} for number, a in enumerate(annotations)],
        # Not in the order of ids, as exports are not.
        "categories": [{"id": 3 * k + 2, "name": name} for k, name in enumerate(names)][::-1],
    }
    file = folder / "truth.json"
    file.write_text(json.dumps(data))
    register_file(str(file))
    return str(file)


def register_file(name: str) -> None:
    """Make a file of :func:`write_dataset` known in this process."""
    load = partial(load_coco_json, name, str(Path(name).parent), name, ["area"])
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(
        split="valid",
        json_file=name,
        annotation_sha256=hashlib.sha256(Path(name).read_bytes()).hexdigest(),
    )


def to_instances(boxes, scores, classes, size: tuple[int, int] = (SIZE, SIZE)) -> Instances:
    """Detectron2 predictions from boxes (xyxy_abs), scores and classes."""
    instances = Instances(size)
    instances.pred_boxes = Boxes(torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.scores = torch.as_tensor(scores, dtype=torch.float32)
    instances.pred_classes = torch.as_tensor(classes, dtype=torch.int64)
    return instances


def show(evaluator, image_id: int, instances: Instances) -> None:
    """Hand one image to the evaluator as Detectron2's loop does."""
    image = {"image_id": image_id, "height": SIZE, "width": SIZE}
    evaluator.process([image], [{"instances": instances}])


def random_truth(rng: np.random.Generator, classes: int) -> list[dict]:
    """Boxes of one image: tiny and huge, crowds, areas unlike the box, often none at all."""
    boxes = []
    for _ in range(rng.choice([0, 1, 3, 12])):
        size = rng.choice([1.5, 8, 30, 33, 96, 200]) * rng.uniform(0.8, 1.2, 2)
        corner = rng.uniform(0, SIZE - size)
        box = [round(float(value), 2) for value in (*corner, *size)]
        boxes.append(
            {
                "bbox": box,
                "category_id": int(3 * rng.integers(classes) + 2),
                "iscrowd": int(rng.random() < 0.15),
                "area": float(box[2] * box[3] * rng.choice([1.0, 1.0, 0.7])),
            }
        )
    return boxes


def random_predictions(rng: np.random.Generator, truth: list[dict], classes: int) -> Instances:
    """Shaken copies of the truth among false alarms, many scores equal; at times none, or 300."""
    count = int(rng.choice([0, 2, 15, 300], p=[0.2, 0.3, 0.4, 0.1]))
    boxes = rng.uniform(0, SIZE, (count, 4))
    boxes[:, 2:] = boxes[:, :2] + rng.choice([0, 10, 60], (count, 2)) * rng.uniform(0.5, 2)
    labels = rng.integers(classes, size=count)
    for row in range(count):
        if truth and rng.random() < 0.7:
            known = truth[rng.integers(len(truth))]
            x, y, w, h = known["bbox"]
            shake = rng.choice([0, 0.02, 0.1, 0.3]) * np.array([w, h, w, h])
            boxes[row] = np.array([x, y, x + w, y + h]) + shake * rng.uniform(-1, 1, 4)
            labels[row] = (known["category_id"] - 2) // 3
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    steps = rng.choice([3, 10, 10**6])
    return to_instances(boxes, rng.integers(0, steps, count) / steps, labels)


def pycocotools_scores(
    file: Path, results: list[dict[str, Any]], image_ids: list[int]
) -> tuple[dict[str, float | None], COCOeval]:
    """The same scores by pycocotools, and its evaluation for closer looks."""
    data = json.loads(file.read_text())
    for annotation in data["annotations"]:
        annotation["id"] += 1  # it takes a match with id 0 for no match
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = COCO(), COCO()
        truth.dataset = data
        detections = [
            {**r, "id": n, "area": r["bbox"][2] * r["bbox"][3], "iscrowd": 0}
            for n, r in enumerate(results, start=1)
        ]
        found.dataset = {**data, "annotations": detections}
        truth.createIndex()
        found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.imgIds = image_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    scores = dict(zip(STATS, evaluation.stats.tolist(), strict=True))
    for k, category in enumerate(sorted(data["categories"], key=lambda c: c["id"])):
        precision = evaluation.eval["precision"][:, :, k, 0, -1]
        scores[f"AP-{category['name']}"] = float(precision.mean())
    return {key: None if s == -1 else 100 * s for key, s in scores.items()}, evaluation
