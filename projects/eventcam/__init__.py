"""Event recordings to training sequences; knows no model and no Detectron2."""
