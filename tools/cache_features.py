#!/usr/bin/env python3
"""Compute the features of a frozen backbone once, for all runs that use it.

tools/cache_features.py --config-file configs/ofat/baseline_lr0.001_bs8_adamw_ep100.py
tools/lab.py run ofat train.feature_cache=datasets/feature_cache

Run again, it computes what is missing. Another --folder or --dtype goes into the runs'
train.feature_cache and train.feature_cache_dtype.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

# It must run, and say what is missing, also where the project is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

from console.home import add_trust
from console.status import exit_status


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, help="of a run that will use them")
    parser.add_argument("--folder", default="datasets/feature_cache", help="(%(default)s)")
    parser.add_argument("--dtype", choices=("fp32", "fp16"), default="fp32", help="(%(default)s)")
    parser.add_argument("overrides", nargs="*", help="key=value")
    options = add_trust(parser).parse_args()
    from labbook.config.load import load_config, to_plain
    from runfolder.faults import sentence_of
    from smalldet.engine.feature_cache import fill_feature_cache

    cfg = to_plain(load_config(options.config_file, options.overrides))
    try:
        computed = fill_feature_cache(cfg, options.folder, options.dtype)
    except (ValueError, OSError) as error:
        raise ValueError(sentence_of(error)) from error
    files = list(Path(options.folder).rglob("*.safetensors"))
    size = sum(path.stat().st_size for path in files) / 1e9
    print(f"computed: {computed}; {options.folder} now holds {len(files)} images, {size:.2f} GB")


if __name__ == "__main__":
    sys.exit(exit_status(main))
