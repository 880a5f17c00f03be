"""What TensorBoard is given, read back as it reads it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from smalldet.engine.writers import TensorBoardWriter


def events_of(folder) -> EventAccumulator:
    return EventAccumulator(str(folder), {"images": 0, "scalars": 0}).Reload()


def write(folder, steps, scores, start: int = 0) -> None:
    writer = TensorBoardWriter(folder, start)
    with EventStorage(start) as storage:
        for storage.iter in steps:
            storage.put_scalars(total_loss=2.0, lr=0.1, time=1.0, memory_mb=5.0)
            for name, score in scores.items():
                storage.put_scalar(name, score, smoothing_hint=False)
            storage.put_image("found", np.full((3, 4, 6), storage.iter, np.uint8))
            writer.write()
            writer.write()  # of what is written nothing is written again
    writer.close()


def test_scalars_stand_in_groups_and_undefined_ones_nowhere(tmp_path):
    write(tmp_path, range(3), {"bbox/AP": 50.0, "bbox/AP-bus": math.nan})
    tags = events_of(tmp_path).Tags()
    names = ["bbox/AP", "loss/total_loss", "memory/memory_mb", "optimizer/lr", "time/time"]
    assert sorted(tags["scalars"]) == names
    scores = [(e.step, e.value) for e in events_of(tmp_path).Scalars("bbox/AP")]
    assert scores == [(0, 50.0), (1, 50.0), (2, 50.0)]


def test_each_picture_once_and_at_its_step(tmp_path):
    write(tmp_path, [4, 9], {})
    images = events_of(tmp_path).Images("found")
    assert [(e.step, e.width, e.height) for e in images] == [(4, 6, 4), (9, 6, 4)]


def test_steps_after_the_checkpoint_are_hidden_by_those_of_the_resumed_run(tmp_path):
    write(tmp_path, range(4), {"bbox/AP": 1.0})
    write(tmp_path, range(2, 4), {"bbox/AP": 2.0}, start=2)
    scores = [(e.step, e.value) for e in events_of(tmp_path).Scalars("bbox/AP")]
    assert scores == [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0)]


def test_histograms_as_detectron2_puts_them(tmp_path):
    writer = TensorBoardWriter(tmp_path, 0)
    with EventStorage(0) as storage:
        storage.put_histogram("weights", torch.arange(10.0))
        writer.write()
        writer.write()
    writer.close()
    (event,) = events_of(tmp_path).Histograms("weights")
    assert event.histogram_value.num == pytest.approx(10)
