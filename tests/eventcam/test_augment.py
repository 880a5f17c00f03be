"""Augmentation against the published results, and pixels against boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from event_toys import golden

from eventcam.augment.ops import Window
from eventcam.augment.sequence import (
    RANDOM_ACCESS,
    STREAMING,
    AugmentSettings,
    Draw,
    augment,
    draw,
    ops,
)

ARRAYS, META = golden("label_ops")
H, W = META["hw"]
ONE_EACH = [torch.zeros(1).long()] * 3
NOTHING = Draw(False, 0.0, 1.0, 0.0, 0.0, 0.0)


def corners(labels):
    """xyxy of published rows t, x, y, w, h, class, confidence."""
    x, y, w, h = torch.from_numpy(labels[:, 1:5]).unbind(1)
    return torch.stack([x, y, x + w, y + h], dim=1)


BOXES = corners(ARRAYS["in/labels_t_x_y_w_h_cls_conf"])
EVENTS = torch.from_numpy(ARRAYS["in/x"])[None]


def published_window(name):
    """Where the published zoom looks: whole px for pixels, fractions for boxes."""
    x, y, factor = META["params"][name]
    return Window(x, y, int(W / factor), int(H / factor)), Window(x, y, W / factor, H / factor)


def published_results():
    """Of each operation: boxes and events."""
    (whole_in, in_), (whole_out, out) = map(published_window, ("zoom_in", "zoom_out"))
    degrees = META["rotate_deg"]
    turned = ops.clip_boxes(ops.rotate_boxes(BOXES, degrees, W, H), W, H)
    return {
        "flip": (ops.flip_boxes(BOXES, W), ops.flip_events(EVENTS)),
        "zoom_in": (ops.zoom_in_boxes(BOXES, in_, W, H), ops.zoom_in_events(EVENTS, whole_in)),
        "zoom_out": (ops.zoom_out_boxes(BOXES, out, W, H), ops.zoom_out_events(EVENTS, whole_out)),
        "rotate": (turned, ops.rotate_events(EVENTS, degrees)),
    }


@pytest.mark.parametrize("name", ["flip", "zoom_in", "zoom_out", "rotate"])
def test_operations_as_published(name):
    boxes, events = published_results()[name]
    expected = corners(ARRAYS[f"{name}/labels"])
    torch.testing.assert_close(boxes[ops.has_area(boxes)], expected, rtol=0, atol=1e-4)
    assert torch.equal(events[0], torch.from_numpy(ARRAYS[f"{name}/x"]))


def test_flipping_twice_is_identity():
    torch.testing.assert_close(ops.flip_boxes(ops.flip_boxes(BOXES, W), W), BOXES)
    assert torch.equal(ops.flip_events(ops.flip_events(EVENTS)), EVENTS)


def blobs(seed, height=90, width=160):
    """Three steps of one bright rectangle each (uint8), and its box."""
    rng = np.random.RandomState(seed)
    events = torch.zeros(3, 2, height, width, dtype=torch.uint8)
    boxes = []
    for step in events:
        x, y = rng.randint(0, width - 40), rng.randint(0, height - 30)
        w, h = rng.randint(3, 40), rng.randint(3, 30)
        step[:, y : y + h, x : x + w] = 9
        boxes.append(torch.tensor([[x, y, x + w - 1, y + h - 1]], dtype=torch.float32))
    return events, boxes


def bright(step):
    """First and last lit column and row, as xyxy; None if all is dark."""
    rows, columns = torch.nonzero(step[0], as_tuple=True)
    if len(rows) == 0:
        return None
    return torch.stack([columns.min(), rows.min(), columns.max(), rows.max()]).float()


@pytest.mark.parametrize("settings", [RANDOM_ACCESS, STREAMING, AugmentSettings(rotate=1.0)])
def test_a_bright_blob_stays_inside_its_box(settings):
    seen = 0
    for seed in range(40):
        events, boxes = blobs(seed)
        drawn = draw(settings, seed)
        lit, moved, _, _ = augment(events, boxes, ONE_EACH, drawn)
        # A box ends at the blob's last px, so its far edge is up to one enlarged px short.
        slack = 3.0 if drawn.degrees else 2.0
        for step, found in zip(lit, moved, strict=True):
            blob = bright(step)
            if len(found) == 0:  # out of view, but for a line at the border
                assert blob is None or (blob[2:] - blob[:2]).min() <= slack
                continue
            outside = torch.cat([found[0, :2] - blob[:2], blob[2:] - found[0, 2:]])
            assert outside.max() <= slack
            assert drawn.degrees or outside.min() >= -slack  # and the box is tight
            seen += 1
    assert seen > 80


def test_zoom_in_keeps_its_target_whole():
    for seed in range(40):
        events, boxes = blobs(seed)
        drawn = draw(AugmentSettings(flip=0, zoom=1, zoom_in_share=1), seed)
        _, moved, _, _ = augment(events, boxes, ONE_EACH, drawn)
        factor = torch.tensor([160 / int(160 / drawn.zoom), 90 / int(90 / drawn.zoom)])
        before, after = boxes[-1][0], moved[-1][0]
        torch.testing.assert_close(
            after[2:] - after[:2], (before[2:] - before[:2]) * factor, rtol=1e-4, atol=1e-3
        )


def test_zoom_in_may_follow_every_box():
    """The published code never takes the last box of a frame."""
    boxes = torch.tensor([[2.0, 2, 8, 8], [100, 60, 110, 70], [150, 80, 155, 85]])
    followed = set()
    for target in (0.0, 0.4, 0.99):
        drawn = NOTHING._replace(zoom=1.5, target=target)
        events = torch.zeros(1, 2, 90, 160, dtype=torch.uint8)
        _, moved, classes, counts = augment(events, [boxes], [torch.arange(3)], drawn)
        followed |= set(classes[0].tolist())
        assert len(moved[0]) == len(classes[0]) == 3 - counts.dropped
    assert followed == {0, 1, 2}


def test_zoom_in_looks_at_the_last_step_with_boxes_and_needs_one():
    events, boxes = blobs(0)
    drawn = NOTHING._replace(zoom=1.4)
    classes = [torch.zeros(len(b)).long() for b in boxes]
    empty = torch.zeros(0, 4)
    _, moved, _, _ = augment(
        events, [boxes[0], empty, None], [classes[0], classes[0][:0], None], drawn
    )
    assert len(moved[0]) == 1 and moved[1].shape == (0, 4) and moved[2] is None
    for nothing in ([None] * 3, [empty] * 3):
        same, _, _, _ = augment(events, nothing, nothing, drawn)
        assert torch.equal(same, events)


def test_boxes_that_leave_the_view_are_counted_and_leave_a_labelled_step():
    events = torch.zeros(2, 2, 90, 160, dtype=torch.uint8)
    near, far = torch.tensor([[2.0, 2, 8, 8]]), torch.tensor([[150.0, 80, 158, 88]])
    one = torch.ones(1).long()
    _, boxes, classes, counts = augment(events, [far, near], [one, one], NOTHING._replace(zoom=1.5))
    assert counts == (1, 0)
    assert boxes[0].shape == (0, 4) and classes[0].shape == (0,)
    assert len(boxes[1]) == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, (0, 0)),
        ({"flip": True}, (0, 0)),
        ({"zoom": 0.8}, (0, 0)),  # nothing leaves the view
        ({"zoom": 1.6}, (1, 1)),  # the view is 100 x 56 px, from the target on
        ({"degrees": 6.0}, (0, 1)),
    ],
)
def test_boxes_cut_at_the_border_are_counted(change, expected):
    events = torch.zeros(2, 2, 90, 160, dtype=torch.uint8)
    boxes = torch.tensor([[2.0, 2, 8, 8], [70, 30, 120, 50], [140, 40, 157, 50]])
    steps = [boxes, None], [torch.arange(3), None]
    _, moved, _, counts = augment(events, *steps, NOTHING._replace(**change))
    assert counts == expected and len(moved[0]) == 3 - counts.dropped and moved[1] is None


def test_draws_are_functions_of_seed_and_counter_with_the_published_frequencies():
    drawn = [draw(RANDOM_ACCESS, 5, 0, i) for i in range(2000)]
    assert drawn[7] == draw(RANDOM_ACCESS, 5, 0, 7)
    assert len(set(drawn)) > 1950
    assert draw(RANDOM_ACCESS, 6, 0, 7) != drawn[7] != draw(RANDOM_ACCESS, 5, 1, 7)
    assert np.mean([d.flip for d in drawn]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([d.zoom > 1 for d in drawn]) == pytest.approx(0.64, abs=0.03)
    assert np.mean([d.zoom < 1 for d in drawn]) == pytest.approx(0.16, abs=0.03)
    assert max(d.zoom for d in drawn) < 1.5 and min(d.zoom for d in drawn) > 1 / 1.2
    assert not any(d.degrees for d in drawn)
    streams = [draw(STREAMING, 5, i) for i in range(1000)]
    assert max(d.zoom for d in streams) == 1.0
    assert np.mean([d.zoom < 1 for d in streams]) == pytest.approx(0.5, abs=0.05)


def test_rotation_turns_to_both_sides_by_the_given_angles():
    angles = np.array([draw(AugmentSettings(rotate=1.0), 0, i).degrees for i in range(200)])
    assert 80 < np.count_nonzero(angles > 0) < 120
    assert np.abs(angles).min() >= 2 and np.abs(angles).max() <= 6


@pytest.mark.parametrize("size", [(1, 1), (2, 3)])
def test_tiny_frames_survive(size):
    events = torch.ones(1, 2, *size, dtype=torch.uint8)
    for seed in range(30):
        drawn = draw(AugmentSettings(rotate=0.5, zoom=1), seed)
        box = torch.tensor([[0.0, 0, size[1] - 1, size[0] - 1]])
        seen, _, _, _ = augment(events, [box], [torch.zeros(1).long()], drawn)
        assert seen.shape == events.shape and seen.dtype == torch.uint8
