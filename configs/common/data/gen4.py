"""Prophesee's 1 Mpx set (Gen4) at half resolution, as RVT's prepared download or as
tools/prepare_events.py RAW datasets/gen4 --class-map gen4_3classes makes it.
"""

from .etram import dataloader, dataset, evaluation

dataset.update(
    name="gen4",
    root="${oc.env:DETECTRON2_DATASETS,datasets}/gen4",
    class_map="gen4_3classes",
)
dataloader.train.sampling.mode = "mixed"  # half of a batch random windows, half streams
dataloader.train.num_workers = 6
dataloader.valid.update(batch_size=12, num_workers=2)
dataloader.test.update(batch_size=12, num_workers=2)
evaluation.valid.update(protocols=["prophesee", "rvt_published"], slices=None)
evaluation.test.update(protocols=["prophesee", "rvt_published"], slices=None)
