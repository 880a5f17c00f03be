"""A model, a loader and a trainer small enough to compare to the last digit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from detectron2.engine import hooks
from detectron2.solver.lr_scheduler import LRMultiplier
from fvcore.common.param_scheduler import MultiStepParamScheduler
from torch import nn

from runfolder.records import has_checkpoint
from smalldet.engine.checkpoint import RunCheckpointer
from smalldet.engine.hooks.ema import EvaluateAverage, WeightAverage
from smalldet.engine.hooks.evaluation import EarlyStop, Evaluate
from smalldet.engine.hooks.metrics import Throughput, WriteMetrics
from smalldet.engine.hooks.saving import SaveCheckpoint, StopOnRequest
from smalldet.engine.resume import forget_lost_models, resume_from
from smalldet.engine.settings import TrainSettings
from smalldet.engine.trainer import Trainer
from smalldet.engine.writers import build_writers, rewind_metrics

FINGERPRINT = "of the toy data"


class ToyModel(nn.Module):
    """Two losses, each a mean over images; ``noise`` draws from torch's generator as it trains."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.second = nn.Linear(8, 1)
        self.noise = noise

    def forward(self, batch):
        device = next(self.parameters()).device
        x = torch.stack([sample["x"] for sample in batch]).to(device)
        y = torch.stack([sample["y"] for sample in batch]).to(device)
        hidden = torch.tanh(self.first(x + self.noise * torch.randn_like(x)))
        error = self.second(hidden)[:, 0] - y
        return {"loss_square": error.square().mean(), "loss_absolute": error.abs().mean()}


class ToyLoader:
    """Sample n of the stream is a function of n alone."""

    def __init__(self, total: int, micro: int) -> None:
        self.total, self.micro, self.position = total, micro, 0

    def seek(self, samples_seen: int) -> None:
        self.position = samples_seen

    def __iter__(self):
        while True:
            samples = [sample(self.position + i) for i in range(self.total)]
            self.position += self.total
            yield [samples[i : i + self.micro] for i in range(0, self.total, self.micro)]


def sample(n: int) -> dict:
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(4, generator=generator)
    return {"x": x, "y": x.sum().sin(), "image_id": n, "file_name": f"{n}.png"}


def toy_trainer(micro: int = 8, noise: float = 0.0, model=None, **options) -> Trainer:
    torch.manual_seed(0)
    model = model or ToyModel(noise)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    return Trainer(model, ToyLoader(8, micro), optimizer, total_batch_size=8, **options)


def settings_for(folder, max_iter: int) -> TrainSettings:
    return TrainSettings(
        output_dir=str(folder),
        images=16,
        epochs=max_iter // 2,
        total_batch_size=8,
        micro_batch_size=8,
        iterations_per_epoch=2,
        max_iter=max_iter,
        eval_period=2,
        checkpointer={"period": 2},
        log_period=1,
    )


def train_toy(
    folder,
    max_iter: int,
    stop_at: int | None = None,
    scores=None,
    decay=0.0,
    patience=0,
    period=2,
    keep_every=0,
    **options,
) -> Trainer:
    """Train as the engine does, resuming if the folder has a checkpoint; die after ``stop_at``.

    ``options`` are those of :func:`toy_trainer`.
    """
    folder.mkdir(exist_ok=True)
    settings = settings_for(folder, max_iter)
    trainer = toy_trainer(noise=0.5, dump_folder=folder, **options)
    checkpointer = RunCheckpointer(trainer.model, str(folder), trainer=trainer)

    def score() -> dict[str, float | None]:
        if stop_at is not None and trainer.iter > stop_at:
            raise KeyboardInterrupt
        default = -trainer.model.first.weight.abs().sum().item()
        return {"bbox/AP": scores[trainer.iter] if scores else default, "bbox/APs": None}

    common = (settings.eval_period, score, checkpointer, "bbox/AP")
    evaluate = Evaluate(*common)
    average = EvaluateAverage(WeightAverage(trainer.model, decay), *common) if decay else None
    stop = EarlyStop(patience, evaluate) if patience else None
    multiplier = MultiStepParamScheduler([1, 0.1], milestones=[5], num_updates=10)
    scheduler = LRMultiplier(trainer.optimizer, multiplier, max_iter)
    scheduling = hooks.LRScheduler(scheduler=scheduler)
    trainer.register_hooks([Throughput(8), scheduling, evaluate, average, stop])
    start = 0
    if has_checkpoint(folder, resume=True):
        start = resume_from(trainer, checkpointer, FINGERPRINT)
        forget_lost_models(hook for hook in (evaluate, average) if hook)
    rewind_metrics(folder / "metrics.json", start)
    writers = build_writers(settings, start)
    saving = SaveCheckpoint(checkpointer, period, 2, keep_every, data_fingerprint=FINGERPRINT)
    writing = WriteMetrics(writers, settings.log_period, saving)
    trainer.register_hooks([writing, saving, StopOnRequest(saving)])
    if not (stop and stop.is_over):
        trainer.train(start, max_iter)
    shutil.copy(checkpointer.get_checkpoint_file(), folder / "model_final.pth")
    trainer.evaluation, trainer.average, trainer.stop = evaluate, average, stop
    return trainer


def kill_toy(folder: Path, max_iter: int, **options) -> None:
    """Train until the run is killed or asked to stop."""
    with pytest.raises(KeyboardInterrupt):
        train_toy(folder, max_iter, **options)


TIMES = {"images_per_second", "memory_mb", "data_time", "time", "eta_seconds"}


def metrics(run: Trainer | Path) -> list[dict]:
    """Lines of ``metrics.json`` without what depends on the clock."""
    folder = run.dump_folder if isinstance(run, Trainer) else run
    rows = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def assert_same_weights(first: Trainer, second: Trainer) -> None:
    """To the last digit."""
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
