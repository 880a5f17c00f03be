"""Training for a number of steps, as streams of recordings have no epochs."""

from detectron2.config import LazyCall as L

from smalldet.engine.settings import TrainSettings

train = L(TrainSettings)(
    output_dir="work_dirs/${experiment.name}",
    images=0,
    epochs=0,
    total_batch_size=6,  # streams side by side: the effective batch
    micro_batch_size="${train.total_batch_size}",  # all at once; lower it to save memory
    iterations_per_epoch="${train.eval_period}",
    max_iter=100_000,
    eval_period=10_000,
    checkpointer=dict(period=1_000, max_to_keep=2),
    amp=dict(enabled=True, dtype="bf16"),
    clip_grad_value=1.0,
)
