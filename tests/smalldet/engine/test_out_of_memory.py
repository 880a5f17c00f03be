"""Too little memory on the GPU, simulated: a sentence, or the same step in smaller parts."""

from __future__ import annotations

import re

import pytest
import torch
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import nn
from toys import (
    ToyLoader,
    ToyModel,
    assert_same_weights,
    kill_toy,
    metrics,
    toy_trainer,
    train_toy,
)

from runfolder.records import read_record, start_record
from smalldet.engine.faults.memory import in_evaluation, in_micro_batches, smaller
from smalldet.engine.hooks.micro_batch import RecordMicroBatch
from smalldet.layers.step_normalised import StepNormalised

ERROR = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class SmallGpu(ToyModel):
    """Fits ``most`` samples at a time; what it has drawn and counted by then is not undone."""

    def __init__(self, most: int, error: Exception = ERROR, fails_from: int = 0) -> None:
        super().__init__(noise=0.5)
        self.norm = nn.BatchNorm1d(1)
        self.most, self.error, self.fails_from = most, error, fails_from
        self.steps = self.failures = 0
        self.memory: dict[str, torch.Tensor] = {"a stream": torch.zeros(())}

    def forward(self, batch):
        x = self.norm(torch.stack([sample["x"] for sample in batch])[:, None])
        past = self.memory["a stream"]
        self.memory["a stream"] = 0.9 * past + x.detach().sum()
        losses = super().forward(batch)
        get_event_storage().put_scalar("toys/drawn", losses["loss_square"].item())
        if len(batch) > self.most and self.steps >= self.fails_from:
            self.failures += 1
            raise self.error
        self.steps += 1
        return losses | {"loss_norm": x.square().mean() + 1e-3 * past}

    def recurrent_state(self, on_cpu: bool = True):
        return dict(self.memory)

    def load_recurrent_state(self, states):
        self.memory = dict(states)


def small_gpu(most: int, **options) -> ToyModel:
    torch.manual_seed(0)
    return SmallGpu(most, **options)


def take_steps(trainer, count: int = 1):
    trainer.train(0, count)
    return trainer


def test_by_default_the_run_stops_and_following_the_advice_it_fits():
    with pytest.raises(ValueError, match="out of memory: a micro-batch of 8 did not") as caught:
        take_steps(toy_trainer(model=small_gpu(4)))
    found = re.search(r"train\.micro_batch_size=(\d+)", str(caught.value))
    assert found and "train.on_oom=halve" in str(caught.value)
    model = small_gpu(4)
    take_steps(toy_trainer(model=model, micro_batch_size=int(found[1])))
    assert (model.steps, model.failures) == (2, 0)


def test_halved_in_the_first_step_it_is_the_run_that_began_with_that_micro_batch(tmp_path):
    halved = train_toy(tmp_path / "halved", 4, model=small_gpu(3), on_oom="halve")
    begun = train_toy(tmp_path / "begun", 4, model=small_gpu(8), micro=2)
    assert (halved.micro_batch_size, halved.model.failures) == (2, 2)  # of 8 and of 4
    assert metrics(halved) == metrics(begun)
    assert_same_weights(halved, begun)
    for a, b in zip(halved.model.buffers(), begun.model.buffers(), strict=True):
        assert torch.equal(a, b)
    assert halved.model.memory == begun.model.memory


def test_halved_later_the_same_samples_follow():
    """Without draws, norms and memory the numbers are those of the large micro-batch."""

    class Plain(SmallGpu):
        def forward(self, batch):
            self.seen = [*getattr(self, "seen", []), *(sample["image_id"] for sample in batch)]
            if len(batch) > self.most and self.steps >= self.fails_from:
                self.seen = self.seen[: -len(batch)]
                raise self.error
            self.steps += 1
            return ToyModel.forward(self, batch)

    runs = []
    for most in (4, 8):
        torch.manual_seed(0)
        model = Plain(most, fails_from=2)
        model.noise = 0.0
        runs.append(take_steps(toy_trainer(model=model, on_oom="halve"), 4))
    halved, whole = runs
    assert (halved.model.steps, whole.model.steps) == (2 + 2 * 2, 4)
    assert halved.model.seen == whole.model.seen == list(range(32))
    for a, b in zip(halved.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_resumed_run_goes_on_with_what_fitted(tmp_path):
    whole = train_toy(tmp_path / "whole", 8, model=small_gpu(4), on_oom="halve")
    options = {"on_oom": "halve"}
    kill_toy(tmp_path / "parts", 8, stop_at=4, model=small_gpu(4), **options)
    resumed = train_toy(tmp_path / "parts", 8, model=small_gpu(4), on_oom="stop")
    assert (resumed.start_iter, resumed.model.failures) == (4, 0)
    assert metrics(resumed) == metrics(whole)
    assert_same_weights(resumed, whole)


def test_sums_are_divided_by_what_the_whole_step_holds():
    class Summing(SmallGpu, StepNormalised):
        def begin_step(self):
            self.count = 0

        def forward(self, batch):
            self.count += len(batch)
            return {name: len(batch) * loss for name, loss in super().forward(batch).items()}

        def end_step(self):
            return torch.tensor(1 / self.count)

    runs = []
    for most, micro in ((2, 8), (8, 2)):
        torch.manual_seed(0)
        model = Summing(most)
        runs.append(take_steps(toy_trainer(micro, model=model, on_oom="halve")))
    assert_same_weights(*runs)


@pytest.mark.parametrize("sizes", [(8,), (9,), (10,), (7, 7), (5, 3), (4, 4, 4), (2,)])
def test_a_smaller_micro_batch_is_the_largest_half_that_divides_the_step(sizes):
    batches = [[{"image_id": n} for n in range(size)] for size in sizes]
    less, total = smaller(batches, "halve", ERROR), sum(sizes)
    assert less == max(n for n in range(1, max(sizes) // 2 + 1) if total % n == 0)
    parts = in_micro_batches(batches, less)
    assert {len(part) for part in parts} == {less}
    assert [s for part in parts for s in part] == [s for batch in batches for s in batch]
    assert in_micro_batches(batches, 0) is in_micro_batches(batches, max(sizes)) is batches


def test_one_sample_that_does_not_fit_ends_the_run_whatever_was_asked_for():
    with pytest.raises(ValueError, match=r"micro-batch of 1 did not fit.*amp") as caught:
        take_steps(toy_trainer(model=small_gpu(0), on_oom="halve"))
    assert "micro_batch_size=" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), KeyError("x")],
)
def test_other_errors_as_of_the_hosts_memory_are_left_alone(error):
    model = small_gpu(4, error=error)
    with pytest.raises(type(error)) as caught:
        take_steps(toy_trainer(model=model, on_oom="halve"))
    assert caught.value is error and model.failures == 1


def test_what_the_optimizer_lacks_no_micro_batch_gives(monkeypatch):
    trainer = toy_trainer(on_oom="halve")

    def fail(*_):
        raise ERROR

    monkeypatch.setattr(trainer.optimizer, "step", fail)
    with pytest.raises(ValueError, match=r"optimizer's step.* has no part"):
        take_steps(trainer)


@pytest.mark.parametrize(("size", "less"), [(8, "4"), (3, "1"), (1, None)])
def test_an_evaluation_that_does_not_fit_says_what_to_try(size, less):
    with pytest.raises(ValueError, match="out of memory") as caught, in_evaluation("valid", size):
        raise ERROR
    said = str(caught.value)
    found = re.search(r"dataloader\.valid\.batch_size=(\d+)", said)
    assert (found and found[1]) == less and "--resume" in said and caught.value.__cause__ is ERROR
    assert ("train.device=cpu" in said) == (less is None)


def test_several_processes_do_not_halve_and_are_not_told_to(monkeypatch):
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match=r"train\.on_oom=halve works in one process"):
        toy_trainer(on_oom="halve")
    with pytest.raises(ValueError, match=r"micro_batch_size=4") as caught:
        smaller(next(iter(ToyLoader(8, 8))), "stop", ERROR)
    assert "on_oom" not in str(caught.value)


def test_the_record_has_the_micro_batch_used_from_the_step_on_and_no_other(tmp_path):
    start_record(tmp_path, ["train"])
    trainer = toy_trainer(model=small_gpu(4, fails_from=2), micro_batch_size=8, on_oom="halve")
    noted = []

    class Watch(RecordMicroBatch):
        def after_step(self):
            super().after_step()
            record = read_record(tmp_path)
            noted.append((record.micro_batch_size, record.micro_batch_step))

    trainer.register_hooks([Watch(tmp_path, 8)])
    take_steps(trainer, 4)
    assert noted == [*[(None, None)] * 3, (4, 2), (4, 2)]
    resumed = start_record(tmp_path, ["train", "--resume"])
    assert (resumed.micro_batch_size, resumed.micro_batch_step) == (4, 2)
    again = toy_trainer(micro_batch_size=8)  # from before that step
    again.register_hooks([RecordMicroBatch(tmp_path, 8)])
    take_steps(again)
    assert read_record(tmp_path).micro_batch_size is None
    take_steps(toy_trainer(micro_batch_size=8))  # nothing is written without the hook
