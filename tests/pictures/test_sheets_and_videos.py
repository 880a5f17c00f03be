"""Contact sheets, PNGs and videos that read back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pictures import video
from pictures.boxes import DARK
from pictures.sheet import contact_sheet, write_image
from pictures.video import write_video


def test_a_contact_sheet_holds_every_image():
    images = [np.full((10, 20, 3), 40 * i, np.uint8) for i in range(5)]
    sheet = contact_sheet(images, columns=2, gap=3)
    assert sheet.shape == (3 * 13 + 3, 2 * 23 + 3, 3)
    assert np.all(sheet[3 + 13 + 5, 3 + 23 + 5] == 40 * 3)
    mixed = contact_sheet([images[4], images[4][:4, :9]], gap=3)
    assert mixed.shape == (16, 2 * 23 + 3, 3) and tuple(mixed[8, 27]) == DARK.background
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])


def test_a_png_reads_back_as_rgb(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)
    write_image(tmp_path / "new" / "ümlaut.png", image)
    raw = np.frombuffer((tmp_path / "new" / "ümlaut.png").read_bytes(), np.uint8)
    assert np.array_equal(cv2.imdecode(raw, cv2.IMREAD_COLOR)[:, :, ::-1], image)


def test_a_video_reads_back(tmp_path):
    images = [np.full((49, 65, 3), (250 - 40 * i, 20, 40 * i), np.uint8) for i in range(6)]
    path = tmp_path / "clip.mp4"
    assert write_video(path, iter(images), 20) == 6
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]
    reader = cv2.VideoCapture(str(path))
    assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(20)
    for image in images:
        ok, frame = reader.read()
        assert ok and frame.shape == (48, 64, 3)
        assert np.abs(frame[20, 20, ::-1].astype(int) - image[20, 20]).max() < 40


def test_a_missing_codec_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "CODEC", "zzzz")
    with pytest.raises(ValueError, match="cannot write VP9"):
        write_video(tmp_path / "clip.mp4", [np.zeros((48, 64, 3), np.uint8)], 20)
    assert not list(tmp_path.iterdir())


def test_videos_without_images_or_of_several_sizes_are_sentences(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        write_video(tmp_path / "clip.mp4", [], 20)
    images = [np.zeros((48, 64, 3), np.uint8), np.zeros((50, 64, 3), np.uint8)]
    with pytest.raises(ValueError, match="one size"):
        write_video(tmp_path / "clip.mp4", images, 20)
