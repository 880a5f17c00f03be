"""A detector of recordings: any backbone, any head, a memory for each stream."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.backbone import Backbone
from torch import Tensor

from smalldet.backbones.weight_files import LoadReport
from smalldet.detectors.base import Detector, Frame, HeadInputs, padded_batch
from smalldet.detectors.recurrent_checkpoint import load_published_detector
from smalldet.detectors.recurrent_memory import StreamMemory
from smalldet.detectors.recurrent_samples import (
    BoxTally,
    Sample,
    check_samples,
    frame_size,
    is_wanted,
    no_targets,
    num_steps,
    stream_of,
)
from smalldet.heads.base import Head
from smalldet.layers.norms import kept_statistics
from smalldet.layers.recurrent_state import State, take_streams
from smalldet.layers.step_normalised import StepCounts, StepNormalised
from smalldet.necks.base import Neck

Features = dict[str, Tensor]


@META_ARCH_REGISTRY.register()
class RecurrentDetector(Detector, StepNormalised):
    """Runs a backbone through chunks of recordings and a head on their labelled frames.

    Training is truncated back-propagation through time (Williams and Peng, 1990): gradients flow
    through the steps of a chunk, the state of each stream goes on to its next chunk without
    them. Head, and neck unless it ``needs_every_step``, run once on the labelled frames of all
    steps and streams. Events go to the backbone as they are, without normalisation.

    Each process keeps the states of its own streams in plain attributes. What runs without
    gradients (inference, and losses of validation) has states of its own, which are forgotten
    whenever the detector changes between training and evaluation mode.

    Args:
        backbone: any backbone with ``step(x, state) -> (features, state)``, which all of ours
            have, necks included.
        head: any head of ``HEAD_REGISTRY``.
        init_checkpoint: published RVT checkpoint that ``load_pretrained`` reads; "" keeps the
            weights as they are.

    Raises:
        ValueError: the backbone has no ``step``.
    """

    def __init__(self, backbone: Backbone, head: Head, init_checkpoint: str = "") -> None:
        if not hasattr(backbone, "step"):
            raise ValueError(
                f"{type(backbone).__name__} has no step(x, state), so it cannot go through time. "
                "Use a backbone and a neck of smalldet, such as MaxViTRNN and PAFPN."
            )
        super().__init__(backbone, head)
        self.init_checkpoint = init_checkpoint
        self._frames = StepCounts()
        self._learned = StreamMemory()
        self._watched = StreamMemory()

    def train(self, mode: bool = True) -> RecurrentDetector:
        """Change the mode; what was remembered without gradients is forgotten if it is another."""
        if mode != self.training:
            self._watched.clear()
        return super().train(mode)

    def forward(self, samples: Sequence[Sample]) -> Any:
        """Losses by name in training, else detections of the labelled frames.

        Args:
            samples: chunks, as in :mod:`smalldet.detectors.recurrent_samples`, each of a stream of
                its own. In inference a sample may have no ``boxes``; all its frames are wanted.

        Returns:
            In training scalars; all are zero, with gradients of zero, if no frame is labelled. The
            batch norms of what runs on labelled frames then keep their statistics.
            In inference a list with ``{"instances", "sample", "step"}`` for each wanted frame, step
            by step: the ``Instances``, the index of its sample and its step in it. Boxes are
            in pixels of the events before padding.

        Raises:
            ValueError: samples that do not fit together, or without labels in training.
        """
        check_samples(samples)
        if self.training:
            return self._losses(samples)
        features, frames = self._wanted_features(samples)
        if not frames:
            return []
        sizes = [frame_size(samples[frame.sample]) for frame in frames]
        detections = self.head.predict(self._fused(features), sizes)
        return [
            {"instances": found, **frame._asdict()}
            for found, frame in zip(detections, frames, strict=True)
        ]

    def load_pretrained(self) -> LoadReport | None:
        """Load ``init_checkpoint``; see :func:`load_published_detector` for the errors."""
        return load_published_detector(self, self.init_checkpoint)

    def recurrent_state(self, on_cpu: bool = True) -> dict[Hashable, State]:
        """What the next training step depends on besides the weights; each process has its own."""
        return self._learned.state_dict(on_cpu)

    def load_recurrent_state(self, states: Mapping[Hashable, State]) -> None:
        """Take over what :meth:`recurrent_state` gave, to resume in the middle of recordings."""
        self._learned.load_state_dict(states)

    def begin_step(self) -> None:
        """As :class:`StepNormalised`; a head that is none gives means over labelled frames."""
        if isinstance(self.head, StepNormalised):
            self.head.begin_step()
        else:
            self._frames.begin(self.device)

    def end_step(self) -> Tensor:
        if isinstance(self.head, StepNormalised):
            return self.head.end_step()
        return self._frames.end()[0]

    def head_inputs(self, samples: Sequence[Sample]) -> HeadInputs:
        """What the head learns from in training: the labelled frames, of which there may be none.

        Raises:
            ValueError: as :meth:`forward`.
        """
        check_samples(samples)
        _check_labels(samples)
        return self._head_inputs(samples, *self._wanted_features(samples))

    def _losses(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        _check_labels(samples)
        features, frames = self._wanted_features(samples)
        if not frames:
            return self._idle_losses(features, frame_size(samples[0]))
        inputs = self._head_inputs(samples, features, frames)
        losses = self.head.losses(inputs.features, inputs.targets)
        if not self._frames.counting:
            return losses
        self._frames.add(len(frames))
        return {name: len(frames) * loss for name, loss in losses.items()}

    def _idle_losses(self, features: Features, size: tuple[int, int]) -> dict[str, Tensor]:
        """Losses of 0 that depend on every parameter, from some unlabelled frame.

        Otherwise a process without labels has no gradients to exchange, and the others wait.
        """
        with kept_statistics(self):
            targets = [no_targets(size).to(self.device)]
            losses = self.head.losses(self._fused(features), targets)
        return {name: 0 * loss for name, loss in losses.items()}

    def _head_inputs(
        self, samples: Sequence[Sample], features: Features, frames: list[Frame]
    ) -> HeadInputs:
        tally = BoxTally()
        targets = [tally.targets(samples[b], step).to(self.device) for b, step in frames]
        tally.report()
        return HeadInputs(self._fused(features), targets, frames)

    def _wanted_features(self, samples: Sequence[Sample]) -> tuple[Features, list[Frame]]:
        """What ran on every step of the wanted frames, or of some frame if there are none."""
        rows: list[Features] = []
        frames: list[Frame] = []
        features: Features = {}
        for step, running, features in self._steps(samples):
            wanted = [i for i, b in enumerate(running) if is_wanted(samples[b], step)]
            if wanted:
                rows.append(_rows(features, wanted))
                frames += [Frame(running[i], step) for i in wanted]
        rows = rows or [_rows(features, [0])]
        return {name: _joined([row[name] for row in rows]) for name in features}, frames

    def _fused(self, features: Features) -> Features:
        """The head's features, by the neck if that has waited."""
        return features if self._stepping is self.backbone else self.backbone.fuse(features)[0]

    @property
    def _stepping(self) -> Any:
        """What runs on every step: the backbone, without a neck that can wait for its frames."""
        if isinstance(self.backbone, Neck) and not self.backbone.needs_every_step:
            return self.backbone.bottom_up
        return self.backbone

    def _steps(self, samples: Sequence[Sample]) -> Iterator[tuple[int, list[int], Features]]:
        """Yield each step, the samples that are not over by then, and their features (B, ...)."""
        learning = self.training and torch.is_grad_enabled()
        memory = self._learned if learning else self._watched
        state = memory.recall(samples, self.device)
        events = [sample["events"].to(self.device, non_blocking=True) for sample in samples]
        lengths = [num_steps(sample) for sample in samples]
        running = list(range(len(samples)))
        for step in range(max(lengths)):
            going = [i for i, b in enumerate(running) if step < lengths[b]]
            if len(going) < len(running):
                state = take_streams(state, going)
                running = [running[i] for i in going]
            images = padded_batch([events[b][step] for b in running], self.backbone)
            features, state = self._stepping.step(images.tensor, state)
            for position, b in enumerate(running):
                if step + 1 == lengths[b]:
                    memory.keep(samples[b], state, position)
            yield step, running, features


def _rows(features: Features, rows: list[int]) -> Features:
    return {name: x if rows == list(range(len(x))) else x[rows] for name, x in features.items()}


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _check_labels(samples: Sequence[Sample]) -> None:
    unlabelled = [stream_of(sample) for sample in samples if "boxes" not in sample]
    if unlabelled:
        raise ValueError(
            f"No 'boxes' in the samples of the streams {unlabelled}. Training needs them (None "
            "marks a step without labels): use the training loader, or call eval()."
        )
