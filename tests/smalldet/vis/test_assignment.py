"""What is drawn of an assignment is what the losses are computed from, object by object."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from pictures.events import count_histogram, counts_to_image
from smalldet.backbones.rvt.model import MaxViTRNN
from smalldet.detectors.image import ImageDetector
from smalldet.detectors.recurrent import RecurrentDetector
from smalldet.heads.yolox import YOLOXHead
from smalldet.vis.assignment import (
    LEVEL_COLOURS,
    UNASSIGNED,
    AssignedFrame,
    assigned_frames,
    assignment_table,
    draw_assignment,
    write_assignment,
)
from toy_detection import PatchBackbone, one_map, rcnn_head

STRIDES = (8, 16)
TWICE = [10, 10, 22, 26]  # of two equal objects the first one gets all cells


def image_detector(**head) -> ImageDetector:
    torch.manual_seed(0)
    backbone = PatchBackbone({f"p{stride}": (8, stride) for stride in STRIDES})
    return ImageDetector(backbone, YOLOXHead(**{"num_classes": 2, "width": 8, **head}))


def scene(boxes: list[list[float]], seed: int = 0) -> dict:
    """An image of 64 x 96 px."""
    labels = Instances((64, 96))
    labels.gt_boxes = Boxes(torch.tensor(boxes).reshape(-1, 4))
    labels.gt_classes = torch.zeros(len(boxes), dtype=torch.long)
    rng = np.random.default_rng(seed)
    return {
        "image": torch.from_numpy(rng.integers(0, 80, (3, 64, 96), np.uint8)),
        "instances": labels,
    }


BATCH = [
    scene([TWICE, [12, 12, 60, 50], TWICE]),
    scene([], seed=1),
    scene([[70, 40, 76, 46]], seed=2),
]


def test_cells_are_those_of_the_losses():
    model = image_detector()
    frames = list(assigned_frames(model, [BATCH]))
    inputs = model.head_inputs(BATCH)
    _, cells, objects, found = model.head.assign(inputs.features, inputs.targets)
    assert [len(frame.boxes) for frame in frames] == objects.counts == [3, 0, 1]
    first = 0
    for number, (frame, sample) in enumerate(zip(frames, BATCH, strict=True)):
        mine = found.frames == number
        assert np.array_equal(frame.image, sample["image"].numpy().transpose(1, 2, 0))
        assert np.array_equal(frame.boxes, sample["instances"].gt_boxes.tensor.numpy())
        assert np.array_equal(frame.centres, cells.centres[found.cells[mine]].numpy())
        strides = np.array(STRIDES)[frame.levels]
        assert np.array_equal(strides, cells.strides[found.cells[mine]].numpy())
        assert np.array_equal(frame.objects + first, found.objects[mine].numpy())
        held = frame.cells(len(STRIDES)).sum(axis=1)
        unmatched = found.unmatched[first : first + len(held)].numpy()
        assert np.array_equal(held == 0, unmatched)
        first += len(held)
    assert frames[0].cells(len(STRIDES)).sum(axis=1)[2] == 0
    losses = model(BATCH)
    expected = model.head.loss_sums(inputs.features, inputs.targets).divided()
    assert all(torch.equal(losses[name], value) for name, value in expected.items())


def test_frames_of_recordings_are_those_of_their_step():
    torch.manual_seed(0)
    backbone = MaxViTRNN(embed_dim=4, dim_head=2, in_channels=2, partition_split=1)
    model = RecurrentDetector(backbone, YOLOXHead(num_classes=2, width=8))
    rng = np.random.default_rng(0)
    labelled = {(0, 1): 30.0, (0, 2): 34.0, (1, 0): 38.0}
    batch = [
        {
            "events": torch.from_numpy(rng.integers(0, 4, (3, 2, 64, 64), np.uint8)),
            "boxes": [
                torch.tensor([[10, 10, labelled[i, t], 40]]) if (i, t) in labelled else None
                for t in range(3)
            ],
            "classes": [torch.tensor([0]) if (i, t) in labelled else None for t in range(3)],
            "is_first": True,
            "stream": i,
        }
        for i in range(2)
    ]
    frames = list(assigned_frames(model, [batch]))
    assert sorted(frame.boxes[0, 2] for frame in frames) == [30, 34, 38]
    for (i, t), right in labelled.items():
        (frame,) = (frame for frame in frames if frame.boxes[0, 2] == right)
        expected = counts_to_image(*count_histogram(batch[i]["events"][t].numpy()))
        assert np.array_equal(frame.image, expected)
    nothing = [{**sample, "boxes": [None] * 3, "classes": [None] * 3} for sample in batch]
    assert not list(assigned_frames(model, [nothing]))


@pytest.mark.parametrize("zoom", [1, 4])
def test_dots_lie_on_their_cells_and_objects_without_are_crossed_out(zoom):
    boxes = np.array([[8.0, 8, 40, 40], [60, 20, 80, 40]])
    centres, levels = np.array([[12.0, 12], [28, 36]]), np.array([0, 1])
    image = np.zeros((64, 96, 3), np.uint8)
    frame = AssignedFrame(image, boxes, centres, levels, np.array([0, 0]))
    picture = draw_assignment(frame, zoom=zoom)
    for (x, y), level in zip(centres * zoom, levels, strict=True):
        assert tuple(picture[int(y), int(x)]) == LEVEL_COLOURS[level]
    crossed = (picture == UNASSIGNED).all(-1)
    assert crossed[30 * zoom, 70 * zoom] and crossed[20 * zoom, 61 * zoom : 79 * zoom].all()
    assert not crossed[:, : 50 * zoom].any() and not image.any()
    empty = AssignedFrame(image, boxes[:0], centres[:0], levels[:0], levels[:0])
    assert np.array_equal(draw_assignment(empty), image)


def test_the_table_counts_objects_by_size_and_level():
    areas = np.array([100.0, 900, 1024, 9216])
    cells = np.array([[0, 0], [3, 1], [0, 2], [0, 3]])
    table = assignment_table(areas, cells, STRIDES, (1024.0, 9216.0))
    rows = [line.rsplit(maxsplit=5) for line in table.splitlines()]
    assert [row[1:] for row in rows[1:]] == [
        ["2", "1", "1", "2.0", "1"],
        ["1", "0", "1", "2.0", "0"],
        ["1", "0", "1", "3.0", "0"],
        ["4", "1", "3", "2.2", "1"],
    ]
    assert "32 px" in rows[1][0] and "96 px" in rows[2][0] and "stride 16" in table


def test_the_sheet_holds_so_many_frames_and_rescued_objects_have_cells(tmp_path):
    table = write_assignment(image_detector(), [BATCH], tmp_path / "a.png", frames=1)
    assert table.splitlines()[-1].split()[1] == "3" and table.split()[-1] == "1"
    picture = cv2.imread(str(tmp_path / "a.png"))
    table = write_assignment(image_detector(rescue_unmatched=True), [BATCH], tmp_path / "b.png")
    assert table.splitlines()[-1].split()[1] == "4" and table.split()[-1] == "0"
    assert cv2.imread(str(tmp_path / "b.png")).shape[1] > 2 * picture.shape[1]


def test_what_cannot_be_shown_is_a_sentence(tmp_path):
    anchors = ImageDetector(one_map(), rcnn_head())
    with pytest.raises(ValueError, match=r"ImageDetector with RCNNHead.*YOLOXHead"):
        write_assignment(anchors, [BATCH], tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.mp4 must end in \.png"):
        write_assignment(image_detector(), [BATCH], tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="no labelled frame"):
        write_assignment(image_detector(), [], tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
