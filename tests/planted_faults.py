"""Plants one fault after the other in a copy of the code, to see whether the tests notice.

    python tests/planted_faults.py [--only NAME ...] [--list] [--jobs N]

A fault is a title, the code that it takes away (``-``), what it puts there (``+``), and the tests
that should fail (``@``: globs below ``tests/``). The code is looked for in all of ``projects/``,
whatever its file, indentation and line breaks, and must occur once: who moves code need not touch
this file, who rewrites it plants the fault anew. A fault that survives is a gap in the tests.
The exit status is 1 if one could not be tried.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 600  # tests that take longer hang, and so have noticed

FAULTS = """
greedy-matching: A true box may be found by several predictions.
  - is_taken[gt[final]] = ~gt_crowd[gt[final]]
  + is_taken[gt[final]] = False
  @ boxmetrics/**/*match*
recall-points: A recall point is reached only beyond it.
  - first = np.searchsorted(recall, RECALL_POINTS, side="left")
  + first = np.searchsorted(recall, RECALL_POINTS, side="right")
  @ boxmetrics/**/*average_precision* boxmetrics/**/*protocol*
other-sizes: A false alarm of another size counts in a range of sizes.
  - ignored = np.repeat(outside[:, None], len(thresholds), axis=1)
  + ignored = np.repeat(outside[:, None] & False, len(thresholds), axis=1)
  @ boxmetrics/**/*average_precision* boxmetrics/**/*protocol*
skipped-start: A label at the very end of the skipped start is scored.
  - early = table.image_timestamp_us <= protocol.skip_us
  + early = table.image_timestamp_us < protocol.skip_us
  @ boxmetrics/**/*protocol*
paired-draws: Two models are compared on different draws.
  - _draws(theirs, metric, groups, classes, repeats, seed)
  + _draws(theirs, metric, groups, classes, repeats, seed + 1)
  @ boxmetrics/**/*bootstrap*
drawn-groups: Frames of a recording are drawn one by one.
  - return np.unique(given, return_inverse=True)[1]
  + return np.arange(images)
  @ boxmetrics/**/*bootstrap*
backward-scan: The scan from the end is added without turning it round again.
  - gated((first + second.flip(-1)) * pair.scale, pair.z)
  + gated((first + second) * pair.scale, pair.z)
  @ smalldet/**/*selective_scan*
lstm-gates: Forget and input gate are confused.
  - forget, write, read, candidate = gates.chunk(4, dim=1)
  + write, forget, read, candidate = gates.chunk(4, dim=1)
  @ smalldet/**/*conv_lstm* smalldet/**/*rnn_golden*
grid-attention: Tokens of the grid go back to other places.
  - _GRID_BACK = (0, 3, 1, 4, 2, 5)
  + _GRID_BACK = (0, 1, 3, 2, 4, 5)
  @ smalldet/**/*partition_attention*
temporal-window: The window of temporal attention forgets its newest step.
  - return x + motion * self._weighed(mixed), tuple(steps[1:])
  + return x + motion * self._weighed(mixed), tuple(steps[:-1])
  @ smalldet/necks
simota-least: An object whose overlaps add up to less than 1 gets no cell.
  - wanted = overlaps.topk(most).values.sum(-1).int().clamp(min=1)
  + wanted = overlaps.topk(most).values.sum(-1).int()
  @ smalldet/**/*simota*
class-targets: A positive cell is to be sure of its class however bad its box is.
  - scatter(1, classes, found.ious[:, None])
  + scatter(1, classes, torch.ones_like(found.ious)[:, None])
  @ smalldet/**/*yolox_losses* smalldet/**/*yolox_golden*
class-balance: Every class is kept as if it were the rarest.
  - return (rarest / self.seen.clamp(min=1)).clamp(max=1)
  + return (rarest / self.seen.clamp(min=1)).clamp(min=1)
  @ smalldet/**/*balanced*
nwd-sides: Whole sides count in the distance of two boxes instead of half of them.
  - ((_sides(boxes) - _sides(others)) / 2).square()
  + (_sides(boxes) - _sides(others)).square()
  @ smalldet/losses
size-weights: Large objects weigh less than 1.
  - return weights.clamp(1.0, size_aware_weight)
  + return weights.clamp(max=size_aware_weight)
  @ smalldet/losses
distant-anchors: All anchors are positive for an object that is like none of them.
  - likeness = likeness[seen := likeness.any(dim=1)]
  + likeness = likeness[seen := likeness.any(dim=1) | True]
  @ smalldet/**/*rcnn_boxes*
box-pooling: Boxes are pooled in the half precision of the features.
  - x = [features.float() for features in x]
  + x = list(x)
  @ smalldet/**/*rcnn_head*
half-cell: Aligned regions are read half a cell off.
  - .double() * scale - 0.5 * how.aligned
  + .double() * scale
  @ smalldet/kernels/*roi_align*
clipped-boxes: A box cut at the border of its image keeps its size.
  - return x0, y0, x1 - x0, y1 - y0
  + return x0, y0, width, height
  @ smalldet/**/*coco_filter*
merged-cache: A filtered file of merged classes serves a config that merges none.
  - for k in {**info, **expected} if
  + for k in expected if
  @ smalldet/**/*filtered_files*
shared-images: Images that differ by half pass for copies of one another.
  - elif row[index] <= NEAR:
  + elif row[index] <= BITS / 2:
  @ smalldet/**/*data_check*
stretched-boxes: Box sizes are measured as if images kept their shape.
  - stretch = image_size / record["width"], image_size / record["height"]
  + stretch = (image_size / record["width"],) * 2
  @ smalldet/**/*data_check*
cut-boxes: What a crop cut off a box comes back where the image is padded.
  - self.boxes = boxes_inside(whole, self.image.shape[:2])
  + self.boxes = whole
  @ smalldet/**/*augment*
visible-share: Whatever a crop leaves of a box is a target.
  - instances[cast(torch.BoolTensor, has_area & is_left)]
  + instances[cast(torch.BoolTensor, has_area)]
  @ smalldet/**/*augment*
fixed-grid: Smaller images are padded to whole patches, not to the grid of Vision Mamba.
  - return height if height == width else 0
  + return self.patch_size
  @ smalldet/**/*fixed_grid*
mosaic-places: Boxes of a mosaic lie where they were in their own images.
  - piece.boxes += [left, top, left, top]
  + piece.boxes += [0, 0, 0, 0]
  @ smalldet/**/*mosaic*
negatives: Images without a box are left out of evaluation too.
  - keeps_all = self.keep_negatives or split != "train"
  + keeps_all = self.keep_negatives
  @ smalldet/**/*coco_splits*
uneven-shards: The last images are evaluated by nobody if they cannot be shared out evenly.
  - range(total * rank // world_size, total * (rank + 1) // world_size)
  + range(total // world_size * rank, total // world_size * (rank + 1))
  @ smalldet/data/**/*loader*
accumulation: Gradients of micro-batches are added up instead of averaged.
  - share = 1.0 if summing is not None else len(batch) / images
  + share = 1.0
  @ smalldet/engine/**/*trainer*
resumed-data: A resumed run sees the first images again.
  - self.loader.seek(self.start_iter * self.total_batch_size)
  + self.loader.seek(0)
  @ smalldet/engine/**/*trainer*
one-cycle: The learning rate ends a step short of its lowest value.
  - max(self.num_updates - 1 - self.peak, 1)
  + max(self.num_updates - self.peak, 1)
  @ smalldet/engine/**/*schedule*
average-warmup: The average of the weights holds on to the initial ones.
  - decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
  + decay = max(self.decay, (1 + self.updates) / (10 + self.updates))
  @ smalldet/engine/**/*average*
kept-steps: A checkpoint to keep is written only where the period happens to fall on it.
  - return is_due(step, self.period, last) or is_due(step, self.keep_every, last)
  + return is_due(step, self.period, last)
  @ smalldet/engine/*stop*
new-recording: A recording begins with the state of the one before.
  - None if sample["is_first"] else self._states.get(stream_of(sample))
  + self._states.get(stream_of(sample))
  @ smalldet/detectors/**/*recurrent_stream*
annotation-zero: The first annotation has the id that COCO's code reads as unmatched.
  - numbers, without_area = count(1), 0
  + numbers, without_area = count(0), 0
  @ smalldet/evaluation/**/*coco*
clock-restart: After a block with a restart the 32-bit clock is not continued.
  - return raw + self.turns * turn if self.turns else raw
  + return raw
  @ eventcam/**/*reader*
large-class: A class id beyond 32 bits wraps around to that of another class.
  - fits = (values >= 0) & (values < NO_CLASS)
  + fits = values >= 0
  @ eventcam/**/*bbox*
saturation: Counts wrap around at 256 instead of staying at the cutoff.
  - np.minimum(np.bincount(cells, minlength=size), limit).astype(np.uint8)
  + np.bincount(cells, minlength=size).astype(np.uint8)
  @ eventcam/**/*representation*
closed-windows: A window that holds both its ends loses the events at its start.
  - side = "left" if self.closed else "right"
  + side = "right"
  @ eventcam/**/*windows*
label-gaps: A recording is cut at gaps that one chunk can bridge.
  - cuts = np.flatnonzero(np.diff(labelled_steps) > length)
  + cuts = np.flatnonzero(np.diff(labelled_steps) >= length)
  @ eventcam/**/*sampling*
flipped-boxes: Flipped boxes lie a pixel beside their objects.
  - [width - 1 - right, top, width - 1 - left, bottom]
  + [width - right, top, width - left, bottom]
  @ eventcam/**/*augment*
known-empty: A time between an object and an empty look counts as empty.
  - near & nothing[after - 1] & nothing[after]
  + near & (nothing[after - 1] | nothing[after])
  @ eventcam/**/*frames*
undeclared: Every change counts as declared.
  - "declared" if below(key, factors) else "undeclared"
  + "declared"
  @ labbook/**/*guard*
unknown-key: An override with one misspelt part adds a key.
  - if not (override.is_add() or override.is_force_add()):
  + if not (override.is_add() or override.is_force_add()) and section != key.rpartition(".")[0]:
  @ labbook/**/*override*
nearest-name: No name is suggested for a misspelt one.
  - return f" Did you mean '{close[0]}'?" if close else ""
  + return ""
  @ labbook/**/*override*
untrusted: A saved config may name any class of our packages' modules.
  - return is_ours and bool(bases & KINDS)
  + return is_ours or bool(bases & KINDS)
  @ labbook/config/test_config_trust.py
identity: Runs on different data have the same key.
  - _sha256([config, seed, data])
  + _sha256([config, seed])
  @ labbook/**/*ledger*
retries: A run that was killed is started once less often than asked for.
  - number <= self.options.retries
  + number < self.options.retries
  @ labbook/**/*runner*
seeds: The second run has a seed too far.
  - train.seed={train.seed + number - 1}
  + train.seed={train.seed + number}
  @ labbook/**/*runner* labbook/**/*plan*
difference-sign: The table shows baseline minus experiment.
  - pair.at[title, column] - pair.at[against, column]
  + pair.at[against, column] - pair.at[title, column]
  @ labbook/results/*
choice: A level is taken although its interval holds 0.
  - return self.gain.low > 0
  + return self.gain.high > 0
  @ labbook/**/*combine*
rising-losses: The losses of a cascade are called a failure though it finds more and more.
  - if run.is_finished and has_risen and not _is_rising(evaluations):
  + if run.is_finished and has_risen:
  @ labbook/run/*advice*
clean-running: The folder of a running run may be removed.
  - return "it is running" if run_status(folder) == "running" else None
  + return None
  @ labbook/**/*clean*
stale-kernel: A changed header leaves the library of the old one in use.
  - for path in (source, *sorted(source.parent.glob("*.h")))
  + for path in (source,)
  @ nativecode
exported-memory: A stream of an exported model forgets what it saw in the chunk before.
  - self._states[stream] = state
  + self._states[stream] = zero_state(self.manifest)
  @ smalldet/export/*exported_models*
exported-padding: An exported model sees black where the run sees the mean colour.
  - values = torch.tensor(self.manifest.padding).view(1, -1, 1, 1)
  + values = torch.zeros(1, len(image), 1, 1)
  @ smalldet/export/*exported_models*
unchecked-reset: An exported graph is not tried after a reset.
  - again = graph(inputs[0], *plan.state.values())
  + again = first
  @ smalldet/export/*check*
looped-decay: The loop of an exported scan keeps its state without decay.
  - h = decay * h + addition
  + h = h + addition
  @ smalldet/kernels/*looped*
yolo-classes: A class number beyond the names becomes a box.
  - elif not 0 <= (kind := int(box.label)) < len(found.classes):
  + elif (kind := int(box.label)) >= len(found.classes):
  @ smalldet/data/*convert*
voc-size: An image of another size than its annotation keeps its boxes.
  - elif _stated_size(tree) not in (None, size):
  + elif _stated_size(tree) == (0, 0):
  @ smalldet/data/*convert*
unknown-names: A misspelt class loses its boxes without a word.
  - require_known(labels, class_map.raw)
  + read_labels(labels, class_map.raw)
  @ eventcam/prepare/*own_classes*
damaged-cache: A filtered annotation file of the right length is taken for the one that was written.
  - if data != _with_checksum(body):
  + if len(data) != len(_with_checksum(body)):
  @ smalldet/**/*filtered_files*
float-images: Floats are scaled as if they had 16 bits.
  - np.rint(values * (255 / full))
  + np.rint(values * (255 / 65535))
  @ smalldet/**/*reading_images*
vanished-recording: A recording that is gone is not missed.
  - if key.startswith(f"{split}/") and not (self.root / key).is_dir():
  + if key.startswith(f"{split}/") and not self.root.is_dir():
  @ eventcam/**/*rvt_folder*
full-disk-again: A run that had no room to record its end is tried again.
  - if record is None or not has_room(folder):
  + if record is None:
  @ labbook/**/*runner*
unguarded-script: A worker of a script without a main guard waits for ever.
  - spawn.get_preparation_data("worker")
  + spawn.get_executable()
  @ toydata/*main_guard*
"""


class Fault(NamedTuple):
    """Code to replace (``old``) by wrong code (``new``), and globs of its tests."""

    name: str
    what: str
    old: str
    new: str
    tests: str


def read_faults(text: str) -> dict[str, Fault]:
    """The faults of ``text``, written as above, by name."""
    form = re.compile(r"^(\S+): (.+)\n  - (.+)\n  \+ (.+)\n  @ (.+)$", re.MULTILINE)
    return {name: Fault(name, *rest) for name, *rest in form.findall(text)}


def pattern_of(code: str) -> re.Pattern[str]:
    """Finds ``code`` with other white space, and with a comma before a closing bracket."""
    tokens = re.findall(r"\w+|[^\w\s]", code)
    parts = [rf"\b{token}\b" if re.match(r"\w", token) else re.escape(token) for token in tokens]
    return re.compile(r"\s*".join(rf",?\s*{p}" if p in (r"\)", r"\]", r"\}") else p for p in parts))


def plant(fault: Fault, tree: Path) -> str | None:
    """Replace the code in ``tree``; the file, or None if the code is not there just once."""
    pattern = pattern_of(fault.old)
    texts = {path: path.read_text("utf-8") for path in tree.glob("projects/**/*.py")}
    found = [path for path, text in texts.items() for _ in pattern.finditer(text)]
    if len(found) != 1:
        return None
    found[0].write_text(pattern.sub(lambda _: fault.new, texts[found[0]]), "utf-8")
    return found[0].relative_to(tree / "projects").as_posix()


def copy_code(tree: Path) -> None:
    """Copy the repository's files, changed and new ones as they are, into a repository ``tree``."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, check=True, cwd=ROOT, capture_output=True, text=True).stdout
    for name in filter(lambda name: (ROOT / name).is_file(), names.splitlines()):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    author = ["-c", "user.name=nobody", "-c", "user.email=nobody"]
    for command in (["init", "-q"], ["add", "-A"], [*author, "commit", "-q", "-m", "sound code"]):
        subprocess.run(["git", *command], check=True, cwd=tree)


def run_tests(globs: str, tree: Path) -> tuple[int, str]:
    """Pytest's status and output up to the first failure; compiled libraries stay in ``tree``."""
    tests = {str(path) for glob in globs.split() for path in (tree / "tests").glob(glob)}
    if not tests:
        return 5, f"no tests match {globs}"
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree / "projects"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_CACHE_HOME": str(tree / ".git" / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            [*command, *sorted(tests)],
            check=False,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return 1, f"FAILED to end in {SECONDS} s"
    return done.returncode, done.stdout


def try_fault(fault: Fault, sound: Path) -> tuple[Fault, str]:
    """Plant a fault in its own copy of the tree ``sound``; what comes of it, in words."""
    tree = sound.with_name(fault.name)
    shutil.copytree(sound, tree)  # with the compiled libraries, which no other fault has touched
    file = plant(fault, tree)
    if file is None:
        return fault, "UNTRIED: snippet not found, or not just once"
    status, output = run_tests(fault.tests, tree)
    shutil.rmtree(tree)
    if status == 0:
        return fault, f"SURVIVED in {file}"
    failed = re.search(r"^FAILED (?:tests/)?(.+?)(?: - |$)", output, re.MULTILINE)
    if status > 1 or failed is None:
        return fault, f"UNTRIED: pytest ended with status {status}, {output[-500:]}"
    return fault, f"caught in {file} by {failed[1]}"


def try_all(faults: Sequence[Fault], sound: Path, jobs: int) -> int:
    """Check that the tests pass on sound code, then try the faults; the exit status."""
    copy_code(sound)
    status, output = run_tests(" ".join(fault.tests for fault in faults), sound)
    if status:
        print(f"{output[-3000:]}\nWithout any fault pytest ends with status {status}; mend that.")
        return 1
    verdicts = []
    with ThreadPoolExecutor(jobs) as pool:
        for fault, verdict in pool.map(lambda fault: try_fault(fault, sound), faults):
            print(f"{fault.name:16} {verdict}", flush=True)
            verdicts.append(verdict.split()[0])
    print(f"{verdicts.count('caught')} of {len(faults)} faults caught")
    return int("UNTRIED:" in verdicts)


def main() -> int:
    known = read_faults(FAULTS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=list(known), choices=known, metavar="NAME")
    parser.add_argument("--list", action="store_true", help="name the faults, try none")
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time")
    options = parser.parse_args()
    faults = [known[name] for name in options.only]
    if options.list:
        print("\n".join(f"{fault.name:16} {fault.what}" for fault in faults))
        return 0
    with tempfile.TemporaryDirectory(prefix="faults_") as folder:
        return try_all(faults, Path(folder) / "sound", options.jobs)


if __name__ == "__main__":
    sys.exit(main())
