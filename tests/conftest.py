"""Puts this folder on the import path, so that tests share the modules in it.

The process that hands out tests to workers reads this file too, and needs none of the libraries.
"""

from __future__ import annotations

import gc
import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Garbage is collected seldom, and what is loaded by now, a million objects, is none.

    Data-loading processes that the garbage holds are waited for half a second, and not for five.
    """
    import torch.utils.data

    from quick_configs import make_configs_quick

    folder = tmp_path_factory.getbasetemp()
    workers = "PYTEST_XDIST_WORKER" in os.environ
    make_configs_quick((folder.parent if workers else folder) / "configs")
    torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 0.5
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000)


@pytest.fixture(autouse=True, scope="module")
def other_modules_forgotten() -> None:
    """A module never meets the data sets that another one registered in the same process."""
    from clean_catalogs import forget_data

    forget_data()
