"""The OFAT baseline at demo size: a small model that really learns, in two minutes on a CPU.

Hypothesis: Random frozen features suffice.
Run: make demo
"""

from .._ofat import toy

globals().update(toy("baseline_lr0.001_bs8_adamw_ep100"))

dataset.root = "${oc.env:DETECTRON2_DATASETS,datasets}/demo_heads"
dataset.name = "demo_heads"
dataset.generate.update(seed=1, image_size=160, train=160, valid=40, test=40)
train.update(images=160, epochs=8, total_batch_size=4, micro_batch_size=4, warmup_iters=20)
train.update(clip_grad_norm=1.0, log_period=20)
train.eval_period = train.checkpointer.period = "${train.max_iter}"
model.backbone.bottom_up.update(embed_dim=192, init_checkpoint="ckpts/demo_vim.pth")
