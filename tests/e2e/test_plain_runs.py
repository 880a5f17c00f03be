"""Configs of Detectron2, without a section or key of ours, through the training script."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import script_runs
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from PIL import Image
from script_runs import ROOT, command, environment, metrics, results

from console.train import parse, train

PLAIN = Path(__file__).parent / "plain"
IMAGES, SIDE = 2, 64
SMALL = [
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.test.num_workers=0",
    f"dataloader.train.mapper.augmentations.0.short_edge_length=[{SIDE}]",
    f"dataloader.test.mapper.augmentations.0.short_edge_length={SIDE}",
    "+dataloader.evaluator.use_fast_impl=false",  # the other one needs compiled operators
]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> Path:
    """COCO's folders, where Detectron2 looks for coco_2017_train and coco_2017_val.

    With DETECTRON2_DATASETS it looks there; without, in what is called so here, where it runs.
    """
    root = tmp_path_factory.mktemp("plain") / "datasets"
    (root / "coco" / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        (root / "coco" / split).mkdir()
        for n in range(IMAGES):
            image = Image.new("RGB", (SIDE, SIDE), (40 * n, 90, 160))
            image.paste((200, 30, 30), (10, 10, 40, 40 + n))
            image.save(root / "coco" / split / f"{n}.jpg")
        file = root / "coco" / "annotations" / f"instances_{split}.json"
        file.write_text(json.dumps(coco_file()))
    return root


def coco_file() -> dict:
    """A person with a polygon in each image."""
    boxes = [[10, 10, 30, 30 + n] for n in range(IMAGES)]
    return {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "height": SIDE, "width": SIDE} for n in range(IMAGES)
        ],
        "annotations": [
            {
                "id": n + 1,
                "image_id": n,
                "category_id": 1,
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": 0,
                "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
            }
            for n, (x, y, w, h) in enumerate(boxes)
        ],
        "categories": [{"id": c["id"], "name": c["name"]} for c in COCO_CATEGORIES if c["isthing"]],
    }


def execute(config: Path, folder: Path, datasets: Path, overrides=SMALL, flags=()):
    """The training script in a forked process; the folder with the data is where it runs."""
    python, script, *words = command(config, folder, overrides, *flags)
    return script_runs.execute([python, str(ROOT / script), *words], datasets.parent)


def execute_anew(config: Path, folder: Path, datasets: Path):
    """In an interpreter that has loaded nothing, with the variable of Detectron2."""
    paths = f"{PLAIN.parent}:{environment().get('PYTHONPATH', '')}"
    variables = {**environment(), "DETECTRON2_DATASETS": str(datasets), "PYTHONPATH": paths}
    words = command(config, folder, SMALL)
    return subprocess.run(
        words, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn", "layered_masks"])
def test_it_trains_evaluates_and_leaves_a_run_folder(name, datasets, tmp_path):
    begin = execute_anew if name == "faster_rcnn" else execute
    done = begin(PLAIN / f"{name}.py", tmp_path, datasets)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train.fast_dev_run" in done.stdout + done.stderr  # which nothing reads
    found = results(tmp_path)
    assert {"bbox/AP", "bbox/AP50"} <= set(found["test"]) and found["iterations"] == 4
    assert ("segm/AP" in found["test"]) == (name == "layered_masks")
    rows = metrics(tmp_path)
    assert [row["iteration"] for row in rows if "total_loss" in row] == [0, 1, 2, 3]
    assert [row["iteration"] for row in rows if "bbox/AP" in row] == [1, 3]
    names = {"config.yaml", "run.json", "model_final.pth", "last_checkpoint", "log.txt"}
    assert names <= {path.name for path in tmp_path.iterdir()}
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "finished"
    if name == "layered_masks":
        its_record_is_evaluated_once_it_is_trusted(tmp_path, datasets)
    if name == "retinanet":
        it_goes_on_from_its_middle(name, tmp_path, datasets)


def its_record_is_evaluated_once_it_is_trusted(folder, datasets) -> None:
    """The record of a run names somebody's own function, which is no part of the list."""
    record = folder / "config.yaml"
    with pytest.raises(
        SystemExit, match=r"params\._target_ names plain\.layer_rates.*--trust plain"
    ):
        train(parse(["--config-file", str(record), "--eval-only"], "train"))
    done = execute(record, folder, datasets, [], ["--eval-only", "--trust", "plain"])
    assert done.returncode == 0 and f"Evaluating {folder}" in done.stdout


def it_goes_on_from_its_middle(name, folder, datasets) -> None:
    """As after a kill: weights, optimizer and step come back, and the log says what does not."""
    (folder / "results.json").unlink()
    (folder / "last_checkpoint").write_text("model_0000002.pth")
    done = execute(PLAIN / f"{name}.py", folder, datasets, flags=["--resume"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Starting training from iteration 2" in done.stdout
    assert "other samples than if it had not been resumed" in done.stdout
    assert results(folder)["iterations"] == 4
    assert [row["iteration"] for row in metrics(folder) if "total_loss" in row] == [0, 1, 2, 3]
