"""Predictions to scores: Detectron2 evaluators around COCO scoring and ``boxmetrics``.

In come a registered name (``smalldet.data.catalog``) and, batch by batch, inputs with predictions;
out come scores in percent under Detectron2's keys, and files that tell the rest without the model:
``predictions.json``, ``matches.npz``, ``evaluation.json``, crops of true objects. Imports ``data``
and no model. Start reading at ``evaluator``, then ``coco`` (images) or ``event_boxes``
(recordings).
"""
