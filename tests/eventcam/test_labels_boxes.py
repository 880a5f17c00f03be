"""Box filters, scaling and class maps."""

from __future__ import annotations

import json

import numpy as np
import pytest
from event_toys import golden, make_labels

from eventcam.class_maps import CLASS_MAPS, check_class_map, get_class_map
from eventcam.errors import EventDataError
from eventcam.io import BBOX_DTYPE
from eventcam.labels import LabelFilter, boxes_xyxy, crop_to_frame, scale_boxes

COLUMNS = ("t", "x", "y", "w", "h", "class_id", "class_confidence")  # of the golden file


def from_columns(rows):
    labels = np.zeros(len(rows), BBOX_DTYPE)
    for column, name in enumerate(COLUMNS):
        labels[name] = rows[:, column]
    return labels


def to_columns(labels):
    return np.stack([labels[name].astype(np.float32) for name in COLUMNS], axis=1)


def box(x, y, w, h):
    labels = make_labels([0])
    labels["x"], labels["y"], labels["w"], labels["h"] = x, y, w, h
    return labels


def test_half_resolution_equals_the_published_rule():
    arrays, meta = golden("label_ops")
    height, width = meta["hw"]
    labels = from_columns(arrays["in/labels_t_x_y_w_h_cls_conf"])
    halved, _ = scale_boxes(labels, 0.5, width, height)
    np.testing.assert_allclose(to_columns(halved), arrays["scale_half/labels"], rtol=1e-6)
    for frame, (start, stop) in enumerate([(0, 7), (7, 15), (15, 25)]):
        cropped, _ = crop_to_frame(labels[start:stop], width, height)
        halved, _ = scale_boxes(cropped, 0.5, width, height)
        wanted = arrays[f"factory_ds2/frame{frame}"]
        np.testing.assert_allclose(to_columns(halved), wanted, rtol=1e-6, atol=1e-5)


def test_cropping_keeps_edges_within_the_last_px_and_counts_what_is_flat():
    labels = np.concatenate([box(-5, -5, 10, 10), box(60, 40, 100, 100), box(63, 10, 9, 9)])
    cropped, dropped = crop_to_frame(labels, 64, 48)
    assert dropped == 1
    assert boxes_xyxy(cropped).tolist() == [[0, 0, 5, 5], [60, 40, 63, 47]]
    assert labels["x"][0] == -5  # the input stays as it was


def test_scaled_boxes_end_at_the_last_px_and_flat_ones_are_counted():
    labels = np.concatenate([box(10, 10, 53, 37), box(63, 10, 1, 10)])
    scaled, dropped = scale_boxes(labels, 0.5, 64, 48)
    assert boxes_xyxy(scaled).tolist() == [[5, 5, 31, 23]] and dropped == 1


@pytest.mark.parametrize("train", [False, True])
def test_filters_at_their_limits(train):
    sizes = [(5, 5), (4.9, 5), (5, 4.9), (1152, 50), (1153, 50)]
    labels = np.concatenate([box(10, 10, w, h) for w, h in sizes])
    kept, counts = LabelFilter().apply(labels, 1280, 720, train)
    assert kept["w"].tolist() == ([5, 1152] if train else [5, 1152, 1153])
    assert counts == {"boxes_too_small": 2, **({"boxes_too_wide": 1} if train else {})}


def test_prophesees_benchmark_filter():
    labels = np.concatenate([box(0, 0, 36, 48), box(0, 0, 36, 47.9), box(0, 0, 19.9, 90)])
    kept, counts = LabelFilter(min_side=20, min_diagonal=60).apply(labels, 1280, 720, False)
    assert len(kept) == 1 and counts == {"boxes_too_small": 2}


def test_the_studys_class_map():
    study = get_class_map("etram_cls8")
    raw = make_labels(list(range(9)))
    raw["class_id"] = range(9)
    mapped, counts = study.apply(raw)
    assert mapped["t"].tolist() == [*range(8)]
    wanted = "Pedestrian Car Bicycle Bus Motorcycle Truck Other Other"
    assert " ".join(study.classes[i] for i in mapped["class_id"]) == wanted
    assert study.classes[6] == "Static" and study.small == (2, 3, 4)
    assert counts == {"boxes_of_raw_class_8": 1}
    assert raw["class_id"].tolist() == list(range(9))


@pytest.mark.parametrize("name", CLASS_MAPS)
def test_every_map_gives_valid_ids_and_fits_into_json(name):
    entry = get_class_map(name)
    raw = make_labels(list(range(8)))
    raw["class_id"] = range(8)
    mapped, counts = entry.apply(raw)
    assert mapped["class_id"].max() < len(entry.classes) and set(entry.small) <= {*range(8)}
    assert len(mapped) + sum(counts.values()) == 8
    json.dumps(counts)
    assert name.startswith("gen") or not counts  # eTraM's maps take every raw class


def test_the_three_published_groups():
    groups = get_class_map("etram_3groups")
    wanted = [0, 1, 2, 1, 2, 1, 1, 2]
    assert [groups.from_raw[raw] for raw in range(8)] == wanted


def test_another_map_is_refused_with_a_sentence():
    check_class_map("etram_cls8", "etram_cls8", "here")
    with pytest.raises(EventDataError, match=r"prepared with .* 'etram_raw8', but 'etram_cls8'"):
        check_class_map("etram_raw8", "etram_cls8", "here")
    with pytest.raises(EventDataError, match="Unknown class map 'cls8'; expected one of"):
        get_class_map("cls8")
