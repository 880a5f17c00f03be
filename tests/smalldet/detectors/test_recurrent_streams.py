"""RecurrentDetector: each stream is as if it ran alone, whatever happens around it."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from recurrent_toys import CHANNELS, EchoNeck, chunks, detector, play, recording, small_rvt
from torch import Tensor
from torch.utils.data import DataLoader

from smalldet.detectors.recurrent import RecurrentDetector
from smalldet.engine.evaluate import validation_losses
from smalldet.evaluation.event_frames import labelled_steps
from smalldet.layers.recurrent_state import map_state
from smalldet.necks.pafpn import PAFPN
from toy_detection import one_map

LENGTH = 3
STREAMS = [
    [recording(1, 5), recording(2, 2)],
    [recording(3, 4), recording(4, 3)],
    [recording(5, 8)],
]
HELD_OUT = [[recording(6, 5)], [recording(7, 3)], [recording(8, 1), recording(9, 2)]]


class Collector(DatasetEvaluator):
    """An evaluator that keeps the features of each labelled frame."""

    def __init__(self) -> None:
        self.seen: dict[int, Tensor] = {}

    def reset(self) -> None: ...

    def process(self, inputs, outputs) -> None:
        for sample, step, instances in labelled_steps(inputs, outputs):
            image_id = int(sample["image_ids"][step])
            assert image_id not in self.seen
            self.seen[image_id] = instances.features[0]

    def evaluate(self) -> dict[str, Tensor]:
        return self.seen


def loader(streams: list[list[dict]], workers: int = 0, pad: bool = False) -> DataLoader:
    return DataLoader(play(streams, LENGTH, pad), batch_size=None, num_workers=workers)


def alone(model: RecurrentDetector, streams: list[list[dict]]) -> dict[int, Tensor]:
    """Features of each frame, its recording run by itself in one go."""
    found = {}
    model.eval()
    for whole in (whole for recordings in streams for whole in recordings):
        samples = chunks(whole, len(whole["events"]))
        for output in model(samples):
            image_id = int(samples[0]["image_ids"][output["step"]])
            found[image_id] = output["instances"].features[0].detach()
    return found


def assert_equal(found: dict[int, Tensor], expected: dict[int, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for image_id, features in expected.items():
        torch.testing.assert_close(found[image_id], features, rtol=1e-9, atol=1e-11)


@pytest.fixture(
    scope="module", params=[small_rvt, lambda: EchoNeck(small_rvt())], ids=["rvt", "neck"]
)
def each_alone(request: pytest.FixtureRequest) -> tuple:
    """A model that has seen nothing, and its features of all recordings, each run by itself."""
    model = detector(request.param())
    return copy.deepcopy(model), alone(model, STREAMS), alone(model, HELD_OUT)


@pytest.mark.parametrize("pad", [False, True])
def test_two_workers_three_streams_and_an_evaluation_in_mid_training(each_alone: tuple, pad: bool):
    model, expected, held_out = copy.deepcopy(each_alone)
    for step, batch in enumerate(loader(STREAMS, 2, pad)):
        model(batch)["loss"].backward()
        if step == 1:
            found = inference_on_dataset(model, loader(HELD_OUT, pad=pad), Collector())
            assert_equal(found, held_out)
            before = dict(model.head.seen)
            model.head.seen.clear()
            validation_losses(model, loader(HELD_OUT))
            assert_equal(model.head.seen, held_out)
            model.head.seen = before
    assert_equal(model.head.seen, expected)


@pytest.mark.parametrize("attention", [False, True])
def test_streaming_inference_with_the_path_aggregation_pyramid(attention: bool):
    neck = PAFPN(small_rvt(), depth=0.33, enable_small_object_attention=attention)
    model = detector(neck)
    expected = alone(model, STREAMS)
    with torch.no_grad():
        assert_equal(inference_on_dataset(model, loader(STREAMS), Collector()), expected)


def test_a_backbone_without_memory():
    backbone = one_map()
    backbone.convs["last_feat"] = torch.nn.Conv2d(CHANNELS, 16, 16, 16)
    model = detector(backbone)
    expected = alone(model, STREAMS)
    model.train()
    for batch in loader(STREAMS):
        model(batch)
    assert_equal(model.head.seen, expected)


def test_an_unknown_state_is_zeros_and_reported(caplog):
    model = detector()
    first, second = chunks(recording(1, 4), 2)
    with caplog.at_level(logging.WARNING):
        model([{**second, "is_first": False}])
    assert "Streams [0] go on in the middle of a recording" in caplog.text
    caplog.clear()
    unknown = dict(model.head.seen)
    model.head.seen.clear()
    model([first])
    zeros = map_state(torch.zeros_like, model.recurrent_state()[0])
    for state, is_first in (({0: zeros}, False), (model.recurrent_state(), True)):
        model.load_recurrent_state(state)
        model.head.seen.clear()
        model([{**second, "is_first": is_first}])
        assert_equal(model.head.seen, unknown)
    assert not caplog.records


def test_the_state_survives_a_checkpoint_bit_for_bit(tmp_path):
    batches = play(STREAMS, LENGTH)
    model, resumed = detector(EchoNeck(small_rvt())), detector(EchoNeck(small_rvt()), seed=1)
    for batch in batches[:2]:
        model(batch)
    path = tmp_path / "state.pth"
    torch.save({"model": model.state_dict(), "own": model.recurrent_state()}, path)
    saved = torch.load(path, weights_only=True)
    resumed.load_state_dict(saved["model"])
    resumed.load_recurrent_state(saved["own"])
    model.head.seen.clear()
    for batch in batches[2:]:
        model(batch)
        resumed(batch)
    assert model.head.seen.keys() == resumed.head.seen.keys()
    for image_id, features in model.head.seen.items():
        assert torch.equal(resumed.head.seen[image_id], features)


def test_a_change_of_mode_forgets_what_was_watched():
    model = detector().eval()
    model(chunks(recording(1, 2), 2))
    assert len(model._watched) == 1
    model.eval()
    assert len(model._watched) == 1
    model.train()
    assert len(model._watched) == 0
