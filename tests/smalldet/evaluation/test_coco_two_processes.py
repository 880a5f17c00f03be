"""Two real processes score together what one would alone."""

from __future__ import annotations

import json

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp
from coco_scenes import register_file, show, to_instances, write_dataset

from smalldet.evaluation.coco import CocoBoxEvaluator

BOX = {"bbox": [10, 10, 20, 20], "category_id": 2}


def evaluate_part(rank, dataset, folder):
    """Process 0 shows images 1 and 2, process 1 shows 3 and, as padding, 1 again."""
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    register_file(dataset)
    evaluator = CocoBoxEvaluator(dataset, str(folder / "out"))
    for image_id in ((1, 2), (3, 1))[rank]:
        show(evaluator, image_id, to_instances([[10, 10, 30, 30 - image_id]], [0.9], [0]))
    (folder / f"rank{rank}.json").write_text(json.dumps(evaluator.evaluate()))
    dist.destroy_process_group()


@pytest.mark.slow
def test_equals_one_process(tmp_path):
    dataset = write_dataset(tmp_path, {1: [BOX], 2: [BOX], 3: [BOX]})
    mp.spawn(evaluate_part, (dataset, tmp_path), nprocs=2)
    alone = CocoBoxEvaluator(dataset, str(tmp_path / "alone"))
    for image_id in (1, 2, 3):
        show(alone, image_id, to_instances([[10, 10, 30, 30 - image_id]], [0.9], [0]))
    assert json.loads((tmp_path / "rank0.json").read_text()) == alone.evaluate()
    assert json.loads((tmp_path / "rank1.json").read_text()) == {}
    for name in ("predictions.json", "matches.npz", "evaluation.json"):
        together = (tmp_path / "out" / name).read_bytes()
        assert together == (tmp_path / "alone" / name).read_bytes()
