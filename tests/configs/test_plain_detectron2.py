"""Our models for someone who has Detectron2's own loader alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from detectron2.config import LazyConfig, instantiate

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = [
    path.relative_to(ROOT)
    for study in ("ofat", "etram", "examples")
    for path in sorted((ROOT / "configs" / study).glob("[!_]*.py"))
    if path.stem != "own_script"
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_model_is_instantiated_from_the_file_as_it_is(config: Path):
    node = LazyConfig.load(str(ROOT / config)).model
    with torch.device("meta"):  # without memory for its weights
        model = instantiate(node)
    assert sum(parameter.numel() for parameter in model.parameters()) > 500_000
