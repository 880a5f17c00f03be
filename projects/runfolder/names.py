"""What the files of a run folder are called, and the keys in them that several readers share."""

from __future__ import annotations

CONFIG = "config.yaml"
"""The resolved config; it loads like a config file."""
CONFIG_SOURCE = "config_source.yaml"
"""The same with its interpolations."""
RECORD = "run.json"
RESULTS = "results.json"
METRICS = "metrics.json"
"""A line of JSON for each step that was logged, and for each evaluation."""
LEDGER = "ledger.json"
FINGERPRINT = "data_fingerprint.txt"
"""Checksum of the data; written before the first step."""
LOG, CONSOLE = "log.txt", "console.txt"
"""What training logs, and all that its processes print."""
PATCH = "code.patch"
LOCK = ".lock"
LAST_CHECKPOINT = "last_checkpoint"
"""Names the checkpoint to resume from; a folder that has one holds a run."""

EVALUATION = "evaluation"
"""Folder of a folder for each split, with the three below."""
EVALUATION_FACTS, MATCHES, PREDICTIONS = "evaluation.json", "matches.npz", "predictions.json"

WRITTEN = (
    *(CONFIG, CONFIG_SOURCE, RECORD, RESULTS, METRICS, LEDGER, FINGERPRINT, PATCH, LOCK),
    *(LAST_CHECKPOINT, "model_*.pth*", "nan_dump*.pth", "log.txt*", "console*.txt"),
    *("events.out.tfevents.*", "wandb/*", "profile/*", "jobs/*", "submitted.json"),
    *(f"{EVALUATION}/*/{file}" for file in (EVALUATION_FACTS, MATCHES, PREDICTIONS)),
    *(f"{EVALUATION}/*/gallery.json", f"{EVALUATION}/*/gallery/*.png"),
    *(
        "diff.txt",
        "experiment_hypothesis.txt",
        "experiment_summary.txt",
        "modification_details.txt",
    ),
    *("training_command.txt", "code_changes_summary.txt"),
)
"""Patterns of all that a run writes, relative to its folder; ``*`` stands for slashes, too."""

SPLITS = ("valid", "test")
"""Keys of ``results.json`` with the scores of the best model."""
AP, AP50 = "bbox/AP", "bbox/AP50"
"""Scores in percent, in ``results.json`` by split and in ``metrics.json``."""
MICRO_BATCH = "micro_batch_size"
"""In a config's ``train`` and ``dataloader.train``, and in ``run.json``."""
TOTAL_LOSS, VALIDATION_LOSS = "total_loss", "validation/total_loss"
"""In ``metrics.json``."""
