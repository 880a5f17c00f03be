"""Kernels are tried once, beside their oracle, where no mode of the caller reaches."""

from __future__ import annotations

import copy
import logging
import pickle
import threading

import pytest

from nativecode import CheckedKernel, UsesKernels, checked


def wrong() -> bool:
    return False


def failing() -> bool:
    raise OSError("no such instruction")


@pytest.mark.parametrize(
    ("agrees", "reason"), [(wrong, "wrong values"), (failing, "OSError: no such instruction")]
)
def test_what_does_not_agree_is_not_used_and_that_is_said_once(agrees, reason, caplog):
    kernel = CheckedKernel("sum", agrees)
    with caplog.at_level(logging.WARNING, logger=checked.logger.name):
        assert not kernel.available()
        assert not kernel.available()
    assert reason in str(kernel.why_absent)
    (record,) = caplog.records
    assert "sum" in record.getMessage() and reason in record.getMessage()


def test_it_is_compared_once_and_in_a_thread_of_its_own():
    threads = []
    kernel = CheckedKernel("sum", lambda: bool(threads.append(threading.current_thread())) or True)
    assert kernel.available() and kernel.available()
    assert len(threads) == 1 and threads[0] is not threading.current_thread()


TRIED = []


class Adder(UsesKernels):
    kernels = (CheckedKernel("sum", lambda: bool(TRIED.append(1)) or True),)

    def __init__(self, number: int = 0) -> None:
        self.number = number


@pytest.mark.parametrize("make", [lambda _: Adder(3), copy.deepcopy, pickle.loads])
def test_it_is_tried_when_a_user_is_built_copied_or_unpickled(make):
    given = pickle.dumps(Adder(3)) if make is pickle.loads else Adder(3)
    vars(Adder.kernels[0]).pop("why_absent")  # as in a fresh process
    TRIED.clear()
    assert make(given).number == 3 and TRIED == [1]
