"""SimOTA: the published assignments, what it is by its definition, and objects that go without."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from smalldet.heads import simota as simota_module
from smalldet.heads.simota import Assignment, Objects, Predictions, match_costs, near_centres
from smalldet.heads.yolox_cells import Cells, grid_cells, to_centres, to_corners
from smalldet.losses.iou import box_iou, normalized_wasserstein
from toy_detection import rvt_golden, state_of

STRIDES = (8, 16, 32)
CELLS = grid_cells([(12, 16), (6, 8), (3, 4)], STRIDES, torch.device("cpu"))  # 96 x 128 px
META, ARRAYS = rvt_golden("simota")
CASES = [item["name"] for item in META["cases"]]


def random_scene(objects: int, seed: int, classes: int = 3) -> tuple[Tensor, Tensor, Predictions]:
    """Boxes of 1 to 60 px about the image, their classes, and predictions somewhat like them."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    centres = uniform(objects, 2) * torch.tensor([148.0, 116.0]) - 10
    boxes = to_corners(torch.cat([centres, 60 ** uniform(objects, 2)], dim=1))
    cells = len(CELLS.strides)
    sizes = CELLS.strides[:, None] * (0.5 + 2 * uniform(cells, 2))
    shifted = CELLS.centres + CELLS.strides[:, None] * (uniform(cells, 2) - 0.5)
    guesses = to_corners(torch.cat([shifted, sizes], dim=1))
    predicted = Predictions(guesses, 8 * uniform(cells) - 4, 8 * uniform(cells, classes) - 4)
    return boxes, torch.randint(0, classes, (objects,), generator=generator), predicted


def predict_all(*frames: Predictions):
    """What the network says of these frames, asked at some places."""
    names = ("boxes", "objectness", "classes")
    columns = [torch.stack([getattr(frame, name) for frame in frames]) for name in names]
    return lambda index, cells: Predictions(*(column[index, cells] for column in columns))


def simota(
    boxes, classes, predicted, cells=CELLS, rescue_unmatched=False, overlap=box_iou
) -> Assignment:
    """Of a single frame."""
    objects = Objects(boxes, classes, [len(boxes)])
    return simota_module.simota(objects, predict_all(predicted), cells, rescue_unmatched, overlap)


def matched(found: Assignment) -> list[tuple[int, int]]:
    return list(zip(found.cells.tolist(), found.objects.tolist(), strict=True))


def cells_of(arrays: dict[str, Tensor]) -> Cells:
    indices = torch.stack([arrays["x_shifts"][0], arrays["y_shifts"][0]], dim=1)
    strides = arrays["strides"][0]
    levels = [(indices[strides == stride].amax(0) + 1, stride) for stride in strides.unique()]
    sizes = [(int(size[1]), int(size[0])) for size, _ in levels]
    cells = grid_cells(sizes, [int(stride) for _, stride in levels], indices.device)
    assert torch.equal(cells.indices, indices) and torch.equal(cells.strides, strides)
    return cells


def test_all_cases_are_here():
    assert len(CASES) == 10


@pytest.mark.parametrize("case", CASES)
def test_equals_the_published_assignment(case: str):
    arrays = state_of(ARRAYS, f"{case}/")
    cells = cells_of(arrays)
    boxes, classes = to_corners(arrays["gts"][:, 1:]), arrays["gts"][:, 0].long()
    predicted = Predictions(
        to_corners(arrays["pred_boxes"]), arrays["obj_logits"][:, 0], arrays["cls_logits"]
    )
    near = near_centres(boxes, cells.centres, cells.strides)
    candidates = near.any(0)
    assert torch.equal(candidates, arrays["candidate_mask"])
    assert torch.equal(near[:, candidates], arrays["geometry_relation"])
    here = predict_all(predicted)(torch.tensor([[0]]), candidates.nonzero().T)
    costs, ious = (pairs[0] for pairs in match_costs(boxes[None], classes[None], here))
    torch.testing.assert_close(ious, arrays["pair_iou"], rtol=1e-4, atol=1e-5)
    expected = arrays["cost"] - 1e6 * ~arrays["geometry_relation"]
    inside = near[:, candidates]
    torch.testing.assert_close(costs[inside], expected[inside], rtol=1e-4, atol=1e-4)
    found = simota(boxes, classes, predicted, cells)
    assert torch.equal(found.cells, arrays["fg_mask"].nonzero()[:, 0])
    assert torch.equal(found.objects, arrays["matched_gt"])
    torch.testing.assert_close(found.ious, arrays["matched_iou"], rtol=1e-4, atol=1e-6)
    assert torch.equal(classes[found.objects], arrays["matched_class"].long())


def by_the_book(
    boxes: Tensor, classes: Tensor, predicted: Predictions, likeness=box_iou
) -> list[tuple[int, int]]:
    """The same rule, object by object and cell by cell."""
    middles, centres = to_centres(boxes)[:, :2], CELLS.centres
    near = ((middles[:, None] - centres).abs() < 1.5 * CELLS.strides[:, None]).all(-1)
    candidates = [cell for cell in range(len(centres)) if near[:, cell].any()]
    p = (predicted.classes.sigmoid() * predicted.objectness.sigmoid()[:, None]).sqrt()
    cost, takers = {}, {cell: [] for cell in candidates}
    for m, box in enumerate(boxes):
        one_hot = F.one_hot(classes[m], p.shape[1]).float()
        overlap = {cell: likeness(box, predicted.boxes[cell]) for cell in candidates}
        for cell in candidates:
            mismatch = F.binary_cross_entropy(p[cell], one_hot, reduction="sum")
            cost[m, cell] = mismatch - 3 * (overlap[cell] + 1e-8).log() + 1e6 * ~near[m, cell]
        wanted = max(1, int(sum(sorted(overlap.values(), reverse=True)[:10])))
        for cell in sorted(candidates, key=lambda cell: cost[m, cell])[:wanted]:
            takers[cell].append(m)
    for cell, objects in takers.items():
        if len(objects) > 1:
            takers[cell] = [min(range(len(boxes)), key=lambda m: cost[m, cell])]
    return [(cell, objects[0]) for cell, objects in takers.items() if objects]


@pytest.mark.parametrize("overlap", [box_iou, normalized_wasserstein])
@pytest.mark.parametrize("seed", range(6))
def test_equals_the_rule_as_it_is_written(seed: int, overlap):
    scene = random_scene(objects=(1, 2, 4, 6, 9, 12)[seed], seed=seed)
    found = simota(*scene, CELLS, overlap=overlap)
    assert matched(found) == by_the_book(*scene, overlap)
    chosen = scene[0][found.objects], scene[2].boxes[found.cells]
    torch.testing.assert_close(found.ious, box_iou(*chosen))  # whatever cells are chosen by


def test_by_nwd_a_tiny_object_gets_more_cells():
    """A box of 4 px, predicted 3 px aside by all cells: no overlap to speak of, yet close."""
    boxes, classes = torch.tensor([[46.0, 46.0, 50.0, 50.0]]), torch.zeros(1, dtype=torch.long)
    count = len(CELLS.strides)
    aside = (boxes + torch.tensor([3.0, 0, 3, 0])).expand(count, 4)
    predicted = Predictions(aside, torch.zeros(count), torch.zeros(count, 1))
    assert len(simota(boxes, classes, predicted).cells) == 1
    assert len(simota(boxes, classes, predicted, overlap=normalized_wasserstein).cells) == 7


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.integers(0, 10**6))
def test_what_holds_for_every_scene(objects: int, seed: int):
    boxes, classes, predicted = random_scene(objects, seed)
    found = simota(boxes, classes, predicted, CELLS)
    assert len(set(found.cells.tolist())) == len(found.cells)
    assert found.cells.tolist() == sorted(found.cells.tolist())
    with_cell = torch.zeros(objects, dtype=torch.bool)
    with_cell[found.objects] = True
    assert torch.equal(found.unmatched, ~with_cell)
    rescued = simota(boxes, classes, predicted, CELLS, rescue_unmatched=True)
    assert torch.equal(rescued.unmatched, found.unmatched)
    assert sorted(set(rescued.objects.tolist())) == list(range(objects))
    # Objects that had cells keep them, but for those that a rescued one needed.
    moved = set(matched(found)) - set(matched(rescued))
    assert len(moved) <= int(found.unmatched.sum())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_the_order_of_the_objects_means_nothing(seed: int):
    boxes, classes, predicted = random_scene(12, seed)
    # Where only cells around other objects are left, costs of 1e6 tie and the first one wins.
    enough = near_centres(boxes, CELLS.centres, CELLS.strides).sum(1) >= 10
    boxes, classes = boxes[enough], classes[enough]
    order = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(seed))
    found = simota(boxes, classes, predicted, CELLS)
    shuffled = simota(boxes[order], classes[order], predicted, CELLS)
    assert matched(found) == [(cell, int(order[m])) for cell, m in matched(shuffled)]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=6),
    st.booleans(),
    st.integers(0, 10**6),
    st.sampled_from([box_iou, normalized_wasserstein]),
)
def test_frames_of_a_batch_mean_nothing_to_one_another(
    counts: list[int], rescue: bool, seed: int, overlap
):
    scenes = [random_scene(count, seed + i) for i, count in enumerate(counts)]
    boxes, classes, predicted = zip(*scenes, strict=True)
    objects = Objects(torch.cat(boxes), torch.cat(classes), counts)
    found = simota_module.simota(objects, predict_all(*predicted), CELLS, rescue, overlap)
    alone = [simota(*scene, CELLS, rescue, overlap) for scene in scenes]
    for frame, one in enumerate(alone):
        mine = found.frames == frame
        assert torch.equal(found.cells[mine], one.cells)
        assert torch.equal(found.objects[mine] - sum(counts[:frame]), one.objects)
        assert torch.equal(found.ious[mine], one.ious)
    assert torch.equal(found.unmatched, torch.cat([one.unmatched for one in alone]))
    assert found.frames.tolist() == sorted(found.frames.tolist())


def test_an_object_far_outside_stays_without_and_can_be_rescued():
    _, classes, predicted = random_scene(2, seed=1)
    boxes = torch.tensor([[5000.0, 40.0, 5010.0, 50.0], [-1e9, -1e9, -1e9 + 512, -1e9 + 512]])
    found = simota(boxes, classes, predicted, CELLS)
    assert matched(found) == [] and found.unmatched.tolist() == [True, True]
    rescued = simota(boxes, classes, predicted, CELLS, rescue_unmatched=True)
    nearest = CELLS.centres[rescued.cells[rescued.objects == 0]]
    assert nearest.tolist() == [[124.0, 44.0]]  # the last column, the row of the object
    assert sorted(rescued.objects.tolist()) == [0, 1]


def test_a_rescued_object_takes_a_cell_near_its_centre_from_one_with_several():
    """Two boxes in one place: the worse predicted one gets nothing, though cells are there."""
    boxes = torch.tensor([[32.0, 32.0, 64.0, 64.0], [47.0, 47.0, 49.0, 49.0]])
    cells = len(CELLS.strides)
    predicted = Predictions(
        boxes[:1].repeat(cells, 1), torch.full((cells,), 9.0), torch.zeros(cells, 1)
    )
    classes = torch.zeros(2, dtype=torch.long)
    assert simota(boxes, classes, predicted, CELLS).unmatched.tolist() == [False, True]
    rescued = simota(boxes, classes, predicted, CELLS, rescue_unmatched=True)
    mine = rescued.cells[rescued.objects == 1]
    assert len(mine) == 1 and near_centres(boxes, CELLS.centres[mine], CELLS.strides[mine])[1].all()
    assert (rescued.objects == 0).sum() >= 1


def test_more_objects_than_cells_are_rescued_as_far_as_cells_go():
    cells = grid_cells([(2, 2)], [32], torch.device("cpu"))
    boxes = torch.tensor([[10.0, 10.0, 20.0, 20.0]]).repeat(9, 1)
    predicted = Predictions(boxes[:4], torch.zeros(4), torch.zeros(4, 1))
    classes = torch.zeros(9, dtype=torch.long)
    found = simota(boxes, classes, predicted, cells, rescue_unmatched=True)
    assert found.cells.tolist() == [0, 1, 2, 3] and len(set(found.objects.tolist())) == 4


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e4])
def test_extreme_logits_and_boxes(value: float):
    boxes, classes, predicted = random_scene(20, seed=3)
    wild = Predictions(
        predicted.boxes * 1e12,
        torch.full_like(predicted.objectness, value),
        torch.full_like(predicted.classes, value),
    )
    found = simota(boxes, classes, wild, CELLS)
    assert found.ious.isfinite().all() and len(found.cells) > 0


def test_is_the_same_under_autocast():
    scene = random_scene(20, seed=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = simota(*scene, CELLS)
    assert matched(inside) == matched(simota(*scene, CELLS))
