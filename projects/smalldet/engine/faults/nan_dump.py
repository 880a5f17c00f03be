"""The file that a run leaves when a value is not finite: all that the step depends on.

=================  ================================================================================
``error``          what was not finite, in a sentence
``iteration``      steps done before
``values``         losses by name, or the norm of the gradient
``image_ids``, ``file_names``   of the micro-batch that failed, or of the whole step
``micro_batches``  samples of the step, inputs and targets, as this process's loader gave them
``random``         random generators (Python, NumPy, torch, CUDA) as the step began
``recurrent``      memory of the streams as the step began; None without
``model``          weights, and buffers as they are after the failure
``optimizer``, ``scaler``   their states
``config``         text of the run's ``config.yaml``; "" if there is none
=================  ================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2 import structures

from runfolder.names import CONFIG
from smalldet.backbones.weight_files import read_file
from smalldet.engine.checkpoint import save_whole
from smalldet.engine.faults.step_start import Batch, StepStart

STRUCTURES = tuple(
    getattr(structures, name)
    for name in ("Instances", "Boxes", "RotatedBoxes", "BitMasks", "PolygonMasks", "Keypoints")
)
"""Classes of targets that a dump may hold; they are data and nothing else."""
ENTRIES: dict[str, Any] = {"error": str, "iteration": int, "micro_batches": list, "config": str}
ENTRIES |= dict.fromkeys(("random", "model", "optimizer", "scaler"), dict)
ENTRIES |= {"recurrent": dict | None}
"""What a dump needs to be reproduced, and as what."""


def write_dump(path: Path, start: StepStart, failed: Batch, entries: Mapping[str, Any]) -> str:
    """Write a dump of the step that began with ``start``.

    Args:
        path: the file, in the run folder.
        start: of the step.
        failed: the samples among which the value is.
        entries: what else the table at the top of this module names, but for ``config``.

    Returns:
        A sentence about it; also where it could not be written, so that the first error is told.
    """
    config = path.with_name(CONFIG)
    dump = {
        **entries,
        "image_ids": [sample.get("image_id", sample.get("image_ids")) for sample in failed],
        "file_names": [sample.get("file_name") for sample in failed],
        "micro_batches": start.micro_batches,
        "random": start.random,
        "recurrent": start.recurrent,
        "config": config.read_text(encoding="utf-8") if config.is_file() else "",
    }
    try:
        save_whole(dump, path)
    except Exception as error:  # of the disk, or samples that cannot be pickled
        return f"{path} could not be written ({type(error).__name__}: {error})."
    return f"tools/reproduce_nan.py {path} raises it again, and says where it begins."


def read_dump(path: Path) -> dict[str, Any]:
    """What a dump holds, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or no such dump. Tensors, plain values and targets are read, so a
            hostile file cannot run code.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no dump {path}. A run leaves nan_dump.pth in its folder when a loss or a "
            "gradient is not finite."
        )
    with torch.serialization.safe_globals(list(STRUCTURES)):
        dump: Any = read_file(path)
    found = dump if isinstance(dump, dict) else {}
    lacking = [k for k, kind in ENTRIES.items() if k not in found or not isinstance(found[k], kind)]
    if lacking:
        raise ValueError(
            f"{path} does not say {', '.join(lacking)}: it is no nan_dump.pth, or of an earlier "
            "version. The next one of the resumed run will do."
        )
    return found
