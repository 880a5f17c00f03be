"""One step over two machines, played by two launchers here, is that of one process."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import gradients_script
import pytest
import torch
from script_runs import forked, free_port

from labbook.run.processes import Processes

HERE = Path(__file__).parent
TESTS = HERE.parent


@pytest.fixture(scope="module")
def over_two_nodes(tmp_path_factory) -> list[dict]:
    """Gradients of each of two gloo processes, started by a launcher each as on two machines."""
    folder, port = tmp_path_factory.mktemp("gradients"), free_port()
    paths = os.pathsep.join(map(str, (HERE, TESTS, TESTS / "smalldet" / "engine")))
    script = [str(HERE / "gradients_script.py"), str(folder)]
    launchers = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setenv("OMP_NUM_THREADS", "1")
        for node in range(2):
            places = Processes(nodes=2, node=node, address="127.0.0.1", port=port)
            python, _, module, *words = places.python()
            launcher = [python, find_spec(module).origin, *words, *script]
            launchers.append(forked(launcher, folder / f"node{node}"))
    for launcher in launchers:
        assert launcher.wait(600) == 0, launcher.tail(sys.maxsize)
    return [torch.load(folder / f"gradients{rank}.pth", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", gradients_script.MODELS)
def test_gradients_are_those_of_one_process(over_two_nodes, name):
    expected = gradients_script.gradients(name)
    for found in over_two_nodes:
        assert found[name].keys() == expected.keys()
        for key, gradient in found[name].items():
            error = (gradient - expected[key]).norm() / expected[key].norm().clamp(min=1e-12)
            assert float(error) <= 1e-5, key
    assert sum(float(gradient.norm()) for gradient in expected.values()) > 0.1
