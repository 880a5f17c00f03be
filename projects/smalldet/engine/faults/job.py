"""A job of several processes: why the first of them ended, and which are gone without a word."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import psutil
import torch.distributed as dist
from detectron2.utils import comm

from runfolder.faults import KilledError, ToldError, causes, named, reason_of
from runfolder.provenance import process_start

REASON, LEFT = "why the job ended", "left"
"""Keys in the store that all processes of the job share; the second one with a rank."""
CHECK_SECONDS, GRACE_SECONDS = 1.0, 20.0
"""From one look at the others to the next; from a loss to the end by force. Launchers kill after 30
seconds, and what is killed says nothing."""
_LOST = re.compile(r"/gloo/|ncclRemoteError|[Cc]onnection (closed|reset)|recvValue failed")

logger = logging.getLogger(__name__)


class Job:
    """The processes that train together, as one of them sees them. Made in all of them at once.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._others = _others_here() if comm.get_world_size() > 1 else {}

    @contextmanager
    def one_reason(self) -> Iterator[None]:
        """Have what breaks the block off say why in a sentence, and once for all processes.

        Where one fails, the others lose it in the middle of an exchange, or are asked to end: they
        then raise :class:`ToldError` with its reason.

        Raises:
            KilledError: a process is gone that has not said why.
        """
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            if comm.get_world_size() > 1:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends already, and has to say why
            fault = named(error, self.folder)
            if comm.get_world_size() > 1 and not isinstance(fault, ToldError):
                fault = self._first_told(fault)
            if fault is error:
                raise
            raise fault from error
        self._leave()

    @contextmanager
    def watched(self, record: Callable[[BaseException], None]) -> Iterator[None]:
        """End this process by force where it is still in the block long after another one is lost.

        Exchanges of GPUs may wait for a lost process for half an hour and hear no signal meanwhile;
        an evaluation looks at the others at its end only.

        Args:
            record: writes down, of what is raised elsewhere, that this has ended the run.
        """
        if not self._others:
            yield
            return
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(ended, record), daemon=True)
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join(GRACE_SECONDS)  # Python's exit aborts the process where it asks the store

    def _watch(self, ended: threading.Event, record: Callable[[BaseException], None]) -> None:
        while not self._lost():
            if ended.wait(CHECK_SECONDS):
                return
        if ended.wait(GRACE_SECONDS):
            return
        fault = self._first_told(_loss(_named(self._lost())))
        main = sys._current_frames()[threading.main_thread().ident or 0]
        stack = "".join(traceback.format_stack(main))
        logger.debug(f"Ended by force: {reason_of(fault)}\nTraceback of its wait:\n{stack}")
        try:
            record(fault)
        finally:
            if not isinstance(fault, ToldError):
                print(reason_of(fault), file=sys.stderr)
            end_process(1)

    def _lost(self) -> list[int]:
        """Ranks that are gone and have not left as they should."""
        return [
            rank
            for rank, process in self._others.items()
            if _is_gone(process) and not _is_said(f"{LEFT} {rank}")
        ]

    def _leave(self) -> None:
        """Tell the others that this process is not lost."""
        if self._others:
            with suppress(RuntimeError):  # the store was in a process that has ended before
                _store().set(f"{LEFT} {comm.get_rank()}", "")

    def _first_told(self, error: BaseException) -> BaseException:
        """The error, or what another process of the job has met before it."""
        lost = next((str(c) for c in causes(error) if _LOST.search(str(c))), None)
        if lost is None and isinstance(error, KeyboardInterrupt) and not _is_said(REASON):
            if not (ranks := self._lost()):
                self._leave()
                return error
            lost = _named(ranks)
        if lost is not None and not isinstance(error, KilledError):
            error = _loss(lost)
        mine = f"{comm.get_rank()} {reason_of(error)}"
        try:
            first = _store().compare_set(REASON, "", mine).decode()
        except RuntimeError:  # it was in the process that is gone
            return error
        rank, _, reason = first.partition(" ")
        return error if int(rank) == comm.get_rank() else ToldError(reason)


def end_process(status: int) -> NoReturn:
    """End without what Python does at its exit.

    There gloo waits, for as long as half an hour, for the exchanges that have begun, with processes
    that wait likewise.
    """
    for worker in multiprocessing.active_children():
        worker.terminate()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _loss(what: str) -> KilledError:
    return KilledError(
        f"Another of the {comm.get_world_size()} processes of the run was killed or lost ({what}). "
        "The same command with --resume goes on."
    )


def _named(ranks: list[int]) -> str:
    return ", ".join(f"process {rank}" for rank in ranks)


def _others_here() -> dict[int, psutil.Process]:
    """By rank, the other processes of the job that can be seen on this machine."""
    found = {}
    for rank, (pid, start) in enumerate(comm.all_gather((os.getpid(), process_start(os.getpid())))):
        if rank != comm.get_rank() and start is not None and process_start(pid) == start:
            with suppress(psutil.NoSuchProcess):
                found[rank] = psutil.Process(pid)
    comm.synchronize()  # who is lost before all have looked at it would never be missed
    return found


def _is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _store() -> dist.Store:
    return dist.distributed_c10d._get_default_store()


def _is_said(key: str) -> bool:
    try:
        return _store().check([key])
    except RuntimeError:  # it was in the process that is gone
        return False
