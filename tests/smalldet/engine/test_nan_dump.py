"""The dump of a step with a NaN raises the same error again, and says where it begins."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from torch import nn
from toys import ToyModel, toy_trainer

from smalldet.engine.faults.nan_dump import ENTRIES, read_dump
from smalldet.engine.faults.reproduce import rebuilt_trainer, repeat_step, reproduce, tensors_of
from smalldet.engine.trainer import NonFiniteLoss, Trainer

NAN = torch.tensor(float("nan"))


class Chance(ToyModel):
    """Has a layer whose output, or the gradient of it, is not finite as the generators choose; it
    remembers, too."""

    def __init__(self, mode: str = "") -> None:
        super().__init__(noise=0.5)
        self.between = Fragile(mode)
        self.past = {"a stream": torch.zeros(2)}

    def forward(self, batch):
        losses = super().forward(batch)
        drawn = torch.rand(()) + random.random() + np.random.rand() + self.past["a stream"].sum()
        self.past["a stream"] = self.past["a stream"] + 0.01
        return losses | {"loss_drawn": self.between(self.second.weight.square().mean(), drawn)}

    def recurrent_state(self, on_cpu: bool = True):
        return dict(self.past)

    def load_recurrent_state(self, states):
        self.past = dict(states)


class Fragile(nn.Module):
    """Its input, infinite or with an infinite gradient where the number drawn is large."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.scale = nn.Identity()

    def forward(self, x, drawn):
        x = self.scale(x) + drawn
        if self.mode == "forward":
            return x / (drawn < 2.5)
        if self.mode == "backward":
            return x if drawn < 2.5 else (x - x).sqrt()  # 0, with an infinite slope
        return x


CFG = {
    "model": {"_target_": "test_nan_dump.Chance"},
    "dataloader": {"train": {}},
    "optimizer": {
        "_target_": "torch.optim.AdamW",
        "params": {"_target_": "test_nan_dump.all_parameters"},
        "lr": 0.01,
    },
    "train": {"device": "cpu"},
}


def all_parameters(model: nn.Module) -> list[nn.Parameter]:
    return list(model.parameters())


def config(mode: str = "") -> dict:
    return CFG | {"model": CFG["model"] | {"mode": mode}}


def failed(folder, mode: str = "", spoil=lambda trainer, samples: None) -> tuple[Trainer, str]:
    """A run that has met a NaN, after some steps, and its message."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    trainer = toy_trainer(micro=2, model=Chance(mode), dump_folder=folder)

    class Spoilt:
        seek = trainer.loader.seek

        def __iter__(self):
            for number, step in enumerate(toy_loader):
                if number == 2:
                    spoil(trainer, [sample for batch in step for sample in batch])
                yield step

    toy_loader, trainer.loader = trainer.loader, Spoilt()
    with pytest.raises(NonFiniteLoss) as caught:
        trainer.train(0, 200)
    return trainer, str(caught.value)


def weight(trainer, samples):
    with torch.no_grad():
        trainer.model.second.weight[0, 3] = float("inf")


def target(trainer, samples):
    samples[5]["y"] = NAN.clone()


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        (
            {"spoil": weight},
            ["weights: second.weight", "second (Linear), whose inputs were fin"],
        ),
        ({"spoil": target}, ["samples: sample 5: y", "of the model itself (Chance)"]),
        ({"mode": "forward"}, ["forward pass: the output of between (Fragile)"]),
        ({"mode": "backward"}, ["backward pass: the gradient at the output of between.scale"]),
    ],
)
def test_the_same_error_comes_again_and_where_it_begins_is_said(tmp_path, options, facts):
    trainer, message = failed(tmp_path, **options)
    dump = read_dump(tmp_path / "nan_dump.pth")
    assert str(tmp_path / "nan_dump.pth") in message and message.startswith(dump["error"])
    assert dump["iteration"] == trainer.iter > 1
    cfg = config(options.get("mode", ""))
    for _ in range(2):  # nothing but the dump matters
        torch.rand(3), random.random()
        with pytest.raises(NonFiniteLoss) as caught:
            repeat_step(rebuilt_trainer(dump, cfg), dump["iteration"])
        assert str(caught.value) == dump["error"]
    is_raised, lines = reproduce(dump, cfg)
    assert is_raised and dump["error"] in lines[0] and len(lines) <= 4
    assert all(any(fact in line for line in lines) for fact in facts), lines
    assert not list(tmp_path.glob("*/nan_dump.pth")) and len(list(tmp_path.iterdir())) == 1


def test_what_a_change_mends_is_said_to_be_finite(tmp_path):
    failed(tmp_path, mode="forward")
    dump = read_dump(tmp_path / "nan_dump.pth")
    is_raised, lines = reproduce(dump, config())
    assert not is_raised and dump["error"] in lines[0] and "finite" in lines[1]


def test_a_dump_has_all_that_the_step_depends_on(tmp_path):
    trainer, _ = failed(tmp_path, mode="forward")
    dump = read_dump(tmp_path / "nan_dump.pth")
    assert dump.keys() >= ENTRIES.keys() | {"values", "image_ids", "file_names"}
    ids = [sample["image_id"] for batch in dump["micro_batches"] for sample in batch]
    assert ids == list(range(8 * trainer.iter, 8 * trainer.iter + 8))
    assert set(dump["image_ids"]) < set(ids) and len(dump["image_ids"]) == 2
    assert dump["random"].keys() >= {"python", "numpy", "torch"}
    assert dump["recurrent"]["a stream"][0] == pytest.approx(0.04 * trainer.iter)
    assert dump["optimizer"]["state"][0]["step"] == trainer.iter
    rebuilt = rebuilt_trainer(dump, config("forward"))
    for a, b in zip(rebuilt.parameters, trainer.parameters, strict=True):
        assert torch.equal(a, b)


def test_targets_of_detectron2_come_back(tmp_path):
    instances = Instances((4, 6), gt_boxes=Boxes(torch.ones(2, 4)), gt_classes=torch.zeros(2))

    def add(trainer, samples):
        samples[0] |= {"instances": instances, "boxes": [None, torch.ones(1, 4)], "y": NAN}

    failed(tmp_path, spoil=add)
    sample = read_dump(tmp_path / "nan_dump.pth")["micro_batches"][0][0]
    assert sample["instances"].image_size == (4, 6) and sample["boxes"][0] is None
    found = dict(tensors_of(sample))
    assert found.keys() >= {"instances.gt_boxes.tensor", "instances.gt_classes", "boxes.1", "x"}
    assert torch.equal(found["instances.gt_boxes.tensor"], torch.ones(2, 4))


def test_where_no_dump_can_be_written_the_nan_is_still_the_reason(tmp_path):
    def unpicklable(trainer, samples):
        samples[0] |= {"y": NAN, "hook": lambda: None}

    _, message = failed(tmp_path, spoil=unpicklable)
    assert message.startswith("A loss was not finite") and "could not be written" in message
    assert not list(tmp_path.glob("*.pth*"))


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("place", ["micro_batches", "optimizer", "config"])
def test_no_foreign_code_is_run(tmp_path, place):
    failed(tmp_path, spoil=target)
    path, trap = tmp_path / "nan_dump.pth", tmp_path / "trap"
    torch.save(read_dump(path) | {place: [Trap(trap)]}, path)
    trap.unlink(missing_ok=True)
    with pytest.raises(ValueError, match="Python objects"):
        read_dump(path)
    path.write_bytes(pickle.dumps(Trap(trap), protocol=2))
    trap.unlink(missing_ok=True)
    with pytest.raises(ValueError, match="cannot be read"):
        read_dump(path)
    assert not trap.exists()


def test_what_is_no_dump_or_does_not_fit_is_a_sentence(tmp_path):
    path = tmp_path / "nan_dump.pth"
    with pytest.raises(FileNotFoundError, match="There is no dump"):
        read_dump(path)
    failed(tmp_path, spoil=target)
    dump = read_dump(path)
    for lacking in ENTRIES:
        torch.save({key: value for key, value in dump.items() if key != lacking}, path)
        with pytest.raises(ValueError, match=f"does not say {lacking}"):
            read_dump(path)
    for odd in ([], 3, {"model": 1}, dump | {"micro_batches": {}}, dump | {"random": None}):
        torch.save(odd, path)
        with pytest.raises(ValueError, match="does not say"):
            read_dump(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="cannot be read"):
        read_dump(path)
    for name, odd in {"model": {}, "optimizer": {}, "recurrent": {1: 2}, "random": {}}.items():
        with pytest.raises(ValueError, match=r"do not fit|fails in another way"):
            reproduce(dump | {name: odd}, config())
    with pytest.raises(ValueError, match="fails in another way"):
        reproduce(dump | {"micro_batches": [[{}]]}, config())
