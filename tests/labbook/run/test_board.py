"""The board tells from run folders how far runs are."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from labbook import cli
from labbook.run.board import Line, cells, table_of
from labbook.run.console import ConsoleReader, tail
from labbook.run.progress import Progress
from runfolder.records import finish_record, start_record


def write(folder: Path, *rows: dict, mode: str = "a") -> None:
    with (folder / "metrics.json").open(mode) as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def test_progress_follows_a_growing_file(tmp_path: Path) -> None:
    progress = Progress(tmp_path)
    progress.refresh()
    assert (progress.step, progress.seconds_left(10)) == (None, None)
    write(tmp_path, {"iteration": 1, "total_loss": 2.0, "time": 0.5, "bbox/AP50": 30.0})
    progress.refresh()
    assert (progress.step, progress.loss, progress.ap50) == (2, 2.0, 30.0)
    assert progress.seconds_left(10) == 4.0
    write(tmp_path, {"iteration": 3, "total_loss": 1.0, "bbox/AP50": 20.0})
    with (tmp_path / "metrics.json").open("a") as stream:
        stream.write('{"iteration": 5, "total')  # being written
    progress.refresh()
    assert (progress.step, progress.loss, progress.ap50) == (4, 1.0, 30.0), "the best so far"
    with (tmp_path / "metrics.json").open("a") as stream:
        stream.write('_loss": 0.5}\n')
    progress.refresh()
    assert (progress.step, progress.loss) == (6, 0.5)


def test_progress_starts_again_when_a_resumed_run_rewinds(tmp_path: Path) -> None:
    write(tmp_path, *({"iteration": i, "total_loss": 1.0} for i in range(9)))
    progress = Progress(tmp_path)
    progress.refresh()
    (tmp_path / "new").write_text('{"iteration": 2, "total_loss": 7.0}\n' * 40)  # longer than it
    (tmp_path / "new").replace(tmp_path / "metrics.json")
    progress.refresh()
    assert (progress.step, progress.loss) == (3, 7.0)


def test_a_row_of_the_board(tmp_path: Path) -> None:
    write(tmp_path, {"iteration": 99, "total_loss": 1.23456, "time": 0.5, "bbox/AP50": None})
    line = Line("run", tmp_path, 1100, Progress(tmp_path))
    assert cells(line, "running") == ["run", "running", "100 / 1,100", "1.235", "-", "0:08:20"]
    assert cells(line, "finished")[-1] == "-"
    (tmp_path / "run.json").write_text("{")
    text = io.StringIO()
    Console(file=text, width=100).print(table_of([line], {"other": "waiting"}))
    assert "damaged" in text.getvalue()


def test_watching_shows_all_seeds_whoever_runs_them(
    write_config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        write_config(name)
    for name in ("ofat_one", "ofat_one_seed10", "ofat_one_seed2", "ofat_one_seedling"):
        start_record(tmp_path / "work_dirs" / name, [])
    finish_record(tmp_path / "work_dirs" / "ofat_one_seed2", "failed", "no data")
    assert cli.main(["watch", "ofat"], tmp_path) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows[1:5]] == [
        ["ofat_one", "running"],
        ["ofat_one_seed2", "failed"],
        ["ofat_one_seed10", "running"],
        ["ofat_two", "new"],
    ]


def test_a_console_is_read_in_pieces_without_breaking_characters(tmp_path: Path) -> None:
    path = tmp_path / "console.txt"
    path.write_bytes("old\nä".encode()[:-1])
    reader = ConsoleReader(path, 4)
    assert reader.new_text() == ""
    with path.open("ab") as stream:
        stream.write("ä".encode()[-1:] + b" end\xff\n")
    assert reader.new_text() == "ä end\N{REPLACEMENT CHARACTER}\n"
    assert reader.new_text() == ""
    path.write_text(os.linesep.join(str(i) for i in range(30)))
    assert tail(path, 0, 2) == "28\n29"
