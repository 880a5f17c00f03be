"""A run as a detection model of SAHI (extra ``sahi``), for its slicing, merging and tools.

``get_sliced_prediction("photo.jpg", SahiModel("work_dirs/RUN"), 640, 640)`` of ``sahi.predict``.
Written for the interface of sahi 0.12.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sahi.models.base import DetectionModel
from sahi.prediction import ObjectPrediction
from sahi.utils.compatibility import fix_full_shape_list, fix_shift_amount_list

from smalldet.predict.images import ImagePredictor
from smalldet.predict.loading import load


class SahiModel(DetectionModel):
    """Takes SAHI's arguments.

    ``model_path`` is what :func:`smalldet.load` takes; with ``config_path``, a config file, it is
    the checkpoint. ``model`` is an :class:`ImagePredictor` instead. ``confidence_threshold`` leaves
    out what scores lower, ``device`` is "cpu" or "cuda".

    Raises:
        ValueError: the run looks at event recordings, or an ``image_size`` was given, which is the
            run's.
    """

    def load_model(self) -> None:
        """Load the run."""
        run, weights = self.model_path or "", ""
        if self.config_path:
            run, weights = self.config_path, run
        kind, _, _ = str(self.device).partition(":")
        self.set_model(load(run, weights, kind))

    def set_model(self, model: Any, **kwargs: Any) -> None:
        """Take a predictor of images."""
        if not isinstance(model, ImagePredictor):
            raise ValueError(f"SAHI is for images, and {type(model).__name__} predicts on others.")
        if self.image_size is not None:
            raise ValueError(
                f"image_size={self.image_size} was given, but the size of the input is the run's: "
                "smalldet.load(RUN, overrides=[...]) changes it; pass its result as model=..."
            )
        self.model = model
        if not self.category_mapping:
            self.category_mapping = {str(k): name for k, name in enumerate(model.class_names)}

    def perform_inference(self, image: np.ndarray) -> None:
        """Detect on one image (H, W, 3) uint8 RGB."""
        self._original_predictions = self.model.predict(image, "RGB", self.confidence_threshold)

    def _create_object_prediction_list_from_original_predictions(
        self, shift_amount_list: Any = None, full_shape_list: Any = None
    ) -> None:
        """The detections of one image, which lies at the shift (x, y) in the full one."""
        shift = fix_shift_amount_list(shift_amount_list)[0]
        shape = (fix_full_shape_list(full_shape_list) or [None])[0]
        found = self._original_predictions
        boxes = found.pred_boxes.clone()
        boxes.clip(found.image_size)  # SAHI refuses what is left of the border
        names = self.category_mapping or {}
        columns = boxes.tensor.tolist(), found.scores.tolist(), found.pred_classes.tolist()
        self._object_prediction_list_per_image = [
            [
                ObjectPrediction(
                    bbox=box,
                    category_id=k,
                    category_name=names.get(str(k), str(k)),
                    score=score,
                    shift_amount=shift,
                    full_shape=shape,
                )
                for box, score, k in zip(*columns, strict=True)
            ]
        ]
