"""A folder of raw recordings to a folder of prepared ones: parallel, resumable, with a manifest.

A recording is built in ``OUT/.in_progress`` and moved to its place when it is whole, with its
record (``preparation.json``). A later run leaves it alone if the record shows the same settings,
the same source files (by size and time, or by checksum; those that are still there) and the files
written then.
"""

from __future__ import annotations

import itertools
import logging
import shutil
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from eventcam.class_maps import check_class_map, get_class_map
from eventcam.errors import EventDataError
from eventcam.io import rvt_layout as layout
from eventcam.io.records import (
    describe_file,
    describe_outputs,
    read_json,
    same_file,
    settings_of,
)
from eventcam.labels import LabelFilter
from eventcam.prepare.raw_folder import RawRecording, find_recordings
from eventcam.prepare.recording import Preparation, prepare_recording
from eventcam.prepare.workers import check_main_guard, run_jobs
from runfolder.files import write_json

LOG = logging.getLogger(__name__)
IN_PROGRESS = ".in_progress"
_LOCK_NAME = ".prepare.lock"
_WAIT_SECONDS = 3600.0


@dataclass
class Summary:
    """What one run did; recordings by ``<split>/<name>``.

    Attributes:
        manifest: the file that holds everything in detail.
        prepared: written by this run.
        reused: found finished.
        failed: with the reason.
        totals: counts over all recordings in the folder.
    """

    manifest: Path
    prepared: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    totals: dict[str, dict[str, int]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"{len(self.prepared)} recordings prepared, {len(self.reused)} were finished before, "
            f"{len(self.failed)} failed; see {self.manifest}"
        ]
        for title, counts in self.totals.items():
            numbers = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            lines.append(f"{title.replace('_', ' ')}: {numbers or 'nothing'}")
        lines += [f"FAILED {name}: {reason}" for name, reason in sorted(self.failed.items())]
        return "\n".join(lines)


def prepare_all(
    raw: Path, out: Path, settings: Preparation, workers: int = 0, progress: bool = True
) -> Summary:
    """Prepare every recording below ``raw`` into ``out``.

    A recording that cannot be prepared is named in the summary and in the manifest, with the
    reason; the others are not affected. Of several processes with the same ``out`` one works, the
    others wait (up to an hour).

    Args:
        raw: folders train, val, test; see :mod:`eventcam.prepare.raw_folder`.
        out: see :mod:`eventcam.io.rvt_layout`.
        settings: must be those that ``out`` was begun with; a folder that was begun with a label
            filter is gone on with it, which is said.
        workers: processes; 0 works in this one. With any, a script needs its
            ``if __name__ == "__main__"``.
        progress: show a bar on a terminal.

    Raises:
        EventDataError: there are no recordings, ``out`` was begun with other settings, or another
            process keeps working in it.
    """
    if workers:
        check_main_guard()
    recordings = find_recordings(Path(raw))
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / _LOCK_NAME, timeout=_WAIT_SECONDS):
            return _prepare(recordings, out, settings, workers, progress)
    except Timeout as error:
        raise EventDataError(
            f"Another process has been preparing recordings into {out} for an hour. Wait until it "
            f"has ended and repeat the command, or prepare into another folder."
        ) from error


def _prepare(
    recordings: list[RawRecording], out: Path, settings: Preparation, workers: int, progress: bool
) -> Summary:
    settings = _claim(out, settings)
    summary = Summary(out / layout.MANIFEST)
    prepare = partial(_prepare_or_reuse, out=out, settings=settings)
    bar = tqdm(total=len(recordings), unit="recording", disable=None if progress else True)
    try:
        for recording, outcome in run_jobs(prepare, recordings, workers):
            _note(summary, recording.key, outcome)
            bar.set_postfix(failed=len(summary.failed))
            bar.update()
    finally:
        bar.close()
        shutil.rmtree(out / IN_PROGRESS, ignore_errors=True)
        summary.totals = _write_manifest(out, settings, summary.failed)
    return summary


def _note(summary: Summary, key: str, outcome: bool | Exception) -> None:
    if isinstance(outcome, Exception):
        known = isinstance(outcome, EventDataError)
        summary.failed[key] = str(outcome) if known else f"{type(outcome).__name__}: {outcome}"
        LOG.warning("%s: %s", key, summary.failed[key])
    else:
        (summary.reused if outcome else summary.prepared).append(key)


def _claim(out: Path, settings: Preparation) -> Preparation:
    """Write the settings into ``out``, or make sure that they are the ones found there.

    Returns:
        Those to go on with: a folder's own label filter, where it has one, stays.
    """
    path = out / layout.MANIFEST
    manifest = read_json(path) if path.exists() else {}
    if not manifest.get("settings"):
        _write_manifest(out, settings, {})
        return settings
    found = settings_of(manifest)
    check_class_map(found.get("class_map", ""), settings.class_map, out)
    if found.get("label_filter") and settings.label_filter is None:
        settings = replace(settings, label_filter=LabelFilter(**found["label_filter"]))
        LOG.warning(
            "%s was begun with boxes left out of all splits (%s) and is gone on with so. Prepare "
            "into another folder to keep them all for evaluation.",
            out,
            found["label_filter"],
        )
    wanted = settings.as_dict()
    if found != wanted:
        names = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
        changes = ", ".join(f"{k} {found.get(k)!r} (now {wanted.get(k)!r})" for k in names)
        raise EventDataError(
            f"{out} was prepared with other settings: {changes}. Prepare into another folder, or "
            f"repeat the old settings."
        )
    return settings


def _prepare_or_reuse(recording: RawRecording, out: Path, settings: Preparation) -> bool:
    """Prepare one recording; True if it was finished before. Runs in a worker process."""
    target = out / recording.split / recording.name
    sources = {"events": recording.events, "labels": recording.labels}
    if _is_finished(target, {k: v for k, v in sources.items() if v}, settings):
        return True
    if recording.events is None or recording.labels is None:
        lacking = "_bbox.npy", "_bbox.csv, .json"
        ending, other = lacking if recording.events else ("_td.h5", "_td.dat, .raw")
        raise EventDataError(f"the file {recording.name}{ending} is missing (or {other})")
    folder = out / IN_PROGRESS / recording.split / recording.name
    shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed
    folder.mkdir(parents=True)
    result = prepare_recording(
        recording.events, recording.labels, folder, settings, train=recording.split == "train"
    )
    record = {
        "recording": recording.key,
        "settings": settings.as_dict(),
        "sources": {name: describe_file(path) for name, path in sources.items() if path},
        **result,
        "outputs": describe_outputs(folder),
    }
    write_json(folder / layout.RECORD, record)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.replace(target)
    return False


def _is_finished(target: Path, sources: dict[str, Path], settings: Preparation) -> bool:
    """Whether ``target`` is what would be written; an outdated one of ours is removed."""
    if not target.exists():
        return False
    if not (target / layout.RECORD).exists():
        raise EventDataError(
            f"{target} exists but has no {layout.RECORD}, so it was not made by this program and "
            f"is left alone. Prepare into another folder, or remove it."
        )
    record = read_json(target / layout.RECORD)
    same = settings_of(record) == settings.as_dict()
    same = same and record.get("outputs") == describe_outputs(target)
    noted = record.get("sources", {})
    if same and all(same_file(path, noted.get(name, {})) for name, path in sources.items()):
        return True
    shutil.rmtree(target)
    return False


def _write_manifest(
    out: Path, settings: Preparation, failed: dict[str, str]
) -> dict[str, dict[str, int]]:
    """Manifest of all that lies in ``out``; returns the totals."""
    records = {}
    for split in layout.SPLITS:
        for path in sorted((out / split).glob(f"*/{layout.RECORD}")):
            records[f"{split}/{path.parent.name}"] = read_json(path)
    groups = ("counts", "boxes_per_class", "dropped_or_changed")
    totals = {group: Counter[str]() for group in groups}
    for group, record in itertools.product(groups, records.values()):
        totals[group].update(record.get(group, {}))
    manifest: dict[str, Any] = {
        "settings": settings.as_dict(),
        "classes": list(get_class_map(settings.class_map).classes),
        "totals": totals,
        "failed": dict(sorted(failed.items())),
        "recordings": records,
    }
    write_json(out / layout.MANIFEST, manifest)
    return {group: dict(total) for group, total in totals.items()}
