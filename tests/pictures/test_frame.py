"""One picture: boxes where they are, labels that hide nothing, enlargement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pictures.boxes import CLASS_COLOURS, DARK, LIGHT, BoxSet, draw_boxes
from pictures.frame import draw_frame, enlarged
from pictures.labels import MOST_HIDDEN, Label, write_labels
from pictures.text import text_box

HEIGHT, WIDTH = 200, 300
INK = (1, 2, 3)


def blank() -> np.ndarray:
    return np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def one_box(score: float | None = None, class_id: int = 0) -> BoxSet:
    scores = None if score is None else np.array([score])
    return BoxSet(np.array([[100.0, 80, 160, 140]]), np.array([class_id]), scores)


def changed(picture: np.ndarray) -> np.ndarray:
    return np.any(picture != 0, axis=2)


def test_a_box_is_drawn_where_it_is_and_its_label_outside():
    picture = changed(draw_frame(blank(), truth=one_box(), class_names=("a", "car")))
    assert picture[80:140, 100].all() and picture[140, 100:160].all()
    assert not picture[83:138, 103:158].any() and picture[70, 100:104].all()


def test_truth_is_dashed_beside_predictions_only():
    solid = draw_frame(blank(), one_box(), class_names=None)
    dashed = draw_frame(blank(), one_box(), BoxSet(), class_names=None)
    assert solid[140, 100:160].any(-1).all() and not dashed[140, 100:160].any(-1).all()
    assert tuple(dashed[140, 100]) == DARK.truth
    both = draw_frame(blank(), one_box(), one_box(0.75), class_names=None)
    colours = {tuple(pixel) for pixel in both[140, 100:161].tolist()}
    assert colours == {DARK.truth, CLASS_COLOURS[0]}


def test_an_only_class_has_no_name_and_no_names_mean_numbers():
    unlabelled = draw_frame(blank(), one_box(), class_names=None)
    assert np.array_equal(unlabelled, draw_frame(blank(), one_box(), class_names=("head",)))
    scored = [
        draw_frame(blank(), predictions=one_box(0.75), class_names=names)
        for names in (None, ("head",), ("head", "hat"), ())
    ]
    widths = [np.count_nonzero(changed(picture)[70]) for picture in scored]
    assert widths[0] == 0 < widths[1] < widths[2] and widths[1] < widths[3] < widths[2]


def test_hostile_boxes_do_no_harm():
    boxes = np.array([[-50.0, -50, 500, 500], [70, 70, 71, 71], [9, 9, 9, 9], [900, 900, 990, 990]])
    found = BoxSet(boxes, np.array([99, 0, 1, 2]), np.array([0.1, 0.2, 0.3, 0.4]))
    for theme in (DARK, LIGHT):
        picture = draw_frame(blank(), found, found, ("a", "b"), theme, zoom=0.5, caption="0.1 s")
        assert picture.shape == (HEIGHT // 2, WIDTH // 2, 3)
    tiny = np.zeros((3, 4, 3), np.uint8)
    assert draw_frame(tiny, found, class_names=("a", "b")).shape == tiny.shape


def test_an_image_is_copied_and_events_stay_squares():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    squares = enlarged(image, 3, smooth=False)
    assert np.array_equal(squares, image.repeat(3, axis=0).repeat(3, axis=1))
    assert not np.array_equal(enlarged(image, 3), squares)
    copy = enlarged(image[..., ::-1], 1)
    copy[:] = 0
    assert image.any()


def labelled(boxes: np.ndarray, text: str = "Pedestrian") -> tuple[np.ndarray, int]:
    picture = blank()
    labels = [Label(text, tuple(box), INK) for box in boxes.tolist()]
    return picture, write_labels(picture, labels, boxes, (250, 250, 250))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(4, 60), st.integers(0, 10**6))
def test_labels_hide_neither_boxes_nor_one_another(count: int, side: int, seed: int):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, (WIDTH, HEIGHT), (count, 2))
    boxes = np.concatenate([corners, corners + rng.integers(2, side + 1, (count, 2))], axis=1)
    picture, written = labelled(boxes)
    width, height = text_box(picture, "Pedestrian", (0, 0))[2:]
    ground = changed(picture)
    assert np.count_nonzero(ground) == written * width * height  # none on another
    _, alone = labelled(boxes[:1])
    assert min(alone, 1) <= written <= count
    if written == 1:
        for x0, y0, x1, y1 in boxes.tolist():
            hidden = np.count_nonzero(ground[y0:y1, x0:x1])
            assert hidden <= MOST_HIDDEN * (x1 - x0) * (y1 - y0) + 1e-9


def test_a_crowd_of_small_boxes_has_no_labels_and_the_surest_wins():
    rows, columns = np.mgrid[0:HEIGHT:12, 0:WIDTH:12]
    corners = np.stack([columns.ravel(), rows.ravel()], axis=1)
    crowd = np.concatenate([corners, corners + 10], axis=1)
    assert labelled(crowd)[1] == 0
    pair = BoxSet(np.tile([[10.0, 40, 290, 50]], (2, 1)), np.array([0, 1]), np.array([0.3, 0.9]))
    picture = draw_frame(blank()[:66], predictions=pair, class_names=("n" * 40, "m" * 40))
    grounds = {tuple(colour) for colour in picture[25, :100].tolist()}
    assert CLASS_COLOURS[1] in grounds


def test_labels_of_a_video_keep_their_place_above_the_box():
    """Another object that passes hides a label, but never moves it."""
    seen = []
    for left in range(0, 240, 8):
        boxes = np.array([[100.0, 80, 160, 140], [left, 30, left + 40, 78]])
        pair = BoxSet(boxes, np.array([1, 0]), np.array([0.9, 0.1]))
        found = draw_frame(blank(), predictions=pair, class_names=("a", "b"), is_steady=True)
        ground = (found == CLASS_COLOURS[1]).all(-1)
        seen.append((ground[60:76, 90:170].any(), ground[144:].any(), ground[:, 164:].any()))
    above, below, beside = map(set, zip(*seen, strict=True))
    assert above == {True, False} and below == beside == {False}


@pytest.mark.parametrize("zoom", [1, 2, 3])
def test_a_box_lands_where_it_belongs(zoom):
    image = np.zeros((40 * zoom, 40 * zoom, 3), np.uint8)
    box = BoxSet(np.array([[5.0, 10, 15, 15]]), np.array([0]))
    draw_boxes(image, truth=box, class_names=None, zoom=zoom)
    ys, xs = np.nonzero((image == CLASS_COLOURS[0]).all(-1))
    assert (xs.min(), xs.max()) == pytest.approx((5 * zoom, 15 * zoom), abs=1)
    assert (ys.min(), ys.max()) == pytest.approx((10 * zoom, 15 * zoom), abs=1)
