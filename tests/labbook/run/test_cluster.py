"""Runs as cluster jobs: really through submitit's local executor, and what SLURM would be given."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from run_toys import SCRIPT, folder_of, wait_for

from labbook import cli
from labbook.commands.run import parameters_in
from labbook.run import slurm as cluster
from labbook.run.jobs import Job
from labbook.run.processes import Processes, descendants
from labbook.run.slurm import ClusterOptions, ClusterRun, parameters_for, port_of, submit
from runfolder.provenance import process_start
from runfolder.records import finish_record, read_record, run_status, start_record

TRAIN_SCRIPT = "tools/train.py"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A project whose training script only pretends; its local jobs end with the test."""
    script = tmp_path / TRAIN_SCRIPT
    script.parent.mkdir()
    script.write_text(SCRIPT)
    yield tmp_path
    for path in tmp_path.rglob(cluster.SUBMITTED):
        before = json.loads(path.read_text())
        family = [child.pid for child in descendants(int(before["job_id"]))]
        for pid in [int(before["job_id"]), *family]:
            if before["executor"] == "local" and process_start(pid) is not None:
                os.kill(pid, signal.SIGKILL)


def job_in(root: Path, name: str, device: str = "auto") -> Job:
    cfg = OmegaConf.create({"train": {"device": device}, "dataset": {}})
    file, folder = Path(f"{name}.py"), folder_of(root, name)
    return Job(name, file, folder, cfg, TRAIN_SCRIPT, ("a=1",))


def submitted(folder: Path) -> dict:
    return json.loads((folder / cluster.SUBMITTED).read_text())


def test_a_pre_empted_job_saves_requeues_and_finishes(root, write_config, capsys):
    write_config("long")
    folder = folder_of(root, "long")
    command = ["run", "ofat", "--executor", "local", "--slurm", "time=5", "optimizer.lr=0.5"]
    assert cli.main(command, root, TRAIN_SCRIPT) == 0
    wait_for((folder / "ready").exists)
    assert cli.main(command, root, TRAIN_SCRIPT) == 0
    job_id = submitted(folder)["job_id"]
    assert f"submitted before, as job {job_id}" in capsys.readouterr().out
    (task,) = [child.pid for child in descendants(int(job_id)) if is_task(child.pid)]
    os.kill(task, signal.SIGUSR2)  # as the cluster announces the end
    wait_for(lambda: run_status(folder) == "finished", 60)
    record = read_record(folder)
    assert record is not None and record.attempts == 2
    assert (folder / "checkpoint").exists(), "the first attempt has saved"
    starts = (folder / "console.txt").read_text().count("starting long ['--resume', 'optimizer.lr")
    assert starts == 2
    wait_for(lambda: process_start(int(job_id)) is None)
    assert cli.main(command, root, TRAIN_SCRIPT) == 0
    assert "long: already finished" in capsys.readouterr().out


def is_task(pid: int) -> bool:
    return b"submitit.core._submit" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_failed_job_leaves_the_end_of_its_log(root):
    (outcome,) = submit([job_in(root, "fails")], root, ClusterOptions("local"))
    folder = folder_of(root, "fails")
    assert outcome.is_finished and outcome.message.startswith("submitted as job")
    wait_for(lambda: run_status(folder) == "failed")
    wait_for(lambda: process_start(int(submitted(folder)["job_id"])) is None)
    (log,) = (folder / cluster.JOB_FOLDER).glob("*_log.err")
    assert "RuntimeError: The run in" in log.read_text() and "status 1" in log.read_text()


@pytest.mark.parametrize(("retries", "starts"), [(0, 1), (2, 3)])
def test_a_job_tries_again_what_died(root, retries, starts):
    folder = folder_of(root, "doomed")
    run = ClusterRun(job_in(root, "doomed"), root, ClusterOptions("local", retries=retries))
    with pytest.raises(RuntimeError, match="ended with status -9"):
        run()
    assert (folder / "console.txt").read_text().count("starting doomed") == starts


FAKE_SLURM = {
    "srun": "exit 0",
    "sbatch": 'cp "$1" submission.sh; echo "Submitted batch job 4711"',
    "squeue": 'test -e queue && cat queue; test -e queue || { echo "Invalid job id" >&2; exit 1; }',
}


@pytest.fixture
def slurm(root, monkeypatch) -> Path:
    """Programs that stand for SLURM's; ``queue`` in the root folder is what squeue shows."""
    for name, body in FAKE_SLURM.items():
        program = root / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{root / 'bin'}:{os.environ['PATH']}")
    monkeypatch.chdir(root)
    return root


def test_what_slurm_is_given_and_never_twice(slurm):
    options = ClusterOptions("slurm", {"partition": "gpu", "time": 600}, nodes=2, per_node=4)
    job = job_in(slurm, "good")
    (outcome,) = submit([job], slurm, options)
    assert "submitted as job 4711" in outcome.message
    text = (slurm / "submission.sh").read_text()
    for line in ("--partition=gpu", "--time=600", "--nodes=2", "--ntasks-per-node=1",
                 "--gpus-per-node=4", "--job-name=ofat_good", "--signal=USR2@180"):  # fmt: skip
        assert f"#SBATCH {line}\n" in text
    assert "gpus_per_node" not in parameters_for(job_in(slurm, "x", "cpu"), options)
    (slurm / "submission.sh").unlink()
    (slurm / "queue").write_text("4711 gpu ofat_good PD\n")
    (outcome,) = submit([job], slurm, options)
    assert outcome.message.startswith("submitted before, as job 4711")
    assert not (slurm / "submission.sh").exists()
    (slurm / "queue").unlink()
    submit([job], slurm, options)
    assert (slurm / "submission.sh").exists()
    with pytest.raises(ValueError, match=r"Unavailable parameter.*partitoin"):
        submit([job], slurm, ClusterOptions("slurm", {"partitoin": "gpu"}))


def test_without_slurm_or_submitit_there_is_a_sentence(root, monkeypatch):
    monkeypatch.setenv("PATH", str(root))
    with pytest.raises(ValueError, match="where sbatch and srun are"):
        submit([job_in(root, "good")], root, ClusterOptions("slurm"))
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match=r"pip install '\.\[sweep\]'"):
        submit([job_in(root, "good")], root, ClusterOptions("local"))


def test_words_after_slurm_are_parameters_or_overrides():
    words = ["partition=gpu", "time=600", "gres=gpu:a100:1", "train.epochs=3", "+model.new=1"]
    parameters, overrides = parameters_in(words)
    assert parameters == {"partition": "gpu", "time": 600, "gres": "gpu:a100:1"}
    assert overrides == ["train.epochs=3", "+model.new=1"]
    with pytest.raises(ValueError, match="found 'gpu'"):
        parameters_in(["gpu"])


def test_each_node_knows_its_place(root, monkeypatch):
    names = {"SLURM_JOB_ID": "4711", "SLURM_NODEID": "1", "SLURM_JOB_NODELIST": "node[07-08]"}
    for name, value in {**names, "SUBMITIT_EXECUTOR": "slurm"}.items():
        monkeypatch.setenv(name, value)
    options = ClusterOptions("slurm", nodes=2, per_node=4)
    place = ClusterRun(job_in(root, "good"), root, options)._place()
    assert place == Processes(4, 2, 1, "node07", 24711)
    _, *words = job_in(root, "good").command(place)
    assert " ".join(words) == (
        "-m torch.distributed.run --nproc-per-node=4 --nnodes=2 --node-rank=1 "
        "--master-addr=node07 --master-port=24711 "
        f"{TRAIN_SCRIPT} --config-file good.py --resume a=1"
    )
    assert Processes().python() == [sys.executable], "one process needs no launcher"
    assert Processes(2).python()[-1] == "--standalone", "one machine needs no address"
    assert port_of("12_3") != port_of("12_4") and 20000 <= port_of("9" * 12) < 40000


def test_another_node_waits_where_the_first_one_requeues(root, monkeypatch):
    waited: list[float] = []
    folder = folder_of(root, "crash")
    start_record(folder, [])
    finish_record(folder, "interrupted", "the first node was asked to make room")
    run = ClusterRun(job_in(root, "crash"), root, ClusterOptions("slurm", nodes=2))
    monkeypatch.setattr(ClusterRun, "_place", lambda self: Processes(1, 2, 1, "127.0.0.1", 1))
    monkeypatch.setattr(Processes, "python", lambda self: [sys.executable])
    monkeypatch.setattr(cluster.time, "sleep", waited.append)
    with pytest.raises(RuntimeError):
        run()
    assert cluster.LINGER_SECONDS in waited
    assert (folder / "console_node1.txt").exists()
