"""The notebook runs from its first cell to its last, and holds nothing of a machine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from page_commands import ROOT

TOUR = ROOT / "docs" / "tour.ipynb"
MOST_BYTES = 200_000


def test_it_is_small_and_names_no_machine():
    text = TOUR.read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    assert not re.search(r'[" ](/(work|home|root|tmp|usr)/|[A-Z]:\\\\)', text)
    cells = json.loads(text)["cells"]
    assert not [cell for cell in cells for out in cell.get("outputs", []) if "ename" in out]
    assert sum(bool(cell.get("outputs")) for cell in cells) > 5


@pytest.mark.slow
def test_it_runs(checkout: Path, environment, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="the notebook wants the extra docs")
    nbformat = pytest.importorskip("nbformat")
    for name in ("PATH", "PYTHONPATH", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, environment[name])
    notebook = nbformat.read(TOUR, as_version=4)
    place = {"metadata": {"path": str(checkout / "docs")}}
    options = {"timeout": 1200, "kernel_name": "python3", "resources": place}
    nbclient.NotebookClient(notebook, **options).execute()
    scores = json.loads((checkout / "work_dirs/tour/results.json").read_text(encoding="utf-8"))
    assert scores["valid"]["bbox/AP50"] > 30
