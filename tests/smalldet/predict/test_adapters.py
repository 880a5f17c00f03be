"""The same detections in the words of SAHI and supervision."""

from __future__ import annotations

import numpy as np
import pytest
from squares import boxes_of, predictor, with_squares

IMAGE = with_squares(160, 200, [(30, 100), (150, 20), (90, 60)])


@pytest.fixture
def sahi_model():
    pytest.importorskip("sahi")
    from smalldet.predict.sahi import SahiModel

    return SahiModel


def sahi_boxes(result) -> list[tuple[float, ...]]:
    return sorted(tuple(one.bbox.to_xyxy()) for one in result.object_prediction_list)


def test_sahi_gives_the_boxes_scores_and_names_of_the_predictor(sahi_model):
    from sahi.predict import get_prediction

    image, ours = IMAGE.copy(), predictor()
    image[100:112, 30:42] = (255, 0, 0)  # in RGB: "red"
    found = ours.predict(image, "RGB", 0.4)
    result = get_prediction(image, sahi_model(model=ours, confidence_threshold=0.4))
    assert sahi_boxes(result) == boxes_of(found) and len(found) == 3
    columns = found.pred_classes.tolist(), found.scores.tolist()
    expected = {(ours.class_names[k], score) for k, score in zip(*columns, strict=True)}
    ours_in_theirs = {(o.category.name, o.score.value) for o in result.object_prediction_list}
    assert ours_in_theirs == expected and {name for name, _ in expected} == {"light", "red"}
    sure = get_prediction(image, sahi_model(model=ours, confidence_threshold=0.6))
    assert sahi_boxes(sure) == boxes_of(found[found.scores >= 0.6])


def test_sahi_slices_as_our_tiles_do(sahi_model):
    from sahi.predict import get_sliced_prediction

    model = sahi_model(model=predictor(), confidence_threshold=0.3)
    result = get_sliced_prediction(IMAGE, model, 64, 64, 0.3, 0.3, verbose=0, batch_size=4)
    assert sahi_boxes(result) == boxes_of(predictor().predict(IMAGE, "RGB"))
    assert not sahi_boxes(get_sliced_prediction(IMAGE * 0, model, 64, 64, verbose=0))


def test_sahi_takes_a_run_and_refuses_what_it_cannot_use(sahi_model, monkeypatch):
    from smalldet.predict import sahi

    asked = []
    monkeypatch.setattr(sahi, "load", lambda *words: asked.append(words) or predictor())
    assert sahi_model("work_dirs/RUN", device="cpu").category_mapping == {"0": "light", "1": "red"}
    sahi_model("model.pth", config_path="a.py", device="cpu")
    assert asked == [("work_dirs/RUN", "", "cpu"), ("a.py", "model.pth", "cpu")]
    with pytest.raises(ValueError, match="overrides"):
        sahi_model("work_dirs/RUN", image_size=640)
    with pytest.raises(ValueError, match="images"):
        sahi_model(model=object())


def test_supervision_gets_boxes_scores_and_names():
    sv = pytest.importorskip("supervision")
    from smalldet.predict.supervision import to_supervision

    ours = predictor()
    found = ours.predict(IMAGE, "RGB")
    detections = to_supervision(found, ours.class_names)
    assert sorted(map(tuple, detections.xyxy.tolist())) == boxes_of(found)
    assert detections.confidence.tolist() == found.scores.tolist()
    assert detections.class_id.tolist() == found.pred_classes.tolist()
    assert list(detections.data["class_name"]) == ["light"] * 3
    drawn = sv.BoxAnnotator().annotate(IMAGE.copy(), detections)
    assert (drawn != IMAGE).any()
    nothing = to_supervision(ours.predict(np.zeros_like(IMAGE), "RGB"), ours.class_names)
    assert len(nothing) == 0 and len(detections[detections.confidence > 0.6]) == 2
