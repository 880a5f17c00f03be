"""The same plan on a cluster: one submitit job for each run, which saves and requeues itself.

submitit (extra ``[sweep]``) is imported on use. A job runs the command that the runner would run
here. When the cluster announces an end (pre-emption, time limit) with submitit's signal, the run
saves a checkpoint after its current step, and the job is put back into the queue.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labbook.run.jobs import Job
from labbook.run.processes import POLL_SECONDS, Processes, RunProcess
from labbook.run.runner import LOG_LINES, Outcome, skip_reason, was_killed
from runfolder.files import read_json, write_json
from runfolder.names import CONSOLE
from runfolder.provenance import output_of, process_start
from runfolder.records import run_status

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

SUBMITTED = "submitted.json"
JOB_FOLDER = "jobs"
MINUTES = 24 * 60
SIGNAL_SECONDS = 180
REQUEUES = 100
"""Time limits after which a job is still put back: each of its starts goes on from a checkpoint."""
LINGER_SECONDS = 600.0
_FIRST_PORT, _PORTS = 20000, 20000


@dataclass(frozen=True)
class ClusterOptions:
    """Where and how runs are submitted."""

    executor: str
    """``slurm``, or ``local``: submitit's own stand-in, on the CPU of this machine."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """As sbatch names them, with underscores; ``time`` in minutes."""
    nodes: int = 1
    per_node: int = 1
    """Processes of a run on each node, each with a GPU."""
    retries: int = 1
    stale: bool = False


@dataclass
class ClusterRun:
    """What a cluster job calls: one run on this node, until it ends or is asked to make room."""

    job: Job
    """With an absolute run folder."""
    root: Path
    options: ClusterOptions

    def __post_init__(self) -> None:
        self._process: RunProcess | None = None

    def __call__(self) -> str:
        """Run; returns the run folder.

        Raises:
            RuntimeError: the run did not finish; with the last lines that it wrote.
        """
        place, folder, retries = self._place(), self.job.folder, self.options.retries
        console = CONSOLE if place.node == 0 else f"console_node{place.node}.txt"
        for attempt in range(1 + retries):
            command = self.job.command(place)
            self._process = process = RunProcess(folder, command, self.root, console=console)
            code = process.wait()
            if code == 0 and (place.node > 0 or run_status(folder) == "finished"):
                return str(folder)
            if place.nodes > 1 or attempt == retries or not was_killed(folder, code):
                break
        if place.node > 0 and run_status(folder) == "interrupted":
            time.sleep(LINGER_SECONDS)  # the first node requeues; an end here could end it too
        log = process.tail(LOG_LINES)
        raise RuntimeError(f"The run in {folder} ended with status {code}:\n{log}")

    def checkpoint(self) -> DelayedSubmission:
        """Have the run save and end; called by submitit when the job has to make room."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None:
            self._process.request_stop()
            while process_start(self._process.pid) is not None:
                time.sleep(POLL_SECONDS)
        return DelayedSubmission(dataclasses.replace(self))

    def _place(self) -> Processes:
        """This node among those of the job."""
        nodes, per_node = self.options.nodes, self.options.per_node
        if nodes == 1:
            return Processes(per_node)
        from submitit import JobEnvironment

        job = JobEnvironment()
        return Processes(per_node, nodes, job.node, job.hostnames[0], port_of(job.job_id))


def submit(jobs: Sequence[Job], root: Path, options: ClusterOptions) -> list[Outcome]:
    """Submit every job that is neither finished, nor running, nor in the queue already.

    Returns:
        An outcome for each, in order; ``is_finished`` also where it was submitted.

    Raises:
        ValueError: submitit is missing, or the cluster does not take the parameters.
    """
    outcomes = []
    for job in jobs:
        outcome = _queued(job) or skip_reason(job, root, options.stale)
        outcomes.append(outcome or _submit(job, root, options))
        print(f"{job.name}: {outcomes[-1].message}", flush=True)
    return outcomes


def port_of(job_id: str) -> int:
    """A port for the processes of a cluster job; jobs with near numbers have different ones."""
    return _FIRST_PORT + int(re.sub(r"\D", "", job_id) or 0) % _PORTS


def parameters_for(job: Job, options: ClusterOptions) -> dict[str, Any]:
    """What submitit's executor is given: defaults, then what the user says."""
    if options.executor == "local":
        given = dict(options.parameters)
        minutes = given.pop("time", MINUTES)
        return {"timeout_min": minutes, "signal_delay_s": SIGNAL_SECONDS, **given}
    gpus = {} if job.is_on_cpu else {"gpus_per_node": options.per_node}
    return {
        "job_name": job.folder.name,
        "nodes": options.nodes,
        "ntasks_per_node": 1,
        "time": MINUTES,
        "signal_delay_s": SIGNAL_SECONDS,
        **gpus,
        **options.parameters,
    }


def _submit(job: Job, root: Path, options: ClusterOptions) -> Outcome:
    there = dataclasses.replace(job, folder=job.folder.absolute())
    run = ClusterRun(there, root.absolute(), options)
    job_id = _executor(job, options).submit(run).job_id
    start = process_start(int(job_id)) if options.executor == "local" else None
    facts = {"executor": options.executor, "job_id": job_id, "process_start": start}
    write_json(job.folder / SUBMITTED, facts)
    return Outcome(job.name, True, f"submitted as job {job_id}; {job.folder}.")


def _executor(job: Job, options: ClusterOptions) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise ValueError(
            "Submitting to a cluster needs the package submitit: pip install '.[sweep]'."
        ) from error
    kind = submitit.SlurmExecutor if options.executor == "slurm" else submitit.LocalExecutor
    try:
        executor = kind(folder=job.folder / JOB_FOLDER, max_num_timeout=REQUEUES)
        executor.update_parameters(**parameters_for(job, options))
    except (RuntimeError, ValueError, TypeError) as error:
        raise ValueError(
            f"submitit's {options.executor} executor cannot be used as asked: {error} (Run this "
            "where sbatch and srun are; give sbatch's options as --slurm partition=NAME time=600.)"
        ) from error
    return executor


def _queued(job: Job) -> Outcome | None:
    """What to say of a job that an earlier call has submitted and that is not over."""
    before = read_json(job.folder / SUBMITTED)
    if before is None:
        return None
    job_id = str(before["job_id"])
    if before["executor"] == "local":  # the job's number is that of its process
        start = process_start(int(job_id))
        is_queued = start is not None and start == before["process_start"]
    else:
        listed = output_of(["squeue", "--noheader", "--jobs", job_id]) or b""
        is_queued = bool(listed.strip())
    message = f"submitted before, as job {job_id}; {job.folder}."
    return Outcome(job.name, True, message) if is_queued else None
