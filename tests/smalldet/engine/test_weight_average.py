"""The average of the weights: its formula, exact resume, and no trace in the training beside it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from toys import ToyModel, assert_same_weights, kill_toy, metrics, train_toy

from smalldet.engine.hooks.ema import WeightAverage
from smalldet.engine.weights import load_weights


def weights(model) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("decay", [0.05, 0.5, 0.999])
def test_equals_the_formula_step_by_step(decay):
    model = ToyModel()
    average = WeightAverage(model, decay)
    expected = {name: value.double() for name, value in weights(model).items()}
    for t in range(20):
        for weight in model.parameters():
            weight.data += torch.randn_like(weight)
        average.update()
        d = min(decay, (1 + t) / (10 + t))
        for name, weight in model.named_parameters():
            expected[name] = d * expected[name] + (1 - d) * weight.detach().double()
    with average.in_place():
        for name, weight in model.named_parameters():
            torch.testing.assert_close(weight.detach().double(), expected[name], rtol=0, atol=1e-5)


def test_constant_weights_have_themselves_as_average():
    model = ToyModel()
    before, average = weights(model), WeightAverage(model, 0.9)
    for _ in range(5):
        average.update()
    with average.in_place():
        assert all(torch.equal(value, before[name]) for name, value in weights(model).items())


def test_the_weights_come_back_even_after_an_error():
    model = ToyModel()
    average = WeightAverage(model, 0.9)
    model.first.weight.data += 1
    before, parameters = weights(model), list(model.parameters())
    with pytest.raises(RuntimeError), average.in_place():
        assert not torch.equal(model.first.weight, before["first.weight"])
        raise RuntimeError
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))


def test_frozen_parameters_and_buffers_have_no_copy():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    average = WeightAverage(model, 0.9)
    assert list(average.state_dict()["average"]) == ["1.weight", "1.bias", "2.weight", "2.bias"]
    frozen, mean = model[0].weight.data_ptr(), model[1].running_mean.data_ptr()
    with average.in_place():
        assert (model[0].weight.data_ptr(), model[1].running_mean.data_ptr()) == (frozen, mean)


def test_training_with_an_average_is_the_same_training(tmp_path):
    plain = train_toy(tmp_path / "plain", 8)
    both = train_toy(tmp_path / "both", 8, decay=0.9)
    assert_same_weights(plain, both)
    raw = [{k: v for k, v in row.items() if not k.startswith("ema/")} for row in metrics(both)]
    assert raw == metrics(plain)
    scored = [row for row in metrics(both) if "ema/bbox/AP" in row]
    assert len(scored) == 4 and all(row["ema/bbox/AP"] != row["bbox/AP"] for row in scored)


def test_kill_and_resume_give_the_same_average(tmp_path):
    whole = train_toy(tmp_path / "whole", 8, decay=0.9)
    kill_toy(tmp_path / "parts", 8, stop_at=4, decay=0.9)
    parts = train_toy(tmp_path / "parts", 8, decay=0.9)
    assert metrics(parts) == metrics(whole)
    ours, theirs = (run.average.average.state_dict() for run in (parts, whole))
    assert ours["updates"] == theirs["updates"] == 8
    assert all(torch.equal(ours["average"][k], v) for k, v in theirs["average"].items())
    assert parts.average.best_iteration == whole.average.best_iteration


def test_the_best_average_is_kept_in_a_file_of_its_own(tmp_path):
    trainer = train_toy(tmp_path, 4, decay=0.9)
    best, average = ToyModel(), ToyModel()
    assert load_weights(best, tmp_path / "model_best.pth")["score"] == trainer.evaluation.best_score
    kept = load_weights(average, tmp_path / "model_best_ema.pth")
    assert kept["score"] == trainer.average.best_score
    assert kept["score"] == pytest.approx(-average.first.weight.abs().sum().item())
    assert not torch.equal(best.first.weight, average.first.weight)


def test_a_saved_average_is_not_tied_to_the_one_that_goes_on():
    model = ToyModel()
    average, other = WeightAverage(model, 0.9), WeightAverage(ToyModel(), 0.9)
    other.load_state_dict(average.state_dict())
    before = copy.deepcopy(other.state_dict()["average"])
    model.first.weight.data += 1
    average.update()
    assert all(torch.equal(value, before[k]) for k, value in other.state_dict()["average"].items())
