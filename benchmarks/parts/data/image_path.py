"""From JPEG files to mirrored network inputs, on one thread, as in a process of the loader.

Against torchvision and against OpenCV, each in its fastest way; then the whole loader against its
fastest consumer. OpenCV's bilinear resize is another one where images shrink: it leaves out pixels,
which the others, as Detectron2, average.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.data import transforms as T
from PIL import Image
from torchvision.io import decode_jpeg, read_file
from torchvision.transforms.v2 import functional as F

from benchmarks.measure import Candidate, Row, compare
from benchmarks.ofat import BASELINE, SIZE, build
from smalldet.data.images import channels_first, read_image
from smalldet.data.loader import TrainLoader
from smalldet.data.mapper import SeededMapper
from smalldet.data.resize import Resize
from smalldet.data.sample_stream import BatchPlan

Loading = Callable[[], torch.Tensor]
SOURCES = ("640x480", "640x640", "1280x960")  # px
SPEED, GOAL = 0.87, 1.0  # times the speed of the others
LOADER = 4.0  # times the speed of inference
GRAIN_PX, NOISE = 24, 6  # of the pictures: blotches and sensor noise, some 2 bits a pixel


def rows() -> Iterator[Row]:
    """Files to inputs of the baseline, by size of the files; then its inference against that."""
    with tempfile.TemporaryDirectory() as folder:
        for size in SOURCES:
            path = Path(folder) / f"{size}.jpg"
            width, height = map(int, size.split("x"))
            picture(height, width).save(path, quality=90)
            yield from against_others(path, f"image {size}")
        yield from against_inference(Path(folder) / f"{SIZE}x{SIZE}.jpg")


def notes(rows: Sequence[Row]) -> Iterator[str]:
    """What the loader adds to a step that waits for it."""
    last = rows[-1]
    share = last.candidate_ms / (last.candidate_ms + last.reference_ms)
    yield f"Without worker processes, loading would be {share:.1%} of the time of inference."


def against_others(path: Path, name: str) -> Iterator[Row]:
    with one_thread():
        candidate = ours(path)
        for other, reference in (("torchvision", by_torchvision), ("OpenCV", by_opencv)):
            seen, expected = candidate(), reference(path)()
            assert seen.shape == expected.shape and seen.is_contiguous(), "Other images."
            if other == "torchvision":
                assert (seen.int() - expected.int()).abs().max() <= 1, "Other pixels."
            row = {f"{name}, of {other}": Candidate(candidate, SPEED, GOAL)}
            yield from compare(reference(path), row, rounds=15)


def against_inference(path: Path) -> Iterator[Row]:
    """One image through the frozen baseline, and the loader (in this process) of the next one."""
    model = build(BASELINE, "train.device=cpu").model.eval()
    batch = [{"image": ours(path)(), "height": SIZE, "width": SIZE}]
    width, height = Image.open(path).size
    record = {"file_name": str(path), "image_id": 1, "width": width, "height": height}
    mapper = SeededMapper([Resize(SIZE), T.RandomFlip()], is_train=True)
    batches = iter(TrainLoader([record], mapper, BatchPlan(1, 1, 0, 1)))

    @torch.no_grad()
    def consumer() -> None:
        model(batch)

    loader = Candidate(lambda: next(batches), LOADER)
    yield from compare(consumer, {"image loader, ViM-Tiny + Cascade eats": loader}, rounds=5)


def ours(path: Path) -> Loading:
    resize = Resize(SIZE)

    def call() -> torch.Tensor:
        image = read_image(path, "RGB")
        image = resize.get_transform(image).apply_image(image)
        image = T.HFlipTransform(SIZE).apply_image(image)
        return torch.from_numpy(channels_first(image))

    return call


def by_torchvision(path: Path) -> Loading:
    def call() -> torch.Tensor:
        image = decode_jpeg(read_file(str(path)))
        return F.horizontal_flip(F.resize(image, [SIZE, SIZE], antialias=True)).contiguous()

    return call


def by_opencv(path: Path) -> Loading:
    def call() -> torch.Tensor:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        planes = np.empty((3, SIZE, SIZE), np.uint8)
        cv2.split(cv2.flip(cv2.resize(image, (SIZE, SIZE)), 1), list(planes))
        return torch.from_numpy(planes)

    return call


@contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


def picture(height: int, width: int) -> Image.Image:
    rng = np.random.default_rng(0)
    blotches = rng.integers(0, 256, (height // GRAIN_PX, width // GRAIN_PX, 3), np.uint8)
    smooth = Image.fromarray(blotches).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(smooth) + rng.normal(0, NOISE, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
