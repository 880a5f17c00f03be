"""Recordings like Gen1 and 1 Mpx: raw files, preparation, training, and both protocols' scores."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from script_runs import results, run_script

from console.prepare_events import main
from toydata.streets import recordings_like

SETS = {  # class map, a sensor smaller than the real one, protocols
    "gen1": ("gen1_2classes", (208, 160), ("prophesee_gen1", "rvt_published_gen1")),
    "gen4": ("gen4_3classes", (128, 96), ("prophesee", "rvt_published")),
}
OLDER = {"t": "ts", "class_confidence": "confidence"}


def as_gen1(root):
    """Rename files and fields as Gen1 has them."""
    for path in [*root.rglob("*_td.h5")]:
        path.rename(path.with_name(path.name.replace("_td.h5", "_td.dat.h5")))
    for path in root.rglob("*_bbox.npy"):
        labels = np.load(path)
        labels.dtype.names = [OLDER.get(name, name) for name in labels.dtype.names]
        np.save(path, labels)


@pytest.mark.parametrize("data", SETS)
def test_from_raw_files_to_the_scores_of_both_protocols(data, tmp_path):
    class_map, (width, height), protocols = SETS[data]
    raw, root, run = (tmp_path / name for name in ("raw", "prepared", "run"))
    sizes = {"train": 2, "val": 1, "test": 1, "seconds": 1.0, "width": width, "height": height}
    recordings_like(class_map, seed=3, **sizes).ensure(raw)
    if data == "gen1":
        as_gen1(raw)
    assert main([str(raw), str(root), "--class-map", class_map, "--workers=0"], "prepare") == 0
    suffix, factor = ("", 1) if data == "gen1" else ("_ds2_nearest", 2)
    files = [*root.rglob(f"event_representations{suffix}.h5")]
    shapes = [h5py.File(path)["data"].shape[1:] for path in files]
    assert shapes == [(20, height // factor, width // factor)] * 4
    overrides = [
        f"dataset.root={root}",
        "dataset.generate=null",
        "dataloader.sequence_length=3",
        "train.max_iter=2",
        "train.eval_period=2",
        "train.checkpointer.period=2",
        "train.total_batch_size=2",
        "train.validation_loss=false",
        f"dataset.downsample={'none' if factor == 1 else 'nearest'}",
    ]
    run_script(f"configs/debug/rvt/{data}_tiny.py", run, overrides)
    found = results(run)
    assert found["iterations"] == 2 and 0 < found["final_loss"] < float("inf")
    for split in ("valid", "test"):
        scores = found[split]
        assert scores["bbox/num_ground_truth"] > 0
        for protocol in protocols:
            kept = scores[f"{protocol}/num_ground_truth"]
            assert (
                kept + scores[f"{protocol}/dropped_ground_truth"]
                == (scores["bbox/num_ground_truth"])
            )
    log = (run / "log.txt").read_text()
    assert all(f"Dropped by {protocol}: images:" in log for protocol in protocols)
    assert f"class map {class_map}" in log
