"""What has changed on purpose since the characterisation was recorded; edited with each change."""

from __future__ import annotations

PROPOSALS, BOXES = "model.proposal_generator", "model.roi_heads"
RENAMED: dict[str, str | None] = {
    "train.amp": None,  # "off" is now amp.enabled=False, "bf16" amp.enabled=True; traces compare it
    "train.checkpoint_period": "train.checkpointer.period",
    "train.compile": None,
    "train.keep_last": "train.checkpointer.max_to_keep",
    "model.head.anchor_sizes": f"{PROPOSALS}.anchor_generator.sizes",
    "model.head.aspect_ratios": f"{PROPOSALS}.anchor_generator.aspect_ratios",
    "model.head.rpn_conv_dims": f"{PROPOSALS}.head.conv_dims",
    "model.head.rpn_ious": f"{PROPOSALS}.anchor_matcher.thresholds",
    "model.head.rpn_samples": f"{PROPOSALS}.batch_size_per_image",
    "model.head.rpn_positive_fraction": f"{PROPOSALS}.positive_fraction",
    "model.head.rpn_pre_nms_topk": f"{PROPOSALS}.pre_nms_topk",
    "model.head.rpn_post_nms_topk": f"{PROPOSALS}.post_nms_topk",
    "model.head.rpn_nms_threshold": f"{PROPOSALS}.nms_thresh",
    "model.head.smooth_l1_beta": f"{PROPOSALS}.smooth_l1_beta",
    "model.head.box_samples": f"{BOXES}.batch_size_per_image",
    "model.head.box_positive_fraction": f"{BOXES}.positive_fraction",
    "model.head.pooler_resolution": f"{BOXES}.box_pooler.output_size",
    "model.head.pooler_sampling_ratio": f"{BOXES}.box_pooler.sampling_ratio",
    # Loaders and evaluators name splits that the section ``dataset`` registers.
    **{
        f"{section}.{split}.{key}": None
        for section in ("dataloader", "evaluation")
        for split in ("train", "valid", "test")
        for key in ("dataset", "split")
    },
}
"""Old dotted key -> new one, or None where it has gone. A key stands for all below it too.
The overrides with which runs were recorded are translated likewise."""

RENAMED_CLASSES: dict[str, str] = {}
"""Last part of an old ``_target_`` -> last part of the new one; modules may move freely."""

MOVED_COMMANDS = {
    "tools/bench.py": "benchmarks/bench.py",
    "tools/bench_growth.py": "benchmarks/bench_growth.py",
}
"""Old command -> new one, as ``{"tools/bench.py": "benchmarks/bench.py"}``."""

OLD_CONFIGS_LOAD = {"ofat": False, "etram": False}
"""Whether the ``config.yaml`` of a recorded run still loads; else it is refused in a sentence."""

SHRUNK = {
    "ofat": [
        "model.backbone.bottom_up.depth=1",
        "model.backbone.bottom_up.embed_dim=16",
        "model.backbone.out_channels=8",
        "model.roi_heads.box_heads.0.conv_dims=[8]",
        "model.roi_heads.box_heads.0.fc_dims=[8]",
    ],
    "etram": [
        "model.backbone.depth=0.33",
        "model.backbone.bottom_up.embed_dim=4",
        "model.backbone.bottom_up.dim_head=4",
        "+model.backbone.bottom_up.dim_multiplier=[1, 1, 2, 2]",
        "model.head.score_threshold=0.0",
        "model.head.max_detections=20",
    ],
}
"""What makes the models of the recorded run folders tiny, in today's keys."""


def renamed(key: str) -> str | None:
    """Today's name of a recorded dotted key; None if it has gone."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        old = ".".join(parts[:length])
        if old in RENAMED:
            new = RENAMED[old]
            return None if new is None else ".".join([new, *parts[length:]])
    return key


def translated(overrides: list[str]) -> list[str]:
    """Recorded ``key=value`` words in today's keys, without those that have gone."""
    pairs = (word.split("=", 1) for word in overrides)
    return [f"{new}={value}" for key, value in pairs if (new := renamed(key))]
