"""Steps that fail, in real models: repeated in smaller parts, or dumped and raised again."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from script_runs import assert_equal_ends, metrics

import smalldet.engine.evaluate
from console.main import main
from console.train import parse
from console.train import train as train_command
from labbook.config.load import load_config, to_plain
from labbook.run.ledger import entry_of
from labbook.run.session import recorded_run
from runfolder.records import read_record, write_results
from runfolder.run import read_run
from smalldet.engine.run import run
from smalldet.engine.trainer import NonFiniteLoss, Trainer

STEPS = ["train.max_iter=2", "train.eval_period=2", "train.checkpointer.period=1"]
STEPS += ["train.validation_loss=false", "train.device=cpu"]
LINES = {
    "ofat": (
        "configs/debug/ofat/baseline_lr0.001_bs8_adamw_ep100.py",
        "dataset.generate={seed: 0, image_size: 64, train: 8, valid: 1, test: 2}",
        "dataloader.image_size=64",
        "dataloader.num_workers=0",
        "train.images=8",
        "train.total_batch_size=4",
        "model.backbone.bottom_up.depth=1",
        "model.backbone.out_channels=16",
        "model.proposal_generator.pre_nms_topk=[50, 10]",
        "model.roi_heads.batch_size_per_image=16",
    ),
    "etram": (
        "configs/debug/etram/baseline_3scale_100k.py",
        "dataset.generate={seed: 0, train: 2, val: 1, test: 1, seconds: 0.3, width: 128, "
        "height: 96}",
        "dataloader.sequence_length=2",
        "train.total_batch_size=4",
        "model.backbone.in_stages=[2, 3]",
        "model.backbone.depth=0.33",
        "model.backbone.enable_small_object_attention=true",
        "model.head.size_aware_loss=true",
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """One folder for all tests here: a process registers each data set once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(params=LINES)
def small(request, data) -> tuple[str, list[str]]:
    """A toy config of each line, and overrides for two steps of four samples."""
    config, *overrides = LINES[request.param]
    return config, [*STEPS, f"dataset.root={data / request.param}", *overrides]


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No handlers of logs stay behind in this process."""
    monkeypatch.setattr("smalldet.engine.run.set_up_logging", lambda _: None)


def train(small, folder: Path, *overrides: str, resume: bool = False):
    """The run in this process, with its record; returns its config."""
    config, words = small
    words = [*words, *overrides, f"train.output_dir={folder}"]
    cfg = load_config(config, words)
    with recorded_run(cfg, ["train"], resume, config, words):
        write_results(folder, run(to_plain(cfg), resume=resume))
    return cfg


def test_a_halved_run_is_the_run_of_the_smaller_micro_batch(small, tmp_path, monkeypatch):
    genuine = Trainer._losses

    def fits_two(self, batch):
        losses = genuine(self, batch)  # having drawn and remembered
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return losses

    monkeypatch.setattr(Trainer, "_losses", fits_two)
    halved, begun = tmp_path / "halved", tmp_path / "begun"
    four = ["train.micro_batch_size=4", "train.on_oom=halve"]
    train(small, halved, *four)
    two = train(small, begun, "train.micro_batch_size=2")
    assert_equal_ends(halved, begun)
    assert metrics(halved) == metrics(begun)
    assert read_run(halved).lowered_micro_batch == 2 and not read_run(begun).lowered_micro_batch
    ledgers = [json.loads((folder / "ledger.json").read_text()) for folder in (halved, begun)]
    assert ledgers[0]["config"] == ledgers[1]["config"] == entry_of(two)["config"]
    assert "Micro-batch: 2" in (halved / "experiment_summary.txt").read_text()
    # Resumed by the same command, from its first step.
    (halved / "last_checkpoint").write_text("model_0000001.pth")
    train(small, halved, *four, resume=True)
    assert_equal_ends(halved, begun)
    assert read_run(halved).lowered_micro_batch == 2


def test_an_evaluation_that_does_not_fit_goes_on_as_its_sentence_says(small, tmp_path, monkeypatch):
    genuine = smalldet.engine.evaluate.inference_on_dataset

    def fits_one(model, loader, evaluator):
        if any(len(batch) > 1 for batch in loader):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return genuine(model, loader, evaluator)

    monkeypatch.setattr("smalldet.engine.evaluate.inference_on_dataset", fits_one)
    config, words = small
    overrides = [*words, f"train.output_dir={tmp_path / 'run'}", "dataloader.valid.batch_size=1"]
    command = ["--config-file", config, "--resume", *overrides, "dataloader.test.batch_size=2"]
    with pytest.raises(SystemExit) as caught:
        train_command(parse(command, "train"))
    reason = str(caught.value.code)  # is printed
    assert reason == read_record(tmp_path / "run").exit_reason
    assert reason.startswith("ValueError: The GPU is out of memory in the evaluation on test: 2 ")
    advice = re.search(r"dataloader\.test\.batch_size=\d+", reason)
    train_command(parse([*command, advice[0]], "train"))
    record = read_record(tmp_path / "run")
    assert (record.status, record.attempts, record.iterations) == ("finished", 2, 2)


@pytest.mark.parametrize(
    ("small", "cause"),
    [("ofat", "weights"), ("ofat", "target"), ("etram", "weights")],
    indirect=["small"],
)
def test_a_dump_of_a_real_run_raises_the_same_error_again(
    small, cause, tmp_path, monkeypatch, capsys
):
    genuine = Trainer._accumulate

    def spoilt(self, micro_batches):
        if self.iter == 1 and cause == "weights":
            torch.nn.init.constant_(self.parameters[-1], float("inf"))
        elif self.iter == 1:
            micro_batches[0][0]["instances"].gt_boxes.tensor[:] = float("nan")
        return genuine(self, micro_batches)

    monkeypatch.setattr(Trainer, "_accumulate", spoilt)
    folder = tmp_path / "run"
    with pytest.raises(NonFiniteLoss) as caught:
        train(small, folder)
    monkeypatch.undo()
    capsys.readouterr()
    moved = shutil.move(folder / "nan_dump.pth", tmp_path / "elsewhere.pth")
    shutil.rmtree(folder)
    assert main(["reproduce-nan", str(moved)]) == 0
    said = capsys.readouterr().out
    error = str(caught.value).partition(" A lower learning rate")[0]
    assert f"Raised again: {error}" in said and "In the run" not in said
    assert {"weights": "weights: ", "target": "samples: sample 0"}[cause] in said
    assert "First in the forward pass: the output of " in said and len(said.splitlines()) <= 4
    assert not folder.exists(), "nothing is written"
