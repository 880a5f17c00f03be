"""Toy runs through PyTorch's exporter, and back as predictors that find what the runs find."""

from __future__ import annotations

import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from toy_runs import write_run

import smalldet
from in_process import call
from smalldet.detectors import ImageDetector
from smalldet.export import command
from smalldet.export.check import check, different_boxes
from smalldet.export.command import export_run
from smalldet.export.program import Program, plan_of
from smalldet.export.writing import exported, write_pt2
from smalldet.heads.yolox import YOLOXHead
from smalldet.predict.exported import open_graph
from smalldet.predict.manifest import KEY
from toy_detection import PatchBackbone

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

SIZE = (60, 90)  # of histograms; padded to 64x96


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return write_run("events", tmp_path_factory.mktemp("events"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    two_levels = ["+model.backbone.scale_factors=[4,1]", "model.head.in_features=[p2,p4]"]
    return write_run("images", tmp_path_factory.mktemp("images"), two_levels)


@pytest.fixture(scope="module")
def events_of_voxels(tmp_path_factory):
    voxels = ["dataset.representation=voxel", "model.backbone.bottom_up.in_channels=10"]
    one_level = "model.head.in_features=[stage3]"
    return write_run("events", tmp_path_factory.mktemp("voxels"), [*voxels, one_level])


@pytest.fixture(scope="module", params=[("onnx", "events"), ("pt2", "events_of_voxels")], ids=str)
def exported_events(request, tmp_path_factory):
    """The run, its file in one of the formats, what the command said, and the file's predictor."""
    file_format, kind = request.param
    run = request.getfixturevalue(kind)
    file = tmp_path_factory.mktemp("out") / f"toy.{file_format}"
    said = export_run(run, file_format, file, SIZE)
    return run, file, said, smalldet.load(file)


@pytest.fixture(scope="module")
def exported_images(images):
    return images / f"{images.name}.onnx", export_run(images, "onnx")


def time_steps(representation: str, steps: int, size=SIZE) -> np.ndarray:
    rng = np.random.default_rng(0)
    if representation == "voxel":
        shape = steps, 10, *size
        return (rng.normal(0, 0.5, shape) * (rng.random(shape) < 0.3)).astype(np.float16)
    return rng.poisson(0.3, (steps, 20, *size)).astype(np.uint8)


def same(one, other) -> bool:
    """Whether two ``Instances`` hold the same detections."""
    return (
        len(one) == len(other) > 0
        and different_boxes(one, other) == different_boxes(other, one) == 0
        and torch.allclose(one.scores, other.scores, atol=1e-4)
    )


def test_a_recurrent_run_finds_the_same_from_its_file(exported_events):
    folder, _, said, copy = exported_events
    assert "over 10 steps and after a reset" in said and "64x96 px only" in said
    assert "boxes after NMS: the same" in said and "ms" in said
    run = smalldet.load(folder, device="cpu")
    assert copy.class_names == run.class_names and copy.downsample == run.downsample
    assert copy.representation == run.representation
    steps = time_steps(run.representation, 7)
    for part in (steps[:3], steps[3:]):  # memory goes on from call to call
        pairs = zip(run.stream(part), copy.stream(part), strict=True)
        assert all(same(a.instances, b.instances) for a, b in pairs)
    middle = next(iter(copy.stream(steps[:1]))).instances
    copy.reset()
    anew = next(iter(copy.stream(steps[:1]))).instances
    run.reset()
    assert same(anew, next(iter(run.stream(steps[:1]))).instances) and not same(anew, middle)


def test_time_steps_of_another_size_are_refused(exported_events):
    copy = exported_events[-1]
    with pytest.raises(ValueError, match=r"takes 64x96 px.*is 96x128.*--size 96 128"):
        list(copy.stream(time_steps(copy.representation, 1, (96, 128))))


def test_the_graph_has_pytorchs_own_operations_alone(exported_events):
    file = exported_events[1]
    if file.suffix == ".pt2":
        with zipfile.ZipFile(file) as archive:
            [model] = [x for x in archive.namelist() if x.endswith("models/model.json")]
            graph = json.loads(archive.read(model))["graph_module"]["graph"]
        names = {node["target"] for node in graph["nodes"]}
        assert not [name for name in names if not name.startswith("torch.ops.aten.")]
        assert "torch.ops.aten.linear.default" in names  # whatever the machine trains with
        return
    session = onnxruntime.InferenceSession(file)
    inputs = {node.name: node.shape for node in session.get_inputs()}
    assert inputs["images"] == [1, 20, 64, 96] and inputs["state_0_1"] == [1, 8, 16, 24]
    outputs = [node.name for node in session.get_outputs()]
    assert outputs[:2] == ["predictions", "next_state_0_0"] and len(outputs) == len(inputs) == 9
    described = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    assert described["format"] == 1 and list(described["state"]) == list(inputs)[1:]
    onnx = pytest.importorskip("onnx")
    assert {node.domain for node in onnx.load(file).graph.node} == {""}


def test_an_image_run_finds_the_same_from_its_file(images, exported_images):
    file, said = exported_images
    assert "an embedding for each patch" in said and "boxes after NMS: the same" in said
    run, copy = smalldet.load(images, device="cpu"), smalldet.load(file)
    assert copy.class_names == run.class_names == ["head"]
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    assert same(copy.predict(image), run.predict(image))
    assert copy.predict(image).image_size == (50, 70)


def test_weights_beside_an_exported_graph_and_a_second_export_are_refused(exported_images):
    file, _ = exported_images
    with pytest.raises(ValueError, match=r"other\.pth"):
        smalldet.load(file, "other.pth")
    with pytest.raises(ValueError, match="exported already"):
        export_run(file, "pt2")


def test_a_cascade_gives_its_features_and_says_why_no_boxes(tmp_path):
    run = write_run("cascade", tmp_path / "run")
    said = export_run(run, "pt2", tmp_path / "features.pt2")
    assert "features p2, p3, p4, p5, p6, without CascadeROIHeads" in said
    assert "--format weights" in said and "NMS" not in said
    with pytest.raises(ValueError, match="holds features without the head"):
        smalldet.load(tmp_path / "features.pt2")


def test_a_convolutional_detector_takes_every_size(tmp_path):
    torch.manual_seed(0)
    backbone = PatchBackbone({"a": (8, 8), "b": (8, 16)})
    backbone.freeze()
    model = ImageDetector(backbone, YOLOXHead(num_classes=2)).eval()
    plan, graph = exported(plan_of(Program(model), (64, 96)))
    assert not plan.fixed
    write_pt2(graph, tmp_path / "x.pt2", {})
    assert any(
        "multiple of 16 px" in line for line in check(open_graph(tmp_path / "x.pt2")[0], plan)
    )
    assert backbone.frozen  # the model itself stays as it was


class Choosing(PatchBackbone):
    """Looks at what it is given before it decides."""

    def extract(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return super().extract(images if images.mean() > 0 else -images)


class OneWidth(PatchBackbone):
    """Knows one width by heart."""

    def extract(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return super().extract(images.reshape(1, 3, -1, 32))


def test_what_pytorch_cannot_follow_ends_in_a_sentence_or_one_size():
    head = YOLOXHead(num_classes=2)
    model = ImageDetector(Choosing({"a": (8, 8)}), head).eval()
    with pytest.raises(ValueError, match=r"Choosing cannot be exported.*--format weights"):
        exported(plan_of(Program(model), (32, 32)))
    model = ImageDetector(OneWidth({"a": (8, 8)}), YOLOXHead(num_classes=2)).eval()
    plan, _ = exported(plan_of(Program(model), (32, 32)))
    assert "cannot follow it for others" in plan.fixed


@pytest.mark.parametrize("kind", ["events", "images"])
def test_weights_give_the_same_outputs_without_the_run(kind, request, tmp_path):
    folder = request.getfixturevalue(kind)
    file = tmp_path / "weights.safetensors"
    assert "no optimizer" in export_run(folder, "weights", file)
    run, copy = smalldet.load(folder, device="cpu"), smalldet.load(file, device="cpu")
    pairs = zip(run.model.state_dict().items(), copy.model.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)
    assert copy.class_names == run.class_names
    with safe_open(file, "pt") as content:
        assert set(content.keys()) == set(run.model.state_dict())
        assert content.metadata()["config"] == (folder / "config.yaml").read_text()
    named = smalldet.load(folder, file, device="cpu")  # as a checkpoint of a run, too
    assert torch.equal(next(named.model.parameters()), next(run.model.parameters()))


def test_damaged_and_foreign_files_end_in_sentences(exported_images, images, tmp_path):
    for name in ("onnx", "pt2", "safetensors"):
        (tmp_path / f"noise.{name}").write_bytes(b"\x00" * 100)
        with pytest.raises(ValueError, match=f"noise.{name} cannot be read"):
            smalldet.load(tmp_path / f"noise.{name}")
        with pytest.raises(FileNotFoundError, match=f"none.{name}"):
            smalldet.load(tmp_path / f"none.{name}")
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(exported_images[0].read_bytes()[:5000])
    with pytest.raises(ValueError, match="cannot be read"):
        smalldet.load(cut)
    foreign = tmp_path / "foreign.safetensors"
    for metadata, message in [
        ({}, "no file of tools/export.py"),
        ({"smalldet": "{", "config": "x: 1"}, "damaged"),
        ({"smalldet": '{"format": 1}', "config": "x: 1"}, "damaged"),
        ({"smalldet": '{"format": 2, "holds": "weights"}', "config": "x: 1"}, "format 2"),
        ({"smalldet": '{"format": 1, "holds": "weights"}', "config": "[1"}, "does not load"),
    ]:
        save_file({"a": torch.zeros(1)}, foreign, metadata)
        with pytest.raises(ValueError, match=message):
            smalldet.load(foreign)


def test_weights_of_another_model_are_named(images, tmp_path):
    file = tmp_path / "less.safetensors"
    export_run(images, "weights", file)
    with safe_open(file, "pt") as content:
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        metadata = content.metadata()
    tensors.popitem()
    save_file(tensors, file, metadata)
    with pytest.raises(ValueError, match=r"does not fit .* is missing"):
        smalldet.load(file, device="cpu")


def test_a_failed_check_leaves_no_file_and_keeps_the_old_one(images, tmp_path, monkeypatch):
    def half(graph, path, metadata):
        path.write_bytes(b"half")

    def zeros(path):
        return lambda *given: [torch.zeros(1, 272, 6)], {}

    monkeypatch.setattr(command, "exported", lambda plan: (plan, None))
    monkeypatch.setattr(command, "write_pt2", half)
    monkeypatch.setattr(command, "open_graph", zeros)
    with pytest.raises(ValueError, match="other values: boxes"):
        export_run(images, "pt2", tmp_path / "new.pt2")
    assert not list(tmp_path.iterdir())
    shutil.copy(images / "config.yaml", tmp_path / "old.pt2")
    with pytest.raises(ValueError, match="other values"):
        export_run(images, "pt2", tmp_path / "old.pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["old.pt2"]
    assert (tmp_path / "old.pt2").read_bytes() == (images / "config.yaml").read_bytes()


def test_the_script_takes_overrides_and_fails_with_a_sentence(events, tmp_path):
    file = tmp_path / "x.safetensors"
    words = [events, "--format", "weights", "--out", file]
    for override, status in (("model.head.nms_threshold=0.6", 0), ("model.head.width=3", 1)):
        done = call("tools/export.py", *words, override)
        assert done.returncode == status, done.stderr
    assert smalldet.load(file, device="cpu").model.head.nms_threshold == 0.6
    assert "Traceback" not in done.stderr and "does not fit" in done.stderr


def test_what_cannot_be_asked_for_ends_in_a_sentence(events, images, tmp_path):
    with pytest.raises(ValueError, match="no format tflite"):
        export_run(events, "tflite")
    with pytest.raises(ValueError, match=r"end in \.onnx"):
        export_run(events, "onnx", tmp_path / "x.pt2")
    with pytest.raises(ValueError, match="--size HEIGHT WIDTH"):
        export_run(events, "onnx")  # its recordings are nowhere
    with pytest.raises(ValueError, match="does not run on 64x96 px"):
        export_run(images, "onnx", tmp_path / "x.onnx", size=(64, 96))
