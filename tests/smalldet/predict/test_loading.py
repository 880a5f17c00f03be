"""A run folder, a config with weights and somebody's plain config become predictors."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import instantiate

import smalldet
from labbook.config.load import load_config, save_config, to_plain
from smalldet.data.catalog import registered
from smalldet.engine.checkpoint import save_whole
from smalldet.layers import precision
from smalldet.layers.recurrent_state import map_state
from smalldet.predict.images import ImagePredictor
from smalldet.predict.recordings import EventPredictor

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = {
    "heads": "configs/debug/demo/heads.py",
    "events": "configs/debug/etram_baseline_3scale.py",
}
OVERRIDES = {
    "heads": ["dataset.generate.train=2", "dataset.generate.valid=2", "dataset.generate.test=2"],
    "events": [
        "dataset.generate={seed: 0, train: 1, val: 1, test: 1, "
        "seconds: 0.6, width: 128, height: 96}"
    ],
}


def overrides(kind: str, folder: Path) -> list[str]:
    low = {
        "heads": ["model.head.score_threshold=0.0"],
        "events": ["model.head.score_threshold=0.0"],
    }
    return [*OVERRIDES[kind], *low[kind], f"dataset.root={folder / 'data'}"]


@pytest.fixture(scope="module", params=["heads", "events"])
def run(request, tmp_path_factory) -> tuple[str, Path]:
    """The kind and the folder of a run that was trained for no step."""
    folder = tmp_path_factory.mktemp(request.param)
    cfg = load_config(ROOT / CONFIGS[request.param], overrides(request.param, folder))
    save_config(cfg, folder)
    torch.manual_seed(1)
    model = instantiate(to_plain(cfg.model))
    save_whole({"model": model.state_dict()}, folder / "model_best.pth")
    return request.param, folder


def test_a_run_folder_gives_what_its_evaluation_gave(run):
    kind, folder = run
    predictor = smalldet.load(folder, device="cpu")
    cfg = to_plain(load_config(folder / "config.yaml"))
    dataset = registered(cfg["dataset"])
    loader = instantiate(cfg["dataloader"]["valid"])
    if kind == "heads":
        assert isinstance(predictor, ImagePredictor) and predictor.class_names == ["head"]
        for [sample] in loader:
            with torch.no_grad():
                expected = predictor.model([sample])[0]["instances"]
            found = predictor.predict(sample["file_name"])
            assert len(found) and torch.equal(found.pred_boxes.tensor, expected.pred_boxes.tensor)
            assert torch.equal(found.scores, expected.scores)
        return
    assert isinstance(predictor, EventPredictor) and "Pedestrian" in predictor.class_names
    [recording] = dataset.recordings("val")
    steps = recording.events(0, recording.num_steps)
    found = list(predictor.stream(steps))
    predictor.reset()
    sample = {"events": torch.from_numpy(steps), "stream": 0, "is_first": True}
    with torch.no_grad():
        expected = predictor.model([sample])
    for frame, one in zip(found, expected, strict=True):
        assert len(frame.instances)
        assert torch.allclose(frame.instances.scores, one["instances"].scores, atol=1e-6)


def test_a_config_file_takes_the_weights_that_are_named(run):
    kind, folder = run
    named = smalldet.load(
        ROOT / CONFIGS[kind], folder / "model_best.pth", "cpu", overrides(kind, folder)
    )
    own = smalldet.load(folder, device="cpu")
    weights = zip(named.model.state_dict().values(), own.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_in_bf16_nearly_the_same_is_found_and_memory_is_not_rounded(run, monkeypatch, caplog):
    kind, folder = run
    for instructions in (["AMX"], []):
        monkeypatch.setattr(precision, "bf16_instructions", lambda here=instructions: here)
        caplog.clear()
        rounded = smalldet.load(folder, device="cpu", precision="bf16")
        warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert bool(warned) == (not instructions)
    scores = []
    for predictor in (smalldet.load(folder, device="cpu"), rounded):
        if isinstance(predictor, ImagePredictor):
            found = [predictor.predict(np.full((64, 64, 3), 90, np.uint8))]
        else:
            counts = torch.rand(7, 20, 96, 128, generator=torch.Generator().manual_seed(0)) < 0.1
            found = [frame.instances for frame in predictor.stream(counts.byte().numpy())]
        scores.append(torch.cat([one.scores.sort(descending=True).values[:20] for one in found]))
        assert all(one.pred_boxes.tensor.dtype == torch.float32 for one in found)
    assert not torch.equal(*scores)
    torch.testing.assert_close(scores[1], scores[0], atol=0.02, rtol=0.05)
    if kind == "events":
        (state,), kept = rounded.model.model._watched.state_dict().values(), []
        map_state(lambda x: kept.append(x.dtype), state)
        assert kept and set(kept[1::2]) == {torch.float32}  # the cells, behind what they give out


@pytest.mark.parametrize(("name", "words"), [("", "fp32 or bf16"), ("graph.onnx", "exported")])
def test_a_precision_that_is_not_there_is_refused(name, words, run):
    with pytest.raises(ValueError, match=words):
        smalldet.load(run[1] / name, device="cpu", precision="bf16" if name else "half")


def test_what_is_no_run_or_has_no_weights_ends_in_a_sentence(tmp_path, run):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        smalldet.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"config\.yaml"):
        smalldet.load(tmp_path)
    _, folder = run
    (tmp_path / "config.yaml").write_bytes((folder / "config.yaml").read_bytes())
    with pytest.raises(FileNotFoundError, match="model_final"):
        smalldet.load(tmp_path, device="cpu")


def test_somebodys_plain_config_becomes_a_predictor(tmp_path):
    plain = ROOT / "tests/e2e/plain/retinanet.py"
    predictor = smalldet.load(plain, device="cpu")
    assert isinstance(predictor, ImagePredictor)
    strip = np.zeros((5, 100, 3), np.uint8)  # 66 x 1333 px for the model, not 800 x 1120
    assert predictor.predict(strip).image_size == (5, 100)
