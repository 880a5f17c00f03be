"""Exported files as models: the graph by its runtime, NMS and memory around it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Instances
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from smalldet.detectors.recurrent_samples import Sample, check_samples, frame_size, stream_of
from smalldet.heads.yolox_detections import select_detections
from smalldet.predict.manifest import CONFIG_KEY, KEY, Manifest, read_manifest

ONNX, PT2, WEIGHTS = ".onnx", ".pt2", ".safetensors"
GRAPHS = (ONNX, PT2)

Graph = Callable[..., list[Tensor]]  # tensors in, tensors out, in the order of the manifest


def read_metadata(path: Path) -> dict[str, str]:
    """The strings that a ``.safetensors`` file holds beside its tensors.

    Raises:
        ValueError: it is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read: it is damaged ({error}).") from error


def open_graph(path: Path, device: str = "cpu") -> tuple[Graph, dict[str, str]]:
    """An exported graph, ready to run, and its metadata.

    Args:
        path: an ``.onnx`` or ``.pt2`` file.
        device: "cpu"; "cuda" or "auto" asks for a GPU, of an ONNX file where onnxruntime has one.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is damaged, or onnxruntime is not installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no exported file {path}.")
    return _open_onnx(path, device) if path.suffix == ONNX else _open_pt2(path)


def _open_onnx(path: Path, device: str) -> tuple[Graph, dict[str, str]]:
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(
            "onnxruntime is not installed, which runs .onnx files: pip install onnxruntime."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    wanted = ["CUDAExecutionProvider"] * (device != "cpu") + ["CPUExecutionProvider"]
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its errors have no common class
        raise ValueError(f"{path} cannot be read as an ONNX file; it is damaged.") from error
    names = [node.name for node in session.get_inputs()]

    def run(*tensors: Tensor) -> list[Tensor]:
        feeds = {name: x.numpy() for name, x in zip(names, tensors, strict=True)}
        return [torch.from_numpy(x) for x in session.run(None, feeds)]

    return run, dict(session.get_modelmeta().custom_metadata_map)


def _open_pt2(path: Path) -> tuple[Graph, dict[str, str]]:
    metadata = {KEY: "", CONFIG_KEY: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of buffers that nobody writes to
            module = torch.export.load(str(path), extra_files=metadata).module()
    except Exception as error:  # torch raises nearly anything on damaged files
        raise ValueError(f"{path} cannot be read as a program of torch.export.") from error
    return lambda *tensors: list(module(*tensors)), metadata


class ExportedModel(nn.Module):
    """What images and recordings have in common.

    Args:
        graph: see :data:`Graph`.
        manifest: of the same file; it holds detections.

    Raises:
        ValueError: it holds none.
    """

    def __init__(self, graph: Graph, manifest: Manifest) -> None:
        super().__init__()
        if manifest.holds != "detections":
            raise ValueError(
                f"The file holds {manifest.holds} without the head that finds boxes in them; use "
                "the run folder, or its weights (tools/export.py RUN --format weights)."
            )
        self.graph, self.manifest = graph, manifest

    def padded(self, image: Tensor) -> Tensor:
        """``image`` (C, h, w) as the graph takes it, (1, C, H, W) float32.

        Raises:
            ValueError: it does not become the size of the graph.
        """
        height, width = image.shape[-2:]
        multiple, size = self.manifest.multiple, tuple(self.manifest.size)
        sides = -(-height // multiple) * multiple, -(-width // multiple) * multiple
        if size and sides != size:
            raise ValueError(
                f"The exported model takes {size[0]}x{size[1]} px (height x width), but the input "
                f"is {height}x{width}. Export the run again with --size {height} {width}."
            )
        values = torch.tensor(self.manifest.padding).view(1, -1, 1, 1)
        canvas = values.expand(1, len(image), *sides).clone()
        canvas[0, :, :height, :width] = image
        return canvas

    def found(self, predictions: Tensor, size: tuple[int, int]) -> Instances:
        """Detections on an image of ``size`` (height, width) before padding."""
        return select_detections(predictions[0], size, **(self.manifest.nms or {}))


class ExportedImages(ExportedModel):
    """An ``ImageDetector`` from a file."""

    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Instances]]:
        """As ``ImageDetector.forward`` in inference."""
        results = []
        for one in batched_inputs:
            image = one["image"].cpu()
            height, width = image.shape[-2:]
            found = self.found(self.graph(self.padded(image))[0], (height, width))
            size = one.get("height", height), one.get("width", width)
            results.append({"instances": detector_postprocess(found, *size)})
        return results


class ExportedRecordings(ExportedModel):
    """A ``RecurrentDetector`` from a file, with a memory for each stream."""

    def __init__(self, graph: Graph, manifest: Manifest) -> None:
        super().__init__(graph, manifest)
        self._states: dict[Hashable, list[Tensor]] = {}

    def forward(self, samples: Sequence[Sample]) -> list[dict[str, Any]]:
        """As ``RecurrentDetector.forward`` in inference, of samples without labels."""
        check_samples(samples)
        found = [one for number, sample in enumerate(samples) for one in self._play(number, sample)]
        return sorted(found, key=lambda one: one["step"])  # samples keep their order

    def _play(self, number: int, sample: Sample) -> list[dict[str, Any]]:
        stream, results = stream_of(sample), []
        state = None if sample["is_first"] else self._states.get(stream)
        state = zero_state(self.manifest) if state is None else state
        for step, events in enumerate(sample["events"].cpu()):
            predictions, *state = self.graph(self.padded(events), *state)
            found = self.found(predictions, frame_size(sample))
            results.append({"instances": found, "sample": number, "step": step})
        self._states[stream] = state
        return results


def zero_state(manifest: Manifest) -> list[Tensor]:
    """What a recording starts with."""
    return [torch.zeros(*shape) for shape in (manifest.state or {}).values()]


def exported_model(path: Path, device: str = "cpu") -> tuple[ExportedModel, str]:
    """The model in an exported graph, and the config (YAML) of its run.

    Raises:
        FileNotFoundError, ValueError: see :func:`open_graph`, :func:`read_manifest` and
            :class:`ExportedModel`.
    """
    graph, metadata = open_graph(path, device)
    manifest = read_manifest(metadata, path)
    kind = ExportedRecordings if manifest.recurrent else ExportedImages
    return kind(graph, manifest), metadata[CONFIG_KEY]
