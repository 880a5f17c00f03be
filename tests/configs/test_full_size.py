"""Each real config, at full model and input size: two steps of one sample, and an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from script_runs import ROOT, assert_two_steps_and_scores

from eventcam.prepare.folder import prepare_all
from eventcam.prepare.recording import Preparation
from eventcam.published import as_published
from labbook.config.load import load_config
from smalldet.backbones.vim.random_checkpoint import write_random_checkpoint
from toydata.heads import GeneratedHeads
from toydata.streets import GeneratedRecordings, recordings_like

pytestmark = pytest.mark.slow
OFAT, SMALL_OBJECTS, BACKBONES, ETRAM, RVT = (
    sorted((ROOT / "configs" / study).glob("*.py"))
    for study in ("ofat", "small_objects", "backbones", "etram", "rvt")
)
SHORT = [
    "train.max_iter=2",
    "train.eval_period=2",
    "train.checkpointer.period=2",
    "train.log_period=1",
    "train.total_batch_size=1",
    "train.micro_batch_size=1",
]
FROZEN = 7_224_384  # 24 blocks, patch embedding, 1,601 positions and the class token
TRAINABLE = 49_489_617  # pyramid 2,664,880, proposals 1,184,015, boxes 45,640,722

# Of timm's backbones without what follows the last map, and of the pyramid on four maps.
BODIES = {"vit": 5_793_600, "resnet50": 23_454_912, "convnext": 27_818_592, "swin": 27_517_818}
BLOCK = 282_048  # one of ViM-Tiny
POSITIONS_960 = (60**2 - 40**2) * 192
ON_FPN = {  # by the channels of the maps, in place of the simple pyramid
    "resnet50": TRAINABLE - 2_664_880 + 3_346_432,
    "convnext": TRAINABLE - 2_664_880 + 2_732_032,
    "swin": TRAINABLE - 2_664_880 + 2_732_032,
}

# As published for 3 classes; each other class is three predictions (of width + 1).
PUBLISHED = {"tiny": (4_405_336, 64), "small": (9_870_456, 96), "base": (18_536_856, 128)}
RVT_T, RVT_S, RVT_B = (published + 5 * 3 * (width + 1) for published, width in PUBLISHED.values())
PATCH_2 = RVT_B - 20 * 64 * (7 * 7 - 3 * 3)  # the first convolution alone is smaller
PARAMETERS = {"baseline_3scale_100k_tiny": RVT_T, "baseline_3scale_100k_small": RVT_S} | {
    "baseline_3scale_voxel_100k": RVT_B - 10 * 64 * 7 * 7,  # half of the input's channels
    # Not in the publication: measured.
    "4scale_100k": 19_334_068,
    "4scale_sizeaware_100k": 19_334_068,
    "3scale_sizeaware_attention_100k": 19_995_079,
    "3scale_sizeaware_abc_100k": RVT_B + 3 * 8 * (128 + 1),  # another classifier a level
    "patch2_sizeaware_100k": PATCH_2,
    "patch2_4scale_sizeaware_200k": 19_334_068 - (RVT_B - PATCH_2),
}
PARAMETERS |= {f"{name}_low_memory": PARAMETERS[name] for name in PARAMETERS if "patch2" in name}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> list[str]:
    folder: Path = tmp_path_factory.mktemp("full_size")
    wanted = {"seed": 0, "image_size": 640, "train": 4, "valid": 2, "test": 2}
    GeneratedHeads(**wanted).ensure(folder / "coco")
    weights = write_random_checkpoint(folder / "vim_tiny.pth")
    return [
        f"dataset.root={folder / 'coco'}",
        f"model.backbone.bottom_up.init_checkpoint={weights}",
        "dataloader.num_workers=0",
        "train.images=4",
        *SHORT,
    ]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """One recording a split, of the real sensor's size, in each way that a config asks for."""
    folder: Path = tmp_path_factory.mktemp("events")
    sizes = {"train": 1, "val": 1, "test": 1, "seconds": 1.0, "width": 1280, "height": 720}
    GeneratedRecordings(**sizes).ensure(folder / "raw")
    for kind, representation in (
        ("nearest", "histogram"),
        ("sum", "histogram"),
        ("nearest", "voxel"),
    ):
        settings = Preparation("etram_cls8", kind, representation=representation)
        out = folder / representation / kind
        assert not prepare_all(folder / "raw", out, settings, workers=0, progress=False).failed
    return folder


def backbone_overrides(cfg, inputs: list[str], folder: Path) -> list[str]:
    """Random weights of timm's whole model from a file; few tiles, with the largest input only."""
    tile = 480 if cfg.dataloader.image_size == 960 else 0
    words = ["evaluation.valid.tile=0", f"evaluation.test.tile={tile}"]
    if "model_name" in cfg.model.backbone.bottom_up:
        whole = timm.create_model(cfg.model.backbone.bottom_up.model_name)
        torch.save(whole.state_dict(), folder / "timm.pth")
        words.append(f"model.backbone.bottom_up.init_checkpoint={folder / 'timm.pth'}")
    return [*inputs, *words]


def backbone_parameters(name: str) -> dict[str, int]:
    """Trainable and frozen ones of a config of the study."""
    kind = name.removeprefix("vim_tiny_").partition("_")[0]
    body = BODIES.get(kind, FROZEN + POSITIONS_960 * (kind == "960"))
    blocks = {"last4": 4, "last8": 8}.get(kind, 0)
    learning = body if name.endswith("finetuned") else blocks * BLOCK
    return {"trainable": ON_FPN.get(kind, TRAINABLE) + learning, "frozen": body - learning}


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory) -> Path:
    """One recording a split of each of Prophesee's sensors, at the published resolution."""
    folder: Path = tmp_path_factory.mktemp("benchmarks")
    for data, class_map in (("gen1", "gen1_2classes"), ("gen4", "gen4_3classes")):
        recordings_like(class_map, train=1, val=1, test=1, seconds=1.5).ensure(
            folder / "raw" / data
        )
        settings = Preparation(class_map, as_published(class_map).downsample)
        summary = prepare_all(folder / "raw" / data, folder / data, settings, progress=False)
        assert not summary.failed
    return folder


def etram_overrides(config: Path, recordings: Path) -> list[str]:
    cfg = load_config(config)
    patch_2 = cfg.model.backbone.bottom_up.patch_size == 2
    return [
        *(["dataloader.sequence_length=2"] if patch_2 else []),  # memory
        *event_overrides(recordings / cfg.dataset.representation / cfg.dataset.downsample),
    ]


def event_overrides(root: Path) -> list[str]:
    return [
        f"train.amp.enabled={torch.cuda.is_available()}",  # bf16 takes hundreds of times as long
        f"dataset.root={root}",
        "dataloader.train.num_workers=0",
        "dataloader.valid.num_workers=0",
        "dataloader.test.num_workers=0",
        "dataloader.valid.limit=2",
        "dataloader.test.limit=2",
        *SHORT,
    ]


@pytest.mark.parametrize("config", OFAT + SMALL_OBJECTS, ids=lambda path: path.stem)
def test_ofat_and_small_objects(config, inputs, tmp_path):
    parameters = assert_two_steps_and_scores(config, tmp_path, inputs)
    assert parameters == {"trainable": TRAINABLE, "frozen": FROZEN}


@pytest.mark.parametrize("config", BACKBONES, ids=lambda path: path.stem)
def test_backbones(config, inputs, tmp_path):
    overrides = backbone_overrides(load_config(config), inputs, tmp_path)
    found = assert_two_steps_and_scores(config, tmp_path / "run", overrides)
    assert found == backbone_parameters(config.stem)


@pytest.mark.parametrize("config", ETRAM, ids=lambda path: path.stem)
def test_etram(config, recordings, tmp_path):
    found = assert_two_steps_and_scores(config, tmp_path, etram_overrides(config, recordings))
    assert found == {"trainable": PARAMETERS.get(config.stem, RVT_B), "frozen": 0}


@pytest.mark.parametrize("config", RVT, ids=lambda path: path.stem)
def test_rvt(config, benchmarks, tmp_path):
    data, size = config.stem.split("_")
    overrides = event_overrides(benchmarks / data)
    # Half of a batch is a stream, half a window: there is no batch of one.
    overrides.append("train.total_batch_size=2")
    parameters, width = PUBLISHED[size]
    parameters -= 3 * (width + 1) if data == "gen1" else 0
    found = assert_two_steps_and_scores(config, tmp_path, overrides)
    assert found == {"trainable": parameters, "frozen": 0}
