"""Images as arrays and files give the same detections; what is no image is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from squares import boxes_of, predictor, with_squares

IMAGE = with_squares(60, 90, [(5, 10), (50, 30)], colour=(255, 0, 0))


def same(one, other) -> bool:
    fields = zip(one.get_fields().values(), other.get_fields().values(), strict=True)
    return all(torch.equal(getattr(a, "tensor", a), getattr(b, "tensor", b)) for a, b in fields)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_array_file_and_list_agree(tmp_path, suffix):
    file = tmp_path / f"picture{suffix}"
    cv2.imwrite(str(file), IMAGE[:, :, ::-1])
    found = predictor().predict(IMAGE, format="RGB")
    assert boxes_of(found) == [(5, 10, 17, 22), (50, 30, 62, 42)]
    assert found.pred_classes.tolist() == [1, 1]
    bgr = np.ascontiguousarray(IMAGE[:, :, ::-1])
    alpha = np.dstack([bgr, np.full((60, 90), 7, np.uint8)])
    for other in (bgr, alpha, file, str(file)):
        assert same(predictor().predict(other), found)
    several = predictor().predict([bgr, file])
    assert len(several) == 2 and all(same(one, found) for one in several)


def test_grey_images_are_seen_in_three_channels():
    grey = IMAGE.max(axis=2)
    found = predictor().predict(grey)
    assert boxes_of(found) == boxes_of(predictor().predict(IMAGE)) and not found.pred_classes.any()


def test_the_image_is_turned_as_its_camera_says(tmp_path):
    from PIL import Image

    upright = Image.fromarray(IMAGE)
    exif = Image.Exif()
    exif[0x0112] = 6  # was turned by 90 degrees
    upright.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    found = predictor().predict(tmp_path / "turned.png")
    assert boxes_of(found) == [(5, 10, 17, 22), (50, 30, 62, 42)]


def test_detections_come_from_high_to_low_score_above_the_least():
    found = predictor().predict(with_squares(40, 200, [(150, 5), (10, 5), (80, 5)]), "RGB")
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    least = float(found.scores[1])
    assert (
        len(
            predictor().predict(
                with_squares(40, 200, [(150, 5), (10, 5), (80, 5)]), min_score=least
            )
        )
        == 2
    )


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("size", [(120, 240), (240, 120), (120, 120)])
def test_boxes_are_in_pixels_of_the_original_image(size, keep_aspect):
    image = with_squares(*size, [(40, 60)], side=24)
    looking = predictor(resize=60, keep_aspect=keep_aspect)
    assert boxes_of(looking.predict(image, "RGB")) == [(40, 60, 64, 84)]
    height, width = looking.model.sizes[0]
    assert (height / width == size[0] / size[1]) is (keep_aspect or size[0] == size[1])


@pytest.mark.parametrize(
    ("image", "fact"),
    [
        (np.zeros((4, 5, 3)), "float64"),
        (np.zeros((4, 5, 7), np.uint8), "7 channels"),
        (np.zeros((0, 5, 3), np.uint8), "(0, 5, 3)"),
        (np.zeros(5, np.uint8), "(5,)"),
    ],
)
def test_arrays_that_are_no_images_are_refused(image, fact):
    with pytest.raises(ValueError) as error:
        predictor().predict(image)
    assert fact in str(error.value)


def test_unknown_orders_and_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="RBG"):
        predictor().predict(IMAGE, format="RBG")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        predictor().predict(tmp_path / "nowhere.png")
    broken = Path(tmp_path / "broken.jpg")
    broken.write_bytes(b"no image")
    with pytest.raises(OSError, match="broken"):
        predictor().predict(broken)
