"""Checkpoints, writers, random state, optimizer groups, validation loss."""

from __future__ import annotations

import json
import math
import random
import sys
import types

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage, get_event_storage
from torch import nn
from toys import ToyModel, sample

from smalldet.engine.checkpoint import (
    RunCheckpointer,
    link_or_copy,
    prune_checkpoints,
    save_whole,
)
from smalldet.engine.evaluate import flat_scores, parameter_counts, validation_losses
from smalldet.engine.optim import parameter_groups
from smalldet.engine.random_state import (
    capture_random_state,
    preserved_random_state,
    restore_random_state,
)
from smalldet.engine.weights import load_weights
from smalldet.engine.writers import LogPrinter, StrictJSONWriter, WandbWriter, rewind_metrics
from smalldet.layers.norms import ChannelLayerNorm


def draws():
    return random.random(), np.random.rand(3).tolist(), torch.rand(3).tolist()


def test_random_state_round_trips_through_a_file_and_hides_draws_even_after_an_error(tmp_path):
    torch.save(capture_random_state(), tmp_path / "state.pth")
    expected = draws()
    restore_random_state(torch.load(tmp_path / "state.pth", weights_only=True))
    with pytest.raises(RuntimeError), preserved_random_state():
        draws()
        raise RuntimeError
    assert draws() == expected


def test_a_save_that_dies_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.pth"
    save_whole({"model": {"a": torch.ones(2)}}, path)

    def dies(data, stream):
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(OSError, match="disk full"):
        save_whole({"model": {}}, path)
    assert torch.load(path, weights_only=True)["model"]["a"].sum() == 2


@pytest.mark.parametrize("steps", [(10, 20, 30, 40, 50), (9, 19, 29, 39, 49)])  # new names, old
def test_prune_keeps_the_newest_and_every_nth(tmp_path, steps):
    names = [f"model_{step:07d}.pth" for step in steps]
    for name in [*names, "model_best.pth", "model_final.pth", "model_old.pth"]:
        (tmp_path / name).touch()
    removed = prune_checkpoints(tmp_path, max_to_keep=2, keep_every=20)
    assert [path.name for path in removed] == [names[0], names[2]]
    left = {path.name for path in tmp_path.iterdir()}
    assert {"model_best.pth", "model_final.pth", "model_old.pth", names[1]} <= left


@pytest.mark.parametrize(("last", "removed"), [(4, [2]), (6, [2, 4]), (10, [2, 4, 6, 8])])
def test_prune_never_removes_what_a_run_went_back_to(tmp_path, last, removed):
    numbers = {2, 4, 6, 8, last}
    for step in numbers:
        (tmp_path / f"model_{step:07d}.pth").touch()
    (tmp_path / "last_checkpoint").write_text(f"model_{last:07d}.pth")
    found = prune_checkpoints(tmp_path, max_to_keep=1, keep_every=0)
    assert [path.name for path in found] == [f"model_{step:07d}.pth" for step in removed]
    left = {path.name for path in tmp_path.glob("*.pth")}
    assert left == {f"model_{step:07d}.pth" for step in numbers - {*removed}}


def test_final_name_costs_no_copy_and_survives_pruning(tmp_path):
    source, final = tmp_path / "model_0000009.pth", tmp_path / "model_final.pth"
    source.write_bytes(b"weights")
    final.write_bytes(b"older")
    link_or_copy(source, final)
    source.unlink()
    assert final.read_bytes() == b"weights"


@pytest.fixture
def saved(tmp_path):
    """Weights of a toy model."""
    RunCheckpointer(ToyModel(), str(tmp_path)).save_weights("model_best", score=1.0)
    return tmp_path / "model_best.pth"


def test_load_weights_names_what_does_not_fit(saved):
    other = ToyModel()
    assert load_weights(other, saved) == {"score": 1.0}
    other.second = nn.Linear(8, 3)
    other.third = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=r"second.bias is \(1,\) instead of \(3,\)"):
        load_weights(other, saved)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_unreadable_checkpoints_end_in_a_sentence(saved, content):
    if content is None:
        torch.save({"weights": 1}, saved)
    else:
        saved.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot be read|no 'model'"):
        load_weights(ToyModel(), saved)
    with pytest.raises(FileNotFoundError, match="Train first"):
        load_weights(ToyModel(), saved.with_name("absent.pth"))


def test_json_lines_are_strict_and_keep_each_step(tmp_path):
    writer = StrictJSONWriter(tmp_path / "metrics.json")
    with EventStorage(0) as storage:
        for step, value in enumerate([1.0, math.nan, math.inf]):
            storage.iter = step
            storage.put_scalar("score", value, smoothing_hint=False)
            writer.write()
    writer.close()
    lines = (tmp_path / "metrics.json").read_text().splitlines()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [(row["iteration"], row["score"]) for row in rows] == [(0, 1.0), (1, None), (2, None)]


def test_rewind_drops_later_and_torn_lines_only(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"iteration": 0}\n{"iteration": 1}\n{"iteration": 2}\n{"iterat')
    rewind_metrics(path, 2)
    assert path.read_text() == '{"iteration": 0}\n{"iteration": 1}\n'
    rewind_metrics(tmp_path / "absent.json", 2)


@pytest.fixture
def wandb(monkeypatch) -> types.SimpleNamespace:
    """A stand-in for the package, with what it was told."""
    told = types.SimpleNamespace(calls=[], inits=[])
    run = types.SimpleNamespace(
        log=lambda values, step: told.calls.append((step, values)),
        finish=lambda: told.calls.append("end"),
    )
    told.init = lambda **arguments: told.inits.append(arguments) or run
    monkeypatch.setitem(sys.modules, "wandb", told)
    return told


def test_wandb_gets_its_names_and_every_scalar(tmp_path, wandb):
    writer = WandbWriter(tmp_path / "run1", "heads", "ofat", "")
    with EventStorage(3) as storage:
        storage.put_scalar("loss", 2.0)
        writer.write()
        writer.write()
    writer.close()
    assert wandb.calls == [(3, {"loss": 2.0}), "end"]
    (init,) = wandb.inits
    assert (init["project"], init["group"], init["name"]) == ("heads", "ofat", "run1")


def test_a_resumed_run_goes_on_in_wandb_and_another_of_its_name_does_not(tmp_path, wandb):
    for folder in ("run", "run", "run_seed2"):
        WandbWriter(tmp_path / folder, "etram", "4scale", "4scale_100k").close()
    first, resumed, other = wandb.inits
    assert first["id"] == resumed["id"] != other["id"]
    assert {init["name"] for init in wandb.inits} == {"4scale_100k"}
    assert all(init["resume"] == "allow" for init in wandb.inits)


def test_without_wandb_it_is_said_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match="leave it false"):
        WandbWriter(tmp_path, "heads", "", "")


def test_wandb_itself_writes_a_run_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for step in (3, 4):  # the second goes on
        writer = WandbWriter(tmp_path / "run", "etram_size_aware", "4scale", "4scale_100k")
        with EventStorage(step) as storage:
            storage.put_scalar("loss", 2.0)
            writer.write()
        writer.close()
    number = (tmp_path / "run" / "wandb" / "run_id").read_text()
    assert list((tmp_path / "run" / "wandb").glob(f"offline-run-*-{number}/run-{number}.wandb"))


def test_norms_have_their_own_decay_and_frozen_parameters_none():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), ChannelLayerNorm(4), nn.Linear(4, 2), nn.Linear(2, 2))
    model[3].requires_grad_(False)
    rest, norms = parameter_groups(model, weight_decay_norm=0.5)
    assert {id(p) for p in norms["params"]} == {id(p) for p in model[1].parameters()}
    assert norms["weight_decay"] == 0.5 and "weight_decay" not in rest
    frozen = {id(p) for p in model[3].parameters()}
    assert not frozen & {id(p) for p in rest["params"]} and len(rest["params"]) == 4
    with pytest.raises(ValueError, match="no trainable"):
        parameter_groups(model.requires_grad_(False))
    assert parameter_counts(model) == {"trainable": 0, "frozen": 16 + 8 + 10 + 6}


def test_validation_loss_is_repeatable_and_leaves_no_trace():
    model = ToyModel(noise=1.0)
    model.first = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    loader = [[sample(n) for n in range(4)], [sample(n) for n in range(4, 6)]]
    before, mean = capture_random_state()["torch"], model.first[1].running_mean.clone()
    with EventStorage(0) as storage:
        first = validation_losses(model, loader, seed=3)
        assert validation_losses(model, loader, seed=3) == first
        assert get_event_storage() is storage and not storage.histories()
    assert torch.equal(capture_random_state()["torch"], before)
    assert torch.equal(model.first[1].running_mean, mean)
    assert all(p.grad is None for p in model.parameters())
    losses = first["validation/loss_square"] + first["validation/loss_absolute"]
    assert first["validation/total_loss"] == pytest.approx(losses)
    assert validation_losses(model, []) == {}


@pytest.mark.parametrize("mode", [True, False])
def test_validation_loss_puts_the_mode_back(mode):
    model = ToyModel().train(mode)
    model.first = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)).train(mode)
    validation_losses(model, [[sample(n) for n in range(4)]])
    assert {module.training for module in model.modules()} == {mode}


def test_log_line_has_losses_and_speed_but_no_validation(caplog):
    with EventStorage(5) as storage, caplog.at_level("INFO"):
        storage.put_scalars(total_loss=2.0, loss_a=2.0, time=0.5, grad_norm=3.0)
        storage.put_scalar("validation/total_loss", 9.0, smoothing_hint=False)
        LogPrinter(max_iter=10).write()
    line = caplog.messages[-1]
    assert "eta: 0:00:02" in line and "loss_a: 2" in line and "grad_norm: 3" in line
    assert "validation" not in line


def test_validation_loss_weights_batches_by_their_images():
    model = ToyModel()
    loader = [[sample(n) for n in range(4)], [sample(4)]]
    whole = validation_losses(model, [[sample(n) for n in range(5)]])
    parts = validation_losses(model, loader)
    assert parts["validation/total_loss"] == pytest.approx(whole["validation/total_loss"], rel=1e-5)


def test_validation_loss_of_recordings_counts_labelled_steps():
    class Constant(nn.Module):
        def forward(self, batch):
            return {"loss": torch.tensor(batch[0]["loss"])}

    chunk = {"loss": 4.0, "boxes": [None, torch.zeros(0, 4), torch.zeros(1, 4)]}
    silent = {"loss": 0.0, "boxes": [None, None]}
    single = {"loss": 1.0, "boxes": [torch.zeros(1, 4)]}
    losses = validation_losses(Constant(), [[chunk], [silent], [single]])
    assert losses["validation/loss"] == pytest.approx((2 * 4.0 + 1.0) / 3)


def test_flat_scores_keep_undefined_ones():
    nested = {"bbox": {"AP": 1.0, "APs": None}}
    assert flat_scores(nested) == {"bbox/AP": 1.0, "bbox/APs": None}
    assert flat_scores(None) == {}
