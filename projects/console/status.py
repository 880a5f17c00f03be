"""How a program ends: a known error in a sentence, a closed pipe in silence."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PROJECTS = Path(__file__).resolve().parents[1]
EXTRAS = {  # module -> the extra of setup.py that brings it, where that is not "train"
    **dict.fromkeys(("h5py", "hdf5plugin"), "events"),
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "export"),
    "globox": "convert",
    "huggingface_hub": "hub",
    "sahi": "sahi",
    "submitit": "sweep",
    "supervision": "supervision",
}


def exit_status(function: Callable[..., int | str | None], *arguments: Any) -> int:
    """Call ``function`` and return the exit status of the program.

    Args:
        function: returns its exit status (None: all is well) or a text to print.
        arguments: of ``function``.

    Returns:
        The function's status; 1 after a sentence on stderr (the message of a ValueError or OSError,
        or which library is missing and how to install it), and where nobody reads the output any
        more, as in ``... | head``.
    """
    try:
        try:
            result = function(*arguments)
            if isinstance(result, str):
                print(result)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads(sys.stdout.fileno()):
            raise  # another pipe, such as one to a worker
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more
        return 1
    except ModuleNotFoundError as error:
        return _fail(_missing(error))
    except (ValueError, OSError) as error:
        return _fail(str(error))
    return result if isinstance(result, int) else 0


def _fail(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 1


def _nobody_reads(descriptor: int) -> bool:
    """Whether the other end of a pipe is closed."""
    poll = select.poll()
    poll.register(descriptor, 0)  # errors are always reported
    return bool(poll.poll(0))


def _missing(error: ModuleNotFoundError) -> str:
    """The sentence for a library that is not installed; a missing module of ours is a bug."""
    name = (error.name or "").split(".")[0]
    if not name or (PROJECTS / name).is_dir():
        raise error
    environment = PROJECTS.with_name(".venv")
    activate = environment / "bin" / "activate"
    if activate.is_file() and not environment.samefile(sys.prefix):
        mend = f". {activate}"
    else:
        mend = _install_line(name)
    return f"{sys.executable} has no {name}. Run: {mend}\n(The doctor checks the rest.)"


def _install_line(name: str) -> str:
    """What installs the library ``name``, and with it all that training and prediction need."""
    from smalldet.doctor.env import INSTALL_DETECTRON2, install_line

    extra, lacks_torch = EXTRAS.get(name, "train"), find_spec("torch") is None
    steps = [install_line(extra)] if name != "detectron2" or lacks_torch else []
    if name == "detectron2" or (lacks_torch and find_spec("detectron2") is None):
        steps.append(INSTALL_DETECTRON2)
    return " && ".join(steps)
