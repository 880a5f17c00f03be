"""How a run is trained. Derived values are interpolations: overrides and children stay true."""

import labbook.config.resolvers  # registers ${iterations:...}, ${ratio:...}
from detectron2.config import LazyCall as L

from smalldet.engine.settings import TrainSettings

train = L(TrainSettings)(
    output_dir="work_dirs/${experiment.name}",
    images=1271,  # of the training split; compared with the data set at start
    epochs=100,
    total_batch_size=8,  # the effective batch: one optimisation step
    micro_batch_size=2,  # images in memory at once; 2 fit an 8 GB card
    iterations_per_epoch="${iterations_per_epoch:${train.images},${train.total_batch_size}}",
    max_iter="${iterations:${train.epochs},${train.images},${train.total_batch_size}}",
    warmup_iters=500,
    eval_period="${train.iterations_per_epoch}",
    checkpointer=dict(period="${train.iterations_per_epoch}", max_to_keep=2),
    amp=dict(enabled=False, dtype="bf16"),
)
