"""Order and content of samples: the same whatever the workers, micro-batches and processes."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from coco_folders import write_data_set
from detectron2.data import transforms as T

from smalldet.data.augment import CropAroundBox
from smalldet.data.catalog import register
from smalldet.data.errors import DataError
from smalldet.data.loader import build_eval_loader, build_train_loader, shard
from smalldet.data.mapper import SeededMapper
from smalldet.data.mosaic import Mosaic
from smalldet.data.sample_stream import BatchPlan, SampleStream
from smalldet.data.splits import CocoSplits

IMAGES = 11
ORDER_OF_8_SEED_1 = [6, 2, 3, 7, 1, 4, 5, 0, 2, 0, 3, 4, 1, 6, 7, 5]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Registered name of the training images."""
    return registered(tmp_path_factory.mktemp("data"), IMAGES)["train"]


def registered(folder: Path, images: int = 6) -> dict[str, str]:
    root = write_data_set(folder / "set", images)
    return register(CocoSplits(str(root), name=f"loader_{folder.name}"))


def loader(dataset: str, total: int = 8, micro: int = 8, workers: int = 0, **more: Any) -> Any:
    jitter = T.ResizeScale(0.5, 2.0, 48, 48)
    cut = [Mosaic(dataset, 48, [jitter]), CropAroundBox(48)]
    augmentations = [*cut, T.RandomBrightness(0.5, 1.5), T.RandomFlip()]
    mapper = SeededMapper(augmentations, is_train=True, seed=5)
    return build_train_loader(dataset, mapper, total, micro, workers, 5, **more)


def flat(steps: list[list[list[dict]]]) -> list[dict]:
    return [sample for step in steps for batch in step for sample in batch]


def assert_same(left: list[dict], right: list[dict]) -> None:
    assert [s["image_id"] for s in left] == [s["image_id"] for s in right]
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(left, right, strict=True))
    for a, b in zip(left, right, strict=True):
        assert torch.equal(a["instances"].gt_boxes.tensor, b["instances"].gt_boxes.tensor)


@pytest.fixture(scope="module")
def first_steps(dataset: str) -> list[list[list[dict]]]:
    """Of the whole batch, loaded in this process."""
    return list(islice(loader(dataset), 5))


@pytest.mark.parametrize(("micro", "workers"), [(1, 1), (2, 2), (8, 1), (8, 2)])
def test_workers_and_micro_batches_do_not_matter(
    dataset: str, first_steps: list, micro: int, workers: int
) -> None:
    steps = list(islice(loader(dataset, micro=micro, workers=workers), 3))
    assert {len(step) for step in steps} == {8 // micro}
    assert {len(batch) for step in steps for batch in step} == {micro}
    assert_same(flat(steps), flat(first_steps[:3]))


def test_processes_share_each_batch(dataset: str, first_steps: list) -> None:
    halves = [list(islice(loader(dataset, micro=2, rank=rank, world_size=2), 3)) for rank in (0, 1)]
    for step, first, second in zip(first_steps[:3], *halves, strict=True):
        assert len(first) == len(second) == 2
        assert_same(flat([first]) + flat([second]), flat([step]))


@pytest.mark.parametrize("workers", [0, 2])
def test_seeking_continues_exactly(dataset: str, first_steps: list, workers: int) -> None:
    resumed = loader(dataset, micro=2, workers=workers)
    resumed.seek(2 * 8)
    assert_same(flat(list(islice(resumed, 2))), flat(first_steps[2:4]))
    assert resumed.samples_seen == 4 * 8
    assert_same(flat(list(islice(resumed, 1))), flat(first_steps[4:]))  # a new iteration goes on
    resumed.seek(0)
    assert_same(flat(list(islice(resumed, 1))), flat(first_steps[:1]))  # and back, workers kept


def test_every_image_comes_once_in_each_epoch(dataset: str) -> None:
    # Four epochs, in batches smaller and larger than the data set.
    whole = SeededMapper([], is_train=True)
    loaders = {n: build_train_loader(dataset, whole, n, n, seed=5) for n in (4, 22)}
    parts = [list(islice(batches, 44 // n)) for n, batches in loaders.items()]
    ids, others = ([sample["image_id"] for sample in flat(part)] for part in parts)
    assert ids == others
    epochs = [ids[start : start + IMAGES] for start in range(0, len(ids), IMAGES)]
    assert len(epochs) == 4
    assert all(sorted(epoch) == list(range(1, IMAGES + 1)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_order_never_changes() -> None:
    """A stored order: a checkpoint's place in the stream must mean the same in all versions."""
    stream = SampleStream(8, seed=1)
    assert [stream.index(n) for n in range(16)] == ORDER_OF_8_SEED_1
    assert [stream.index(n) for n in (15, 0, 9)] == [ORDER_OF_8_SEED_1[n] for n in (15, 0, 9)]
    assert [SampleStream(8, seed=2).index(n) for n in range(16)] != ORDER_OF_8_SEED_1


@pytest.mark.parametrize(
    ("total", "micro", "world", "message"),
    [
        (8, 2, 3, "total_batch_size=8 cannot be divided among 3 processes"),
        (8, 3, 1, r"micro_batch_size=3 does not divide the 8 images .* one of \[1, 2, 4, 8\]"),
        (8, 0, 1, "at least 1"),
        (0, 1, 1, "at least 1"),
    ],
)
def test_sizes_that_do_not_divide_are_sentences(
    total: int, micro: int, world: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        BatchPlan(total, micro, 0, world)


def test_a_large_micro_batch_means_the_share() -> None:
    assert BatchPlan(8, 64, 1, 2).step(16) == [[20, 21, 22, 23]]


def test_global_generators_are_not_touched(dataset: str) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    list(islice(loader(dataset, workers=1), 1))
    list(build_eval_loader(dataset, SeededMapper([], False)))
    assert torch.equal(torch.rand(1), expected)


def test_an_unreadable_image_stops_the_loader_by_name(tmp_path: Path) -> None:
    dataset = registered(tmp_path)["train"]
    (tmp_path / "set" / "train" / "4.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"4\.png cannot be read"):
        list(islice(loader(dataset, workers=1), 2))


def test_dropped_boxes_are_counted(dataset: str) -> None:
    mapper = SeededMapper([T.CropTransform(30, 20, 10, 10)], is_train=True)
    cropped = build_train_loader(dataset, mapper, IMAGES, IMAGES)
    next(iter(cropped))
    assert cropped.dropped_boxes == 8  # of the images 0 to 10, every third has no box


@pytest.mark.parametrize("world", [1, 2, 4])
def test_evaluation_sees_each_image_once(dataset: str, world: int) -> None:
    mapper = SeededMapper([], is_train=False)
    loaders = [
        build_eval_loader(dataset, mapper, 2, rank=rank, world_size=world) for rank in range(world)
    ]
    ids = [sample["image_id"] for part in loaders for batch in part for sample in batch]
    assert ids == list(range(1, IMAGES + 1))
    assert [len(part) for part in loaders] == [len(list(part)) for part in loaders]


def test_evaluation_with_limit_workers_and_targets(dataset: str) -> None:
    mapper = SeededMapper([], is_train=False, with_instances=True)
    batches = list(build_eval_loader(dataset, mapper, 2, num_workers=2, limit=5))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert all("instances" in sample for batch in batches for sample in batch)


@pytest.mark.parametrize(("total", "world"), [(7, 3), (2, 4), (0, 2), (8, 4)])
def test_shards_cover_everything_evenly(total: int, world: int) -> None:
    parts = [shard(total, rank, world) for rank in range(world)]
    assert [n for part in parts for n in part] == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
