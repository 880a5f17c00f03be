"""The training loop: accumulation, clipping, the NaN guard, and exact resume."""

from __future__ import annotations

import copy

import pytest
import torch
from detectron2.utils.events import EventStorage
from toys import (
    ToyLoader,
    ToyModel,
    assert_same_weights,
    kill_toy,
    metrics,
    settings_for,
    toy_trainer,
    train_toy,
)

from smalldet.engine.optim import total_gradient_norm
from smalldet.engine.settings import TrainSettings
from smalldet.engine.trainer import NonFiniteLoss
from smalldet.layers.step_normalised import StepNormalised


def one_step(**options):
    return step(toy_trainer(**options))


def assert_same_gradients(first, second):
    for a, b in zip(first.parameters, second.parameters, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-7)


def step(trainer):
    trainer.loader.seek(0)
    trainer._batches = iter(trainer.loader)
    trainer.max_iter = 1
    with EventStorage(0) as trainer.storage:
        trainer.run_step()
    return trainer


@pytest.mark.parametrize("micro", [1, 2, 4])
def test_accumulated_gradients_equal_those_of_one_batch(micro):
    whole = one_step(micro=8)
    parts = one_step(micro=micro)
    assert_same_gradients(whole, parts)
    for name in ("total_loss", "loss_square", "grad_norm"):
        expected = whole.storage.latest()[name][0]
        assert parts.storage.latest()[name][0] == pytest.approx(expected, rel=1e-5)


def test_unequal_micro_batches_count_by_their_images():
    whole, parts = toy_trainer(), toy_trainer()
    images = next(iter(ToyLoader(8, 8)))[0]
    whole._accumulate([images])
    parts._accumulate([images[:5], images[5:]])
    assert_same_gradients(whole, parts)


class SummingModel(ToyModel, StepNormalised):
    """The toy model with sums for losses, divided by the number of samples of the whole step."""

    def begin_step(self):
        self.seen = 0

    def forward(self, batch):
        self.seen += len(batch)
        return {name: loss * len(batch) for name, loss in super().forward(batch).items()}

    def end_step(self):
        return torch.tensor(1 / self.seen)


def test_a_model_may_divide_by_what_the_whole_step_holds():
    whole = one_step(micro=8)
    summing = toy_trainer(micro=2, model=SummingModel())
    summing.model.load_state_dict(toy_trainer().model.state_dict())
    step(summing)
    assert_same_gradients(whole, summing)
    logged = [t.storage.latest()["total_loss"][0] for t in (whole, summing)]
    assert logged[0] == pytest.approx(logged[1], rel=1e-5)


def test_clipping_bounds_the_norm_or_each_entry_and_logs_the_norm_before():
    free, by_norm, by_value = (
        one_step(**clip) for clip in ({}, {"clip_grad_norm": 0.01}, {"clip_grad_value": 0.01})
    )
    assert float(total_gradient_norm(by_norm.parameters)) <= 0.01 * (1 + 1e-5)
    for a, b in zip(free.parameters, by_value.parameters, strict=True):
        torch.testing.assert_close(b.grad, a.grad.clamp(-0.01, 0.01))
    norms = [trainer.storage.latest()["grad_norm"] for trainer in (free, by_norm, by_value)]
    assert norms == [norms[0]] * 3


def test_bf16_trains_on_a_cpu_with_fp32_weights_and_fp16_is_refused_there():
    trainer = one_step(amp_dtype="bf16")
    assert all(p.dtype == torch.float32 and p.grad is not None for p in trainer.parameters)
    with pytest.raises(ValueError, match="on a CPU use bf16"):
        toy_trainer(amp_dtype="fp16")


@pytest.mark.gpu
def test_fp16_scales_and_unscales_on_a_gpu():
    model = ToyModel().cuda()
    plain, scaled = (
        step(toy_trainer(model=copy.deepcopy(model), amp_dtype=a)) for a in (None, "fp16")
    )
    for a, b in zip(plain.parameters, scaled.parameters, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-2, atol=1e-3)


class FailingModel(ToyModel):
    """Finds a NaN by itself, as Detectron2's proposals do."""

    def forward(self, batch):
        raise FloatingPointError("Predicted boxes contain NaN")


def test_a_nan_inside_the_model_is_dumped_as_well(tmp_path):
    trainer = toy_trainer(dump_folder=tmp_path, model=FailingModel())
    trainer.iter = 3
    with pytest.raises(NonFiniteLoss, match="boxes contain NaN"):
        trainer._accumulate_what_fits(next(iter(ToyLoader(8, 8))))
    assert torch.load(tmp_path / "nan_dump.pth", weights_only=True)["iteration"] == 3


def test_nan_stops_the_run_with_a_dump(tmp_path):
    trainer = toy_trainer(micro=4, dump_folder=tmp_path)
    trainer.iter = 7
    batch = next(iter(ToyLoader(8, 4)))[0]
    batch[1]["y"] = torch.tensor(float("nan"))
    with pytest.raises(NonFiniteLoss, match="iteration 7"):
        trainer._accumulate_what_fits([batch])
    dump = torch.load(tmp_path / "nan_dump.pth", weights_only=True)
    assert dump["image_ids"] == [0, 1, 2, 3]
    assert dump["values"].keys() == {"loss_square", "loss_absolute"}
    assert torch.equal(dump["model"]["first.weight"], trainer.model.first.weight)


def test_kill_and_resume_equal_one_run_to_the_last_digit(tmp_path):
    whole = train_toy(tmp_path / "whole", 8)
    kill_toy(tmp_path / "parts", 8, stop_at=4)  # dies in step 5, after the checkpoint of 3
    assert len(metrics(tmp_path / "parts")) > 4  # steps after the checkpoint were written too
    parts = train_toy(tmp_path / "parts", 8)
    assert parts.start_iter == 4
    assert metrics(parts) == metrics(whole)
    assert_same_weights(parts, whole)
    assert parts.evaluation.best_iteration == whole.evaluation.best_iteration


def test_a_checkpoint_of_another_model_is_not_resumed(tmp_path):
    train_toy(tmp_path, 2)
    path = tmp_path / (tmp_path / "last_checkpoint").read_text()
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["model"]["first.weight"] = torch.zeros(1, 1)
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r"first\.weight is \(1, 1\) instead of"):
        train_toy(tmp_path, 4)


def test_best_score_survives_resume(tmp_path):
    scores = {1: 10.0, 3: 5.0, 5: 7.0, 7: 9.0}
    kill_toy(tmp_path, 8, stop_at=4, scores=scores)
    resumed = train_toy(tmp_path, 8, scores=scores)
    assert (resumed.evaluation.best_score, resumed.evaluation.best_iteration) == (10.0, 1)
    best = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert (best["score"], best["iteration"]) == (10.0, 1)


def test_undefined_scores_are_null_and_never_best(tmp_path):
    trainer = train_toy(tmp_path, 4, scores={1: None, 3: 1.0})
    by_step = {row["iteration"]: row for row in metrics(tmp_path)}
    assert by_step[1]["bbox/AP"] is None and by_step[3]["bbox/APs"] is None
    assert trainer.evaluation.best_iteration == 3


def test_resume_with_another_batch_size_is_refused(tmp_path):
    train_toy(tmp_path, 2)
    state = torch.load(tmp_path / "model_final.pth", weights_only=True)["trainer"]
    other = toy_trainer()
    other.total_batch_size = 4
    with pytest.raises(ValueError, match="total_batch_size=4"):
        other.load_state_dict(state)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_iter", 0),
        ("micro_batch_size", -1),
        ("on_oom", "half"),
        ("log_period", 0),
        ("checkpointer", {"max_to_keep": 0}),
        ("keep_every", -1),
        ("clip_grad_norm", -0.1),
        ("ema_decay", 1.0),
        ("amp", {"enabled": True, "dtype": "fp8"}),
        ("ddp", {"broadcast_buffer": True}),
        ("best_metric", "validation/total_loss"),
        *(("profile", text) for text in ("10", "20:10", "5:5", "a:b", "-1:3", "1:2:3")),
    ],
)
def test_settings_refuse_what_makes_no_sense_by_its_key(tmp_path, field, value):
    values = vars(settings_for(tmp_path, 2)) | {field: value}
    with pytest.raises(ValueError, match=rf"train\.{field}"):
        TrainSettings(**values)
