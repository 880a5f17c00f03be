"""A training script that only pretends, and ends as the name of its experiment says."""

from __future__ import annotations

SCRIPT = """
import json, sys, time
from pathlib import Path
from runfolder.records import finish_record, start_record, write_results

words = sys.argv[1:]
config = words[words.index("--config-file") + 1]
overrides = [word for word in words if "=" in word]
Path("calls.jsonl").open("a").write(json.dumps([config, overrides]) + "\\n")
folder = Path(next(w for w in overrides if w.startswith("train.output_dir")).split("'")[1])
if "crash" in config:
    sys.exit("ImportError: nothing to see")
start_record(folder, sys.argv)
if "hangs" in config:
    time.sleep(60)
if "fails" in config:
    print("DataError: no such data", file=sys.stderr)
    finish_record(folder, "failed", "no such data")
    sys.exit(1)
(folder / "config.yaml").write_text("train: {total_batch_size: 8}")
(folder / "model_final.pth").write_text("large")
steps = [
    {"iteration": i, "images_per_second": 8 / s, "memory_mb": 100.0 + i}
    for i, s in enumerate((9.0, 2.0))
]
(folder / "metrics.json").write_text("\\n".join(json.dumps(step) for step in steps))
write_results(folder, {"valid": {}, "test": {}})
finish_record(folder, "finished", "done")
"""
