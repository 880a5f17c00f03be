#!/usr/bin/env python3
"""Write random ViM weights in the published container and keys, for demos and tests."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# It must run, and say what is missing, also where the project is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

from console.status import exit_status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="file to write, such as ckpts/vim_random.pth")
    parser.add_argument("--depth", type=int, default=24, help="number of blocks (default 24)")
    parser.add_argument("--embed-dim", type=int, default=192, help="channels (default 192)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights (default 0)")
    options = parser.parse_args()
    from smalldet.backbones.vim.random_checkpoint import write_random_checkpoint

    path = write_random_checkpoint(
        options.path, depth=options.depth, embed_dim=options.embed_dim, seed=options.seed
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
