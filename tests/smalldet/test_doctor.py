"""The doctor: each failure it knows becomes a line with its fix, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from smalldet.doctor import env as doctor
from smalldet.doctor import findings as found_by
from smalldet.kernels.scan import backends as scan_backends

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def breaks(monkeypatch):
    """Make the import of a module raise."""

    def break_import(name: str, error: Exception) -> None:
        def import_module(wanted: str):
            if wanted == name:
                raise error
            return SimpleNamespace(__version__="1.0", get_compiler_version=lambda: "not compiled")

        monkeypatch.setattr(doctor, "import_module", import_module)

    return break_import


def test_all_checks_work_here():
    findings = doctor.examine(doctor.CHECKS, doctor.INSTALL)
    red = {name: f for name, f in findings.items() if f.level == "red" and name != "disk"}
    assert not red
    assert "nms works" in findings["torch and torchvision"].found
    assert findings["selective scan"].found.startswith("backend ")


def test_a_slow_scan_is_a_warning_with_its_reason(monkeypatch):
    monkeypatch.setattr(scan_backends, "resolve_backend", lambda *_: "chunked")
    monkeypatch.setattr(scan_backends, "why_unusable", lambda *_: "No C++ compiler was found.")
    finding = doctor.check_selective_scan()
    assert (finding.level, finding.found) == (
        "yellow",
        "backend chunked. No C++ compiler was found",
    )


MISMATCH = RuntimeError("operator torchvision::nms does not exist")
NO_LIBRARY = ImportError("libGL.so.1: cannot open shared object file: No such file or directory")


@pytest.mark.parametrize(
    ("check", "module", "error", "found", "fix"),
    [
        ("torch_pair", "torchvision", MISMATCH, "nms does not exist", "pair that constraints.txt"),
        ("torch_pair", "torchvision", OSError("undefined symbol: x"), "undefined", "matched pair"),
        ("torch_pair", "torch", ModuleNotFoundError("No module named 'torch'"), "torch", "pip"),
        ("detectron2", "detectron2", ModuleNotFoundError("no"), "not usable", "install_detectron2"),
        ("detectron2", "detectron2.engine", AttributeError("LINEAR"), "LINEAR", "uninstall"),
        ("opencv", "cv2", NO_LIBRARY, "libGL", "apt-get install libgl1 libglib2.0-0"),
        ("opencv", "cv2", ModuleNotFoundError("No module named 'cv2'"), "cv2", "constraints.txt"),
    ],
)
def test_known_failures_come_with_their_fix(breaks, check, module, error, found, fix):
    breaks(module, error)
    finding = getattr(doctor, f"check_{check}")()
    assert finding.level == "red"
    assert found in finding.found and fix in finding.fix


def test_a_wrong_nms_is_red(monkeypatch):
    nms = SimpleNamespace(nms=lambda *_: SimpleNamespace(tolist=lambda: [0, 1]))
    fake = SimpleNamespace(__version__="1.0", tensor=lambda values: values, ops=nms)
    monkeypatch.setattr(doctor, "import_module", lambda name: fake)
    finding = doctor.check_torch_pair()
    assert finding.level == "red" and "constraints.txt" in finding.fix


def test_names_whether_detectron2_is_compiled(breaks, monkeypatch):
    breaks("nothing", ImportError())
    assert "without compiled operators" in doctor.check_detectron2().found
    compiled = SimpleNamespace(__version__="0.6", get_compiler_version=lambda: "GCC 13")
    monkeypatch.setattr(doctor, "import_module", lambda name: compiled)
    assert doctor.check_detectron2().found == "0.6, with compiled operators (GCC 13)"


def fake_torch(cards: list[float]) -> SimpleNamespace:
    cuda = SimpleNamespace(
        is_available=lambda: bool(cards),
        device_count=lambda: len(cards),
        get_device_properties=lambda i: SimpleNamespace(
            name=f"Card {i}", total_memory=int(cards[i] * doctor.GIB)
        ),
    )
    return SimpleNamespace(cuda=cuda, version=SimpleNamespace(cuda="13.0"))


@pytest.mark.parametrize(
    ("cards", "driver", "level", "words"),
    [
        ([], None, "yellow", "CPU runs are for debugging"),
        ([], "nvidia-smi", "yellow", "update the driver"),
        ([24.0, 24.0], "nvidia-smi", "green", "Card 1 (24.0 GiB)"),
        ([7.7], "nvidia-smi", "green", "Card 0 (7.7 GiB)"),
        ([24.0, 5.8], "nvidia-smi", "yellow", "train.micro_batch_size=1"),
    ],
)
def test_gpus(monkeypatch, cards, driver, level, words):
    monkeypatch.setattr(doctor, "import_module", lambda name: fake_torch(cards))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: driver)
    finding = doctor.check_gpu()
    assert finding.level == level and words in f"{finding.found} {finding.fix}"


@pytest.mark.parametrize(("free", "level"), [(50, "green"), (9, "yellow"), (1.9, "red")])
def test_disk(monkeypatch, tmp_path, free, level):
    usage = SimpleNamespace(free=free * doctor.GIB)
    asked = []
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: asked.append(path) or usage)
    finding = doctor.check_disk(tmp_path / "not" / "yet")
    assert finding.level == level and asked == [tmp_path]
    assert level == "green" or "Delete old checkpoints" in finding.fix


def test_data_is_only_information(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert "no data in" in doctor.check_data().found
    for split in ("train", "valid"):
        (tmp_path / "coco" / split).mkdir(parents=True)
        (tmp_path / "coco" / split / "_annotations.coco.json").touch()
    finding = doctor.check_data()
    assert finding.level == "info" and "holds train, valid, without test" in finding.found


@pytest.mark.parametrize(("running", "level"), [((3, 10), "red"), ((3, 12), "green")])
def test_python_versions(monkeypatch, running, level):
    monkeypatch.setattr(doctor.sys, "version_info", (*running, 0))
    assert doctor.check_python().level == level
    monkeypatch.setattr(doctor.sys, "version_info", (3, 13, 0))
    assert doctor.check_python().level == "yellow"


def test_a_check_that_raises_is_a_red_line_with_a_fix():
    def explode():
        raise KeyError("lost\nsecond line")

    findings = doctor.examine({"thing": explode}, doctor.INSTALL)
    ((level, line),) = doctor.as_lines(findings)
    assert level == "red" and line.startswith("FAIL  thing: broken (KeyError")
    assert line.endswith(f"Fix: {doctor.INSTALL}")


def test_a_long_command_is_shown_once():
    red = doctor.Finding("red", "bad", "pip install " + "x" * found_by.LONG_FIX)
    (_, first), (_, second) = doctor.as_lines({"a": red, "b": red})
    assert first.endswith(red.fix) and second.endswith("Fix: as for a")


def test_an_installed_package_names_what_is_missing(monkeypatch):
    needed = ["numpy>=1", "absent>=2", 'gone<3; extra == "train"', 'other; extra == "dev"']
    monkeypatch.setattr(doctor, "IN_CHECKOUT", False)
    monkeypatch.setattr(doctor, "requires", lambda name: needed)
    assert doctor.install_line() == "python -m pip install 'absent>=2' 'gone<3'"
    assert doctor.install_line("none") == "python -m pip install 'absent>=2'"
    monkeypatch.setattr(doctor, "requires", lambda name: needed[:1])
    assert doctor.install_line() == "python -m pip install 'numpy>=1'"  # broken, not missing


def test_status_and_output(monkeypatch, capsys):
    findings = {"a": doctor.Finding("green", "fine [b]"), "c": doctor.Finding("yellow", "so so")}
    monkeypatch.setattr(doctor, "examine", lambda *_: findings)
    assert doctor.main() == 0
    findings["d"] = doctor.Finding("red", "bad", "do it")
    assert doctor.main() == 1
    lines = ["ok    a: fine [b]", "warn  c: so so", "FAIL  d: bad. Fix: do it"]
    assert capsys.readouterr().out.splitlines() == [*lines[:2], *lines]


def test_runs_where_nothing_is_installed():
    """-S leaves out site-packages: no torch, no rich, not even this project."""
    command = [sys.executable, "-I", "-S", "tools/doctor.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and not done.stderr
    red = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert len(red) >= 5 and all("Fix: " in line for line in red)
