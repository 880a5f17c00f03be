"""Frames of recordings, each evaluated once; and two processes that train together."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.evaluation import inference_on_dataset
from recurrent_toys import HEIGHT, WIDTH, chunks, detector, play, recording
from torch.nn.parallel import DistributedDataParallel

from smalldet.data import register
from smalldet.evaluation.event_boxes import EventBoxEvaluator
from toy_detection import gradients

RECORDINGS = [[recording(1, 5)], [recording(2, 3), recording(3, 4, labelled=(3,))]]
IDS = [100, 102, 103, 200, 202, 303]  # of the labelled frames


def data_set(downsample: str) -> str:
    """Registered name of four recordings of 100 steps: recording n has the ids 100 * n on."""
    facts = {"num_steps": 100, "downsample": downsample, "close": lambda: None}
    facts["left_out"] = Counter()
    recordings = [SimpleNamespace(name=f"r{n}", **facts) for n in range(4)]
    class_map = SimpleNamespace(name="toy", classes=("frame",), small=())
    dataset = SimpleNamespace(
        name=f"frames_{downsample}",
        splits=("val",),
        records=lambda split: recordings,
        metadata=lambda split: {"split": split, "class_map": class_map},
    )
    return register(dataset)["val"]


def as_found(sample: dict[str, Any]) -> dict[str, Any]:
    """``sample`` in which each labelled frame is one object, all of it, as the toy head finds."""
    whole = torch.tensor([[0.0, 0, WIDTH, HEIGHT]])
    boxes = [None if x is None else whole for x in sample["boxes"]]
    classes = [None if x is None else torch.zeros(1, dtype=torch.long) for x in sample["classes"]]
    return {**sample, "boxes": boxes, "classes": classes}


@pytest.mark.parametrize("downsample", ["none", "nearest"])
def test_every_labelled_frame_is_an_image(tmp_path, downsample: str):
    evaluator = EventBoxEvaluator(data_set(downsample), str(tmp_path), protocols=())
    batches = [[as_found(sample) for sample in batch] for batch in play(RECORDINGS, 2)]
    scores = inference_on_dataset(detector(), batches, evaluator)["bbox"]
    assert scores["AP"] == pytest.approx(100)
    assert scores["num_images"] == scores["num_predictions"] == len(IDS)
    results = json.loads((tmp_path / "predictions.json").read_text())
    assert [found["image_id"] for found in results] == IDS
    scale = 1 if downsample == "none" else 2
    assert all(found["bbox"] == [0, 0, scale * WIDTH, scale * HEIGHT] for found in results)


def test_a_frame_without_an_image_id():
    model = detector().eval()
    evaluator = EventBoxEvaluator(data_set("none"))
    sample = as_found(chunks(recording(1, 2), 2)[0]) | {"image_ids": torch.tensor([-1, -1])}
    with pytest.raises(ValueError, match="Image id -1 is not among the 400 steps"):
        evaluator.process([sample], model([sample]))


def train_part(rank: int, folder: Any) -> None:
    """Process 0 has labels in both steps, process 1 in the second only."""
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    model = DistributedDataParallel(detector(), broadcast_buffers=False)
    labelled = ((0, 1, 2, 3), (3,))[rank]
    for sample in chunks(recording(rank, 4, labelled), 2, stream=rank):
        model.zero_grad()
        model([sample])["loss"].backward()
    torch.save((gradients(model.module), model.module.recurrent_state()), folder / f"{rank}.pth")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_of_which_one_has_no_labels_for_a_while(tmp_path):
    mp.spawn(train_part, (tmp_path,), nprocs=2)
    (first, one), (second, two) = (torch.load(tmp_path / f"{rank}.pth") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (list(one), list(two)) == ([0], [1])
