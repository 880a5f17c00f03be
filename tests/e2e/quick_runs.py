"""Imported by the process that runs are forked from: they load configs as the tests do."""

import os
from pathlib import Path

from quick_configs import RESULTS, make_configs_quick

if RESULTS in os.environ:
    make_configs_quick(Path(os.environ[RESULTS]))
