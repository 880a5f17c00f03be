"""The training loop: accumulation, mixed precision, clipping, the NaN guard, exact state."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from detectron2.engine import TrainerBase
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from smalldet.engine.distributed import mean_over_processes, share_batch_statistics, unwrapped
from smalldet.engine.faults import memory
from smalldet.engine.faults.nan_dump import write_dump
from smalldet.engine.faults.step_start import Batch, StepStart, history_of
from smalldet.engine.optim import total_gradient_norm
from smalldet.engine.random_state import restore_random_state
from smalldet.layers.precision import bf16_instructions
from smalldet.layers.step_normalised import step_normalised_part

logger = logging.getLogger(__name__)
WINDOW = 20  # steps that Detectron2's writers smooth over
LEAST_SCALE = 1e-4  # of fp16 gradients; below it they are not too large but broken
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class NonFiniteLoss(FloatingPointError):
    """A loss or gradient was NaN or infinite; the message says where the dump lies."""


class Trainer(TrainerBase):
    """Detectron2's trainer with one optimisation step per effective batch.

    Args:
        model: Maps a list of Detectron2 dicts to a dict of scalar losses; on its device already.
        loader: Yields, per step, this process's images as a list of micro-batches, and has
            ``seek(samples_seen)``.
        optimizer: Over the trainable parameters of ``model``.
        amp_dtype: "bf16" or "fp16"; None computes in fp32.
        clip_grad_norm: Upper bound of the gradient's global L2 norm; 0 does not clip.
        clip_grad_value: Upper bound of the size of each of its entries; 0 does not clip.
        total_batch_size: Images per step over all processes.
        dump_folder: Where the NaN guard writes; None: it writes nothing.
        micro_batch_size: Most samples of a forward pass; larger micro-batches of ``loader`` are
            divided. 0 takes them as they come.
        on_oom: "stop" ends a run that is out of memory on the GPU; "halve" repeats the step, and
            goes on, with smaller micro-batches (see ``TrainSettings``).

    A step's gradient is that of the mean over its images: each micro-batch's losses are weighted by
    its share of the images. It equals the gradient of one big batch where the model's losses are
    means over images and nothing is drawn at random or normalised over the batch. Cascade R-CNN
    samples proposals per image and divides by the number sampled, so there the two agree in
    expectation, not to the last digit.

    A model, or a part of it, that is ``StepNormalised`` gives sums instead, whose
    divisor (say, the positives of all micro-batches and processes) is known at the end of the step
    only: gradients and logged losses are then multiplied by what ``end_step()`` returns.
    """

    def __init__(
        self,
        model: nn.Module,
        loader: Any,
        optimizer: torch.optim.Optimizer,
        amp_dtype: str | None = None,
        clip_grad_norm: float = 0.0,
        clip_grad_value: float = 0.0,
        total_batch_size: int = 1,
        dump_folder: str | Path | None = ".",
        micro_batch_size: int = 0,
        on_oom: str = "stop",
    ) -> None:
        super().__init__()
        model.train()
        self.model = model
        self.loader = loader
        self.optimizer = optimizer
        self.clip_grad_norm = clip_grad_norm
        self.clip_grad_value = clip_grad_value
        self.total_batch_size = total_batch_size
        self.dump_folder = None if dump_folder is None else Path(dump_folder)
        self.micro_batch_size = micro_batch_size
        self.on_oom = on_oom
        memory.check_halving(on_oom)
        self.device = next(model.parameters()).device
        if amp_dtype == "fp16" and self.device.type != "cuda":
            raise ValueError("train.amp.dtype=fp16 needs a GPU; on a CPU use bf16.")
        if amp_dtype and self.device.type == "cpu" and not bf16_instructions():
            logger.warning(
                "Training in bf16 on a CPU without instructions for it (AVX512-BF16, AMX): "
                "convolutions take up to hundreds of times as long. train.amp.enabled=false "
                "trains in float32."
            )
        self.autocast_dtype = DTYPES[amp_dtype] if amp_dtype else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=amp_dtype == "fp16")
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._batches: Iterator[list[Batch]] = iter(())
        self._restored: dict[str, Any] = {}

    def train(self, start_iter: int, max_iter: int) -> None:
        """Detectron2's loop, whose end a hook may bring nearer by lowering ``max_iter``.

        Args:
            start_iter: first step, counted from 0.
            max_iter: the step to stop before.
        """
        logger.info(f"Starting training from iteration {start_iter}")
        self.iter = self.start_iter = start_iter
        self.max_iter = max_iter
        with EventStorage(start_iter) as self.storage:
            try:
                self.before_train()
                while self.iter < self.max_iter:
                    self.before_step()
                    self.run_step()
                    self.after_step()
                    self.iter += 1
            finally:
                self.after_train()

    def before_train(self) -> None:
        self.loader.seek(self.start_iter * self.total_batch_size)
        self._batches = iter(self.loader)
        self._restore_history()
        super().before_train()
        # Last: nothing that starts up may draw from the restored generators.
        if "random" in self._restored:
            restore_random_state(self._restored["random"])

    def after_train(self) -> None:
        """Every hook's, also if one before it fails: they put back what they have changed."""
        self.storage.iter = self.iter
        with ExitStack() as stack:
            for hook in reversed(self._hooks):
                stack.callback(hook.after_train)

    def run_step(self) -> None:
        """One optimisation step on the next effective batch."""
        started = time.perf_counter()
        micro_batches = memory.in_micro_batches(next(self._batches), self.micro_batch_size)
        data_time = time.perf_counter() - started
        losses = self._accumulate_what_fits(micro_batches)
        try:
            norm = self._step(micro_batches)
        except torch.OutOfMemoryError as error:
            raise ValueError(memory.IN_THE_OPTIMIZER) from error
        share_batch_statistics(self.model)
        self._log(losses, norm, data_time)

    def _accumulate_what_fits(self, micro_batches: list[Batch]) -> dict[str, Tensor]:
        """As :meth:`_accumulate`, begun anew with smaller micro-batches as often as need be."""
        while True:
            self._began = StepStart(self.model, micro_batches, self.on_oom == "halve")
            self.optimizer.zero_grad(set_to_none=True)
            try:
                return self._accumulate(micro_batches)
            except torch.OutOfMemoryError as error:
                self.micro_batch_size = memory.smaller(micro_batches, self.on_oom, error)
            # Out here, since the error holds what the step had in memory.
            self._began.restore()
            memory.release()
            micro_batches = memory.in_micro_batches(micro_batches, self.micro_batch_size)

    def _accumulate(self, micro_batches: list[Batch]) -> dict[str, Tensor]:
        """Add up the gradient of all micro-batches; return the step's mean losses."""
        images = sum(len(batch) for batch in micro_batches)
        summing = step_normalised_part(self.model)
        if summing is not None:
            summing.begin_step()
        sums: dict[str, Tensor] = {}
        for index, batch in enumerate(micro_batches):
            share = 1.0 if summing is not None else len(batch) / images
            with self._sync_only_if(index == len(micro_batches) - 1):
                losses = self._losses(batch)
                total = torch.stack(list(losses.values())).sum() * share
                if not torch.isfinite(total):
                    self._fail("A loss", {k: v.item() for k, v in losses.items()}, batch)
                self.scaler.scale(total).backward()
            for name, loss in losses.items():
                sums[name] = sums.get(name, torch.zeros_like(loss)) + loss.detach() * share
        if summing is None:
            return sums
        factor = summing.end_step()
        for gradient in (p.grad for p in self.parameters if p.grad is not None):
            gradient.mul_(factor)
        return {name: loss * factor for name, loss in sums.items()}

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        enabled = self.autocast_dtype is not None
        try:
            with torch.autocast(self.device.type, dtype=self.autocast_dtype, enabled=enabled):
                return self.model(batch)
        except FloatingPointError as error:  # Detectron2's proposals look for NaN themselves
            self._fail(f"The forward pass ({error})", {}, batch)

    def _sync_only_if(self, last: bool) -> AbstractContextManager[Any]:
        """Processes exchange gradients once a step, with its last micro-batch."""
        if isinstance(self.model, DistributedDataParallel) and not last:
            return self.model.no_sync()
        return nullcontext()

    def _step(self, micro_batches: list[Batch]) -> Tensor:
        """Clip and apply the gradient; return its global L2 norm before clipping."""
        self.scaler.unscale_(self.optimizer)
        norm = total_gradient_norm(self.parameters)
        # With fp16 some steps overflow and are skipped, until the scale fits; not for ever.
        overflows = self.scaler.is_enabled() and self.scaler.get_scale() > LEAST_SCALE
        if not overflows and not torch.isfinite(norm):
            images = list(chain.from_iterable(micro_batches))
            self._fail("The gradient norm", {"grad_norm": float(norm)}, images)
        if self.clip_grad_norm > 0:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.clip_grad_norm, norm)
        if self.clip_grad_value > 0:
            torch.nn.utils.clip_grad_value_(self.parameters, self.clip_grad_value)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm

    def _fail(self, what: str, values: dict[str, float], batch: Batch) -> NoReturn:
        """Write all that the step depends on, then stop the run with a sentence."""
        error = f"{what} was not finite at iteration {self.iter}: {values}."
        if self.dump_folder is None:
            raise NonFiniteLoss(error)
        rank = f"_rank{comm.get_rank()}" if comm.get_world_size() > 1 else ""
        parts = {"model": unwrapped(self.model), "optimizer": self.optimizer, "scaler": self.scaler}
        facts = {"error": error, "iteration": self.iter, "values": values}
        states = {name: part.state_dict() for name, part in parts.items()}
        path = self.dump_folder / f"nan_dump{rank}.pth"
        written = write_dump(path, self._began, batch, facts | states)
        advice = "A lower learning rate, train.clip_grad_norm or train.amp.enabled=false may help."
        raise NonFiniteLoss(f"{error} {advice} {written}")

    def _log(self, losses: dict[str, Tensor], norm: Tensor, data_time: float) -> None:
        means = mean_over_processes(losses)
        self.storage.put_scalar("total_loss", sum(means.values()))
        for name, mean in means.items():
            self.storage.put_scalar(name, mean)
        self.storage.put_scalar("grad_norm", float(norm))
        self.storage.put_scalar("data_time", data_time)

    def final_loss(self) -> float | None:
        """Total loss at the end, as the writers smooth it; also of a run that was over already."""
        values = self._restored.get("history", {}).get("total_loss", ([], True))[0]
        if hasattr(self, "storage"):
            values = self.storage.histories()["total_loss"].values()
        return float(np.median([value for value, _ in values[-WINDOW:]])) if values else None

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, but for the random generators (one per process)."""
        state: dict[str, Any] = super().state_dict()
        state["optimizer"] = self.optimizer.state_dict()
        state["optimizer_entries"] = len(state["optimizer"]["state"])
        state["scaler"] = self.scaler.state_dict()
        state["samples_seen"] = (self.iter + 1) * self.total_batch_size
        state["micro_batch_size"] = self.micro_batch_size
        state["history"] = self._history() if hasattr(self, "storage") else {}
        return state

    def _history(self) -> dict[str, Any]:
        """The latest values that the writers smooth over, with their steps."""
        hints = self.storage.smoothing_hints()
        return {
            name: ([(v, step) for v, step in h.values() if step > self.iter - WINDOW], hints[name])
            for name, h in self.storage.histories().items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; ValueError with another batch size."""
        super().load_state_dict(state)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if state["samples_seen"] != (state["iteration"] + 1) * self.total_batch_size:
            raise ValueError(
                f"The checkpoint has seen {state['samples_seen']} images in "
                f"{state['iteration'] + 1} steps, which is not train.total_batch_size="
                f"{self.total_batch_size} a step. Resume with the batch size it was started with."
            )
        used = state.get("micro_batch_size")  # earlier versions did not say
        self.micro_batch_size = self.micro_batch_size if used is None else used
        self._restored["history"] = state["history"]

    def restore_random_state_at_start(self, state: dict[str, Any]) -> None:
        """Have :meth:`train` begin with this state of the random generators."""
        self._restored["random"] = state

    def _restore_history(self) -> None:
        """Give the writers the values that they smooth over, as if the run had not stopped."""
        for name, (values, hint) in self._restored.get("history", {}).items():
            self.storage.histories()[name] = history_of(values)
            self.storage.smoothing_hints()[name] = hint
