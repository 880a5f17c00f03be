"""Prophesee's Gen1, as RVT's prepared download or as
tools/prepare_events.py RAW datasets/gen1 --class-map gen1_2classes makes it.
"""

from .etram import dataloader, dataset, evaluation

dataset.update(
    name="gen1",
    root="${oc.env:DETECTRON2_DATASETS,datasets}/gen1",
    class_map="gen1_2classes",
    downsample="none",
)
dataloader.sequence_length = 21
dataloader.train.sampling.mode = "mixed"  # half of a batch random windows, half streams
dataloader.train.num_workers = 6
dataloader.valid.update(batch_size=8, num_workers=2)
dataloader.test.update(batch_size=8, num_workers=2)
evaluation.valid.update(protocols=["prophesee_gen1", "rvt_published_gen1"], slices=None)
evaluation.test.update(protocols=["prophesee_gen1", "rvt_published_gen1"], slices=None)
