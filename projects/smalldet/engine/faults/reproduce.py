"""The step of a dump once more, and where its first value that is not finite appears."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from smalldet.engine.build import Config, build_model, build_trainer
from smalldet.engine.distributed import unwrapped
from smalldet.engine.faults.nan_dump import STRUCTURES
from smalldet.engine.faults.step_start import Batch
from smalldet.engine.feature_cache import use_feature_cache
from smalldet.engine.settings import read_settings
from smalldet.engine.trainer import NonFiniteLoss, Trainer

_SHOWN = 3  # places named in a line


class OneStep:
    """A loader of the one step that a dump holds."""

    def __init__(self, micro_batches: list[Batch]) -> None:
        self.micro_batches = micro_batches

    def seek(self, samples_seen: int) -> None:
        """There is no other place."""

    def __iter__(self) -> Iterator[list[Batch]]:
        yield self.micro_batches


def rebuilt_trainer(dump: Mapping[str, Any], cfg: Config) -> Trainer:
    """A trainer in the state in which the step of ``dump`` began; it writes no dump itself.

    Args:
        dump: of :func:`smalldet.engine.faults.nan_dump.read_dump`.
        cfg: its config, in plain dicts and lists.

    Raises:
        ValueError: the two do not fit together.
    """
    settings = read_settings({**cfg["train"], "on_oom": "stop"})
    model = build_model(cfg, settings)
    use_feature_cache(cfg, settings, model)
    trainer = build_trainer(cfg, settings, model, OneStep(dump["micro_batches"]))
    trainer.dump_folder = None
    try:
        model.load_state_dict(dump["model"])
        trainer.optimizer.load_state_dict(dump["optimizer"])
        trainer.scaler.load_state_dict(dump["scaler"])
        if dump["recurrent"] is not None:
            unwrapped(model).load_recurrent_state(dump["recurrent"])  # type: ignore[operator]
    except Exception as error:  # torch raises nearly anything
        raise ValueError(
            f"The states in the dump do not fit its config ({_reason(error)}). Use no override "
            "that changes model or optimizer, and the version that wrote it."
        ) from error
    trainer.restore_random_state_at_start(dump["random"])
    return trainer


def repeat_step(trainer: Trainer, iteration: int) -> None:
    """Do the step ``iteration``, counted from 0.

    Raises:
        NonFiniteLoss: as the run that left the dump.
    """
    trainer.train(iteration, iteration + 1)


def reproduce(dump: Mapping[str, Any], cfg: Config) -> tuple[bool, list[str]]:
    """Whether the error of a dump comes again, and lines on it and on where it begins."""
    trainer = rebuilt_trainer(dump, cfg)
    origin = Origin(trainer.model)
    inputs = [
        f"sample {index}: {place}"
        for index, sample in enumerate(s for batch in dump["micro_batches"] for s in batch)
        for place, tensor in tensors_of(sample)
        if not is_finite(tensor)
    ]
    weights = [n for n, x in trainer.model.named_parameters() if not is_finite(x)]
    try:
        repeat_step(trainer, dump["iteration"])
    except NonFiniteLoss as error:
        lines = [f"Raised again: {error}"]
        if str(error) != dump["error"]:
            lines.append(f"In the run: {dump['error']}")
        lines += [f"Not finite in the samples: {_listed(inputs)}"] * bool(inputs)
        lines += [f"Not finite in the weights: {_listed(weights)}"] * bool(weights)
        return True, [*lines, origin.sentence()]
    except Exception as error:
        raise ValueError(
            f"The step of the dump fails in another way ({_reason(error)}). Try train.device=cpu, "
            "or the version that wrote it."
        ) from error
    return False, [
        f"In the run: {dump['error']}",
        "Not raised again: all values were finite. Overrides, another device or, of several "
        "processes, the gradients of others (each leaves its own dump) can make the difference.",
    ]


class Origin:
    """Watches a model for the first module with an output, then gradient, that is not finite."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.forward, self.backward = model, "", ""
        for name, module in model.named_modules():
            place = f"{name or 'the model itself'} ({type(module).__name__})"
            module.register_forward_hook(lambda _, x, y, place=place: self._saw(place, x, y))

    def _saw(self, place: str, inputs: Any, output: Any) -> None:
        """Modules end before those that they are parts of, so the first one is the innermost."""
        if self.forward:
            return
        for _, tensor in tensors_of(output):
            if not is_finite(tensor):
                had = all(is_finite(x) for _, x in tensors_of(inputs))
                self.forward = f"{place}, whose inputs were {'' if had else 'not '}finite"
                return
            if tensor.requires_grad:
                tensor.register_hook(lambda gradient: self._saw_gradient(place, gradient))

    def _saw_gradient(self, place: str, gradient: Tensor) -> None:
        if not self.backward and not is_finite(gradient):
            self.backward = place

    def sentence(self) -> str:
        """Where it begins, as a line."""
        if self.forward:
            return f"First in the forward pass: the output of {self.forward}."
        if self.backward:
            return f"First in the backward pass: the gradient at the output of {self.backward}."
        gradients = [n for n, p in self.model.named_parameters() if not is_finite(p.grad)]
        if gradients:
            return f"First in the backward pass: the gradients of {_listed(gradients)}"
        return "Outputs and gradients are finite each; what is not is made of them outside modules."


def is_finite(tensor: Tensor | None) -> bool:
    """Whether every value is; whole numbers are, and what is not there."""
    if tensor is None or not tensor.is_floating_point():
        return True
    return bool(torch.isfinite(tensor).all())


def tensors_of(value: Any, place: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in dicts, lists and Detectron2's structures, with their dotted keys."""
    inside: Any = {}
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, Instances):
        inside = value.get_fields()
    elif isinstance(value, (*STRUCTURES, ImageList)):
        inside = vars(value)
    elif isinstance(value, Mapping):
        inside = value
    elif isinstance(value, list | tuple):
        inside = dict(enumerate(value))
    for key, child in inside.items():
        yield from tensors_of(child, f"{place}.{key}" if place else str(key))


def _reason(error: Exception) -> str:
    """Kind and first line of an error."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


def _listed(places: list[str]) -> str:
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return ", ".join(places[:_SHOWN]) + more + "."
