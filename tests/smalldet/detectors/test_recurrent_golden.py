"""The whole detector against the official RVT: published file in, detections and training out."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from smalldet.backbones.rvt.checkpoint import DETECTOR_NAMES
from smalldet.backbones.rvt.model import MaxViTRNN
from smalldet.detectors.recurrent import RecurrentDetector
from smalldet.detectors.recurrent_checkpoint import load_published_detector
from smalldet.engine.build import load_pretrained
from smalldet.heads.yolox import YOLOXHead
from smalldet.necks.pafpn import PAFPN
from toy_detection import rvt_golden, state_of

LOSSES = {"loss_iou": "iou_loss", "loss_obj": "conf_loss", "loss_cls": "cls_loss"}


class Golden(NamedTuple):
    """One golden file, and our detector with its weights."""

    arrays: dict[str, Tensor]
    meta: dict[str, Any]
    model: RecurrentDetector

    def samples(self, chunk: int) -> list[dict[str, Any]]:
        events = self.arrays["in/x"][chunk]  # (T, B, 20, h, w)
        steps, streams = events.shape[:2]
        batch = []
        for stream in range(streams):
            keys = [f"in/label/c{chunk}_t{t}_b{stream}" for t in range(steps)]
            rows = [self.arrays.get(key) for key in keys]
            batch.append(
                {
                    "events": events[:, stream],
                    "boxes": [None if x is None else corners(x[:, 1:]) for x in rows],
                    "classes": [None if x is None else x[:, 0].long() for x in rows],
                    "is_first": bool(self.arrays[f"in/is_first_sample/{chunk}"][stream]),
                    "stream": stream,
                }
            )
        return batch


def corners(boxes: Tensor) -> Tensor:
    """(n, 4) left, top, width, height -> xyxy."""
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)


def write_published(path: Path, state: dict[str, Tensor]) -> Path:
    """A file with the names of the published checkpoints."""
    torch.save({"epoch": 0, "state_dict": {f"mdl.{k}": x for k, x in state.items()}}, path)
    return path


def detector(
    meta: dict[str, Any], path: Path, balanced: bool = False, **neck: Any
) -> RecurrentDetector:
    """Our detector as ``meta`` has it, to be started from a published file."""
    options = meta["config"]["backbone"]
    backbone = MaxViTRNN(
        embed_dim=options["embed_dim"],
        dim_head=options["stage"]["attention"]["dim_head"],
        patch_size=options["stem"]["patch_size"],
        partition_split=options["partition_split_32"],
    )
    thresholds = {"score_threshold": meta["conf_thre"], "nms_threshold": meta["nms_thre"]}
    head = YOLOXHead(num_classes=3, balanced_classifier=balanced, **thresholds)
    return RecurrentDetector(PAFPN(backbone, depth=0.33, **neck), head, init_checkpoint=str(path))


@pytest.fixture(scope="module", params=["e2e_p4", "e2e_p2"])
def golden(request, tmp_path_factory) -> Golden:
    """Tests that run the model copy it first."""
    meta, arrays = rvt_golden(request.param)
    path = tmp_path_factory.mktemp("published") / "rvt.ckpt"
    model = detector(meta, write_published(path, state_of(arrays, "sd/")))
    model.load_pretrained()
    return Golden(arrays, meta, model)


def test_a_published_checkpoint_is_the_start_of_a_larger_model(golden: Golden):
    path = golden.model.init_checkpoint
    options = {"in_stages": (1, 2, 3, 4), "enable_small_object_attention": True}
    model = detector(golden.meta, Path(path), balanced=True, **options)
    fresh = {name: x.clone() for name, x in model.state_dict().items()}
    report = load_published_detector(model, path)
    assert report and (report.missing, report.dropped, report.unfit) == ((), (), ())
    state, published = model.state_dict(), golden.model.state_dict()
    middle = "backbone.C3_n3.conv1.conv.weight"
    assert torch.equal(state[middle], published[middle])
    for level in range(3):
        name = "head.cls_preds.{}.weight".format
        assert torch.equal(state[name(level + 1)], published[name(level)])
    assert {f"head.abc_preds.{level}.weight" for level in range(4)} < set(report.new)
    for name in report.new:
        assert torch.equal(state[name], fresh[name])


def test_a_run_may_start_from_a_published_checkpoint(golden: Golden, caplog):
    path = golden.model.init_checkpoint
    model = detector(golden.meta, Path())
    model.init_checkpoint = ""
    with caplog.at_level("INFO"):
        load_pretrained(model, path)
    assert "RVT checkpoint; loaded" in caplog.text
    published = golden.model.state_dict()
    assert all(torch.equal(x, published[name]) for name, x in model.state_dict().items())
    with pytest.raises(ValueError, match=r"bottom_up\.init_checkpoint"):
        load_pretrained(model.head, path)


def test_detections_of_a_published_checkpoint(golden: Golden):
    with torch.no_grad():
        outputs = copy.deepcopy(golden.model).eval()(golden.samples(0))
    order = [[output["step"], output["sample"]] for output in outputs]
    assert order == golden.arrays["eval/selected_order_t_b"].tolist()
    for index, output in enumerate(outputs):
        found, expected = output["instances"], golden.arrays[f"eval/det{index}"]
        assert found.image_size == tuple(golden.meta["data_hw"])
        torch.testing.assert_close(found.pred_boxes.tensor, expected[:, :4], rtol=1e-4, atol=1e-4)
        close = {"rtol": 2e-4, "atol": 2e-5}
        torch.testing.assert_close(found.scores, expected[:, 4] * expected[:, 5], **close)
        torch.testing.assert_close(found.class_confidence, expected[:, 5], **close)
        assert found.pred_classes.tolist() == expected[:, 6].tolist()


def rounding_noise(gradient: Tensor) -> Tensor:
    """Number of entries whose true gradient is 0, as of the keys' bias before a softmax.

    Adam moves these too, by the learning rate, in the direction that rounding gives on this CPU.
    """
    return (gradient.abs() < 1e-6 * gradient.abs().max()).sum()


def test_two_chunks_of_training(golden: Golden):
    model = copy.deepcopy(golden.model).train()
    parameters = {published_name(name): p for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=golden.meta["lr"], weight_decay=0)
    for chunk in (0, 1):
        optimizer.zero_grad()
        losses = model(golden.samples(chunk))
        sum(losses.values()).backward()
        expected = f"train/chunk{chunk}"
        for ours, theirs in LOSSES.items():
            torch.testing.assert_close(
                losses[ours].double(), golden.arrays[f"{expected}/{theirs}"], rtol=2e-4, atol=2e-5
            )
        names = golden.meta[f"{expected}/param_names"]
        assert set(names) == set(parameters)
        norms = torch.stack([parameters[name].grad.double().norm() for name in names])
        torch.testing.assert_close(
            norms, golden.arrays[f"{expected}/grad_norms"], rtol=1e-3, atol=1e-4
        )
        noise = torch.stack([rounding_noise(parameters[name].grad) for name in names])
        torch.nn.utils.clip_grad_value_(parameters.values(), golden.meta["clip_value"])
        optimizer.step()
        norms = torch.stack([parameters[name].detach().double().norm() for name in names])
        theirs = golden.arrays[f"{expected}/param_norms_after_step"]
        drift = 2 * (chunk + 1) * golden.meta["lr"] * noise.sqrt()
        assert ((norms - theirs).abs() <= 2e-4 * theirs + 2e-5 + drift).all()
    assert_states_equal(model, golden.arrays)


def assert_states_equal(model: RecurrentDetector, arrays: dict[str, Tensor]) -> None:
    """What the streams carry on after the last chunk."""
    states = model.recurrent_state()
    for stage in range(4):
        for part, name in enumerate("hc"):
            found = torch.cat([states[stream][stage][part] for stream in (0, 1)])
            expected = arrays[f"train/chunk1/{name}{stage + 1}"]
            torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-5)


def published_name(name: str) -> str:
    prefix = max((p for p in DETECTOR_NAMES if name.startswith(p)), key=len)
    return DETECTOR_NAMES[prefix] + name.removeprefix(prefix)
