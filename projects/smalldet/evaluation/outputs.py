"""What an evaluation leaves on disk, so that it can be studied without the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runfolder.files import replacing, write_json, write_text
from runfolder.names import EVALUATION_FACTS, MATCHES, PREDICTIONS


def write_outputs(
    folder: Path,
    predictions: list[dict[str, Any]],
    save_matches: Callable[[Path], None],
    facts: dict[str, Any],
) -> None:
    """Write ``predictions.json``, ``matches.npz`` and ``evaluation.json`` into ``folder``.

    Each file appears complete or not at all.

    Args:
        folder: Made if it is not there.
        predictions: In COCO's results format.
        save_matches: Writes all boxes and who found whom to a path.
        facts: By which rules the scores were computed, and the scores.
    """
    write_text(folder / PREDICTIONS, json.dumps(predictions, allow_nan=False) + "\n")
    with replacing(folder / MATCHES) as partial:
        save_matches(partial)
    write_json(folder / EVALUATION_FACTS, facts)
