"""The board tells from run folders how far runs are."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from rich.console import Console
from run_toys import wait_for

from labbook import cli
from labbook.run.display import Board, progress_of
from labbook.run.processes import RunProcess
from runfolder.records import finish_record, start_record


def write(folder: Path, *rows: dict, mode: str = "a") -> None:
    with (folder / "metrics.json").open(mode) as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def test_progress_follows_a_growing_file(tmp_path):
    assert progress_of(tmp_path, 10) == ["-", "-", "-", "-"]
    write(tmp_path, {"iteration": 1, "total_loss": 2.0, "time": 0.5, "bbox/AP50": 30.0})
    assert progress_of(tmp_path, 1010) == ["2 / 1,010", "2.000", "30.0", "0:08:24"]
    assert progress_of(tmp_path, 1010, is_running=False)[3] == "-"
    write(tmp_path, {"iteration": 3, "total_loss": 1.23456, "bbox/AP50": 20.0, "time": None})
    with (tmp_path / "metrics.json").open("a") as stream:
        stream.write('{"iteration": 1005, "total')  # being written
    assert progress_of(tmp_path) == ["4", "1.235", "30.0", "-"], "the best so far"
    with (tmp_path / "metrics.json").open("a") as stream:
        stream.write('_loss": 0.5}\n')
    assert progress_of(tmp_path)[:2] == ["1,006", "0.500"]


def test_progress_starts_again_when_a_resumed_run_rewinds(tmp_path):
    write(tmp_path, *({"iteration": i, "total_loss": 1.0} for i in range(9)))
    assert progress_of(tmp_path)[0] == "9"
    (tmp_path / "new").write_text('{"iteration": 2, "total_loss": 7.0}\n' * 40)  # longer than it
    (tmp_path / "new").replace(tmp_path / "metrics.json")
    assert progress_of(tmp_path)[:2] == ["3", "7.000"]


def test_the_board_shows_what_a_runner_knows_and_else_what_folders_say(tmp_path):
    for name in ("broken", "begun"):
        start_record(tmp_path / name, [])
    (tmp_path / "broken" / "run.json").write_text("{")
    runs = [(name, tmp_path / name, None) for name in ("broken", "begun", "later")]
    text = io.StringIO()
    board = Board(runs, {"begun": "starting", "later": "waiting"})
    Console(file=text, width=100).print(board.table())
    shown = {line.split()[0]: line.split()[1] for line in text.getvalue().splitlines()}
    assert shown == {"run": "state", "broken": "damaged", "begun": "running", "later": "waiting"}


def test_watching_shows_all_seeds_whoever_runs_them(write_config, tmp_path, capsys):
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


def test_a_console_is_read_in_pieces_without_breaking_characters(tmp_path):
    (tmp_path / "console.txt").write_text("old\n")
    code = (
        "import sys\n"
        "out = sys.stdout.buffer\n"
        "for piece in (b'1\\n2\\n\\xc3', b'\\xa4 end\\xff\\n'):\n"
        "    out.write(piece); out.flush(); sys.stdin.read()\n"
        "    while not __import__('os').path.exists('go'): pass\n"
    )
    process = RunProcess(tmp_path, [sys.executable, "-c", code], tmp_path)
    wait_for(lambda: (tmp_path / "console.txt").read_bytes().endswith(b"\xc3"))
    assert process.new_output() == "1\n2\n"
    (tmp_path / "go").touch()
    wait_for(lambda: process.exit_code() == 0)
    assert process.new_output() == "ä end\N{REPLACEMENT CHARACTER}\n"
    assert process.new_output() == ""
    assert process.tail(2) == "2\nä end\N{REPLACEMENT CHARACTER}"
