"""Question: does patch2_sizeaware_100k keep its AP where its batch of 2 does not fit?
Hypothesis: Normalising one stream at a time costs little AP.
Run: tools/lab.py run etram --only patch2_sizeaware_100k_low_memory
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("patch2_sizeaware_100k.py"))

train.micro_batch_size = 1  # batch norms see one stream at a time
model.backbone.bottom_up.checkpoint = True
dataloader.train.num_workers = 2
dataloader.valid.update(batch_size=1, num_workers=1)
dataloader.test.update(batch_size=1, num_workers=1)
experiment.update(
    parent="etram_patch2_sizeaware_100k",
    factors=["train.micro_batch_size", "model.backbone.bottom_up.checkpoint", "dataloader"],
    level="micro-batch 1, in less memory",
)
