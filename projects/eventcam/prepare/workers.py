"""Independent jobs in worker processes; one that fails, or takes its process down, is reported."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import spawn
from typing import TypeVar

LOG = logging.getLogger(__name__)
Job = TypeVar("Job")
Result = TypeVar("Result")


def check_main_guard() -> None:
    """Call this before a lock is taken under which worker processes are started.

    A script without ``if __name__ == "__main__"`` is run again by each of its workers. There this
    raises; else the worker would wait for the lock of the process that waits for it.

    Raises:
        RuntimeError: Python's own, which shows what such a script lacks.
    """
    spawn.get_preparation_data("worker")  # what starting a process asks for first


def run_jobs(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, Result | Exception]]:
    """Call ``function`` on every job; what it raises is given back instead of a result.

    Args:
        function: importable, so that worker processes find it; it gets and returns what can be
            pickled.
        jobs: in any number.
        workers: processes; 0 runs all jobs here, one after the other.

    Yields:
        Each job with its result or exception, in the order in which they end.

    Raises:
        BrokenProcessPool: no worker process can be started; it has said why.
    """
    if workers == 0:
        for job in jobs:
            yield job, _result_or_exception(function, job)
        return
    interrupted = []
    for job, outcome in _run_in_pool(function, jobs, workers):
        if isinstance(outcome, BrokenProcessPool):
            interrupted.append(job)
        else:
            yield job, outcome
    # A process died and took the pool with it; alone, only the guilty job fails.
    for job in interrupted:
        LOG.warning("a worker process died; %s is run again, alone", job)
        yield from _run_in_pool(function, [job], 1)


def _run_in_pool(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, Result | Exception]]:
    # Not forked: the HDF5 library and progress bars keep locks and threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max(1, min(workers, len(jobs))), mp_context=context)
    try:
        pool.submit(int).result()  # workers that cannot start are not the fault of a job
        running = {_submit(pool, function, job): job for job in jobs}
        for future in as_completed(running):
            yield running[future], _result_or_exception(future.result)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, function: Callable[[Job], Result], job: Job) -> Future:
    try:
        return pool.submit(function, job)
    except BrokenProcessPool as error:  # a job died while others were still being handed in
        failed: Future = Future()
        failed.set_exception(error)
        return failed


def _result_or_exception(function: Callable[..., Result], *arguments: object) -> Result | Exception:
    try:
        return function(*arguments)
    except Exception as error:
        LOG.debug("a job failed", exc_info=True)
        return error
