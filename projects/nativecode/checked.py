"""Fast code that is tried beside its oracle before it is used."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from nativecode.compiler import NativeCodeError
from nativecode.library import build

SWITCH = "SMALLDET_NATIVE"  # 0 switches compiled code off
logger = logging.getLogger(__name__)


class CheckedKernel:
    """Fast code, used where it exists and computes what its oracle does.

    Args:
        name: what it is, to be read in a log.
        agrees: compares it with the oracle on a small input, once, before the first use. False or
            an exception means that the kernel is not used here.
        source: its C++ file; None for code that others have compiled.

    Attributes:
        library: the functions of ``source``, from the comparison on; ctypes lets other Python
            threads run while one computes.
    """

    library: ctypes.CDLL

    def __init__(self, name: str, agrees: Callable[[], bool], source: Path | None = None) -> None:
        self.name, self.agrees, self.source = name, agrees, source

    def available(self) -> bool:
        """Whether to use it; the first call compiles and compares. Never raises."""
        return self.why_absent is None

    @cached_property
    def why_absent(self) -> str | None:
        """The sentence that says why it is not used; None if it is."""
        if self.source and os.environ.get(SWITCH) == "0":
            return f"Compiled code is switched off ({SWITCH}=0)."
        try:
            self._try()
        except NativeCodeError as error:
            reason = str(error)
        except Exception as error:  # foreign code may fail in any way
            reason = f"It fails here ({type(error).__name__}: {error})."
        else:
            return None
        logger.warning("Going on without the %s: %s", self.name, reason)
        return reason

    def call(self, function: str, *values: int | None) -> None:
        """Call ``function`` of ``library`` with the address of one struct.

        Args:
            function: takes a pointer to a struct of 64-bit integers and pointers.
            values: of its fields, in their order; None is a null pointer.
        """
        fields = (ctypes.c_int64 * len(values))(*(value or 0 for value in values))
        getattr(self.library, function)(ctypes.byref(fields))

    def _try(self) -> None:
        if self.source:
            self.library = build(self.source)
        # The modes of a caller (gradients, autocast, hooks of a checkpoint) belong to its thread:
        # in another one they can neither change the comparison nor be changed by it.
        with ThreadPoolExecutor(max_workers=1) as thread:
            if not thread.submit(self.agrees).result():
                raise NativeCodeError("It computes wrong values on this machine.")


class UsesKernels:
    """A class whose ``kernels`` are tried when an object is made, copied or unpickled.

    So nothing is compiled or compared inside of a network's first forward pass.
    """

    kernels: ClassVar[tuple[CheckedKernel, ...]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        for kernel in cls.kernels:
            kernel.available()
        return super().__new__(cls)
