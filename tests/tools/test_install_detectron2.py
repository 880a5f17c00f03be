"""The repacking of Detectron2 0.5, without a download."""

from __future__ import annotations

import importlib.util
import tarfile
from pathlib import PurePosixPath

import pytest

from console import install_detectron2 as installer

MODEL_ZOO = """import os
import pkg_resources
def path(config_path):
    return pkg_resources.resource_filename(
        "detectron2.model_zoo", os.path.join("configs", config_path)
    )
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("interp=Image.LINEAR", "interp=Image.BILINEAR"),
        ("x.astype(np.bool)", "x.astype(bool)"),
        ("np.float32, np.bool_, np.int64", "np.float32, np.bool_, np.int64"),
        ("np.object, np.str, np.int, np.float", "object, str, int, float"),
    ],
)
def test_removed_names_are_mended_and_others_stay(old, new):
    assert installer.modernise(PurePosixPath("detectron2/data/x.py"), old) == new


def test_model_zoo_reads_its_files_without_setuptools():
    path = PurePosixPath("detectron2/model_zoo/model_zoo.py")
    text = installer.modernise(path, MODEL_ZOO)
    assert "pkg_resources" not in text
    compile(text, "model_zoo.py", "exec")
    with pytest.raises(SystemExit, match="not the file"):
        installer.modernise(path, "import os\n")


def test_tree_holds_package_configs_and_stub(tmp_path):
    source = tmp_path / "detectron2-cdo-0.5"
    (source / "detectron2" / "model_zoo").mkdir(parents=True)
    (source / "detectron2" / "__init__.py").write_text("import numpy as np\nX = np.int\n")
    (source / "configs").mkdir()
    (source / "configs" / "a.yaml").write_text("x: 1\n")
    with tarfile.open(tmp_path / "d.tar.gz", "w:gz") as tar:
        tar.add(source, arcname=source.name)
    tree = tmp_path / "out" / "tree"
    installer.build_tree(tmp_path / "d.tar.gz", tree)
    assert (tree / "detectron2" / "__init__.py").read_text().endswith("X = int\n")
    assert (tree / "detectron2" / "model_zoo" / "configs" / "a.yaml").exists()
    assert "Name: detectron2" in (tree / "detectron2-0.5.dist-info" / "METADATA").read_text()


def test_stub_says_what_to_do_when_an_operator_is_called(tmp_path, monkeypatch):
    (tmp_path / "stub_of_c.py").write_text(installer.STUB)
    monkeypatch.syspath_prepend(str(tmp_path))
    stub = importlib.import_module("stub_of_c")
    assert stub.has_cuda() is False and stub.get_compiler_version() == "not compiled"
    with pytest.raises(RuntimeError, match=r"nms_rotated.*--upstream"):
        stub.nms_rotated(1, 2)


def test_missing_build_tools_are_named_with_the_command(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "wheel" else real(name)
    )
    with pytest.raises(SystemExit, match=r"needs wheel .*-m pip install torch"):
        installer.require_build_tools()


def test_only_an_importable_detectron2_is_left_alone(tmp_path, monkeypatch, capsys):
    """The real one takes seconds to import, so this is an empty one."""
    package = tmp_path / "detectron2"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '9.9'")
    for name in ("config", "layers"):
        (package / f"{name}.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(installer, "install", lambda: pytest.fail("installed over it"))
    installer.main([], "install_detectron2.py")
    said = capsys.readouterr().out
    assert "9.9" in said and "nothing to do" in said
    (package / "layers.py").write_text("import compiled_for_another_torch")
    assert installer.importable_detectron2() is None
