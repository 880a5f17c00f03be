"""Download pretrained weights to where the configs look for them.

%(prog)s vim-tiny
"""

from __future__ import annotations

import shutil
from argparse import ArgumentParser, Namespace, RawTextHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ADDRESS = "https://huggingface.co/{}/resolve/main/{}"


class Weights(NamedTuple):
    """A file of a Hugging Face repository, and where it goes."""

    repository: str
    file: str
    path: str


WEIGHTS = {
    "vim-tiny": Weights(
        "hustvl/Vim-tiny-midclstok", "vim_t_midclstok_76p1acc.pth", "ckpts/vim_tiny_pretrained.pth"
    ),
}


def main(arguments: Sequence[str], prog: str) -> str:
    """Download; where the file is."""
    options = parse(arguments, prog)
    wanted = WEIGHTS[options.name]
    path = options.out or Path(wanted.path)
    if path.exists():
        return f"{path} is there already."
    download(wanted, path)
    return f"{path} ({path.stat().st_size / 2**20:.0f} MiB), from {wanted.repository}"


def parse(arguments: Sequence[str], prog: str) -> Namespace:
    """The options of the command."""
    parser = ArgumentParser(prog=prog, description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("name", choices=WEIGHTS, help=", ".join(WEIGHTS))
    parser.add_argument("--out", type=Path, help="file to write (where the configs look for it)")
    return parser.parse_args(arguments)


def download(wanted: Weights, path: Path) -> None:
    """Write ``wanted`` to ``path``, whole or not at all.

    Raises:
        ValueError: the network does not give it; the sentence says what to do by hand.
    """
    from huggingface_hub import hf_hub_download

    from runfolder.files import replacing

    try:
        cached = hf_hub_download(wanted.repository, wanted.file)
    except Exception as error:  # of HTTP, files and the cache, in many kinds
        address = ADDRESS.format(wanted.repository, wanted.file)
        raise ValueError(
            f"{wanted.file} could not be downloaded ({type(error).__name__}). Where there is a "
            f"network, download {address} and put it here as {path}. Without pretrained weights: "
            'model.backbone.bottom_up.init_checkpoint=""'
        ) from error
    with replacing(path) as partial:
        shutil.copyfile(cached, partial)
