"""Detectron2 evaluators around COCO scoring and boxmetrics. Imports no model."""
