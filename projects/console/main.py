"""``smalldet COMMAND ...`` and the scripts of ``tools/``, which are one command each."""

from __future__ import annotations

import os
import sys
import warnings
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from console.status import exit_status

COMMANDS = {
    "train": "train, resume or evaluate the experiment of a config file",
    "predict": "boxes on images, videos and event recordings",
    "export": "a run as one file: ONNX, torch.export, safetensors",
    "lab": "the lab book: plan, run, compare and report experiments",
    "data": "check a data set, and say what to set",
    "weights": "download pretrained weights",
    "doctor": "check this machine, and say how to mend what is red",
    "reproduce-nan": "the step of a NaN dump once more, and where the NaN begins",
    "install-detectron2": "install Detectron2 without a compiler",
}
"""In the order of the help text. ``a-b`` is done by ``console.a_b``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The installed command; returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    return exit_status(_dispatch, words)


def script(command: str, file: str) -> NoReturn:
    """Be one command: ``file`` is the script that calls; its name stands in help and usage."""
    prog = "/".join(Path(file).resolve().parts[-2:])
    sys.exit(exit_status(_main_of(command), sys.argv[1:], prog))


def _dispatch(words: Sequence[str]) -> int | str | None:
    parser = ArgumentParser(prog="smalldet", description="Small-object detection on Detectron2.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    command = parser.parse_args(words[:1]).command
    return _main_of(command)(words[1:], f"smalldet {command}")


def _main_of(command: str) -> Callable[[Sequence[str], str], int | str | None]:
    # Before torch is imported: threads that spin while they wait stall a CPU that others use too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # fvcore and Detectron2 0.5 call it as they are imported; nobody who reads this can mend that.
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated")
    return import_module(f"console.{command.replace('-', '_')}").main
