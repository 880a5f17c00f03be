"""Install Detectron2 without a compiler, unless one imports already.

PyPI's only Detectron2 is the source distribution ``detectron2-cdo`` 0.5: the Python files of
Detectron2's v0.5 tag without the C++ sources, so pip cannot build it. The models here call no
compiled Detectron2 operator (ROIAlign and NMS come from torchvision). This fetches that archive by
hash, makes a pure-Python wheel of it with the few changes that today's libraries need, and installs
the wheel. A Detectron2 that already imports is left alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

SOURCE = "detectron2-cdo==0.5"
SHA256 = "53c9e79e9cc943e80419c588ea44b5479507a8628ed14a4e06bd093e29311b18"
NEEDED_FIRST = ("torch", "setuptools", "wheel")

UPSTREAM = """\
The newest Detectron2 comes only from its own repository. With git, a C++ compiler and access to it:

    git clone https://github.com/facebookresearch/detectron2
    python -m pip wheel --no-build-isolation --no-deps -w dist ./detectron2
    python -m pip install --no-deps --force-reinstall dist/detectron2-*.whl

This project's tests pass on it as well as on the 0.5 that this script installs."""

METADATA = """\
Metadata-Version: 2.1
Name: detectron2
Version: 0.5
Summary: Detectron2 0.5, Python files only (no compiled operators)
Home-page: https://github.com/facebookresearch/detectron2
License: Apache-2.0
"""
WHEEL = """\
Wheel-Version: 1.0
Generator: install_detectron2
Root-Is-Purelib: true
Tag: py3-none-any
"""

STUB = '''\
"""Stands where Detectron2's compiled operators would be; every operator says so when called."""


def get_compiler_version():
    return "not compiled"


def get_cuda_version():
    return "not compiled"


def has_cuda():
    return False


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def missing_operator(*args, **kwargs):
        raise RuntimeError(
            f"detectron2._C.{name} is a compiled operator and this Detectron2 is the pure-Python "
            "build. Use an operator of torchvision instead, or install the newest Detectron2 "
            "(smalldet install-detectron2 --upstream says how)."
        )

    return missing_operator
'''

MODEL_ZOO_IMPORT = "import pkg_resources\n"
MODEL_ZOO_CALL = re.compile(
    r'pkg_resources\.resource_filename\(\s*"detectron2\.model_zoo",\s*'
    r'(os\.path\.join\("configs", config_path\))\s*\)'
)


def modernise(path: PurePosixPath, text: str) -> str:
    """Return one Detectron2 0.5 source file with the names that today's libraries removed mended.

    Pillow dropped ``Image.LINEAR``, numpy its aliases of the built-in types, setuptools
    ``pkg_resources``.
    """
    text = text.replace("Image.LINEAR", "Image.BILINEAR")
    text = re.sub(r"\bnp\.(bool|int|float|object|str)\b", r"\1", text)
    if path.parts[-2:] == ("model_zoo", "model_zoo.py"):
        text, changed = MODEL_ZOO_CALL.subn(
            r'str(importlib.resources.files("detectron2.model_zoo").joinpath(\1))', text
        )
        if not changed or MODEL_ZOO_IMPORT not in text:
            raise SystemExit(f"{path} is not the file of Detectron2 0.5 that was expected.")
        text = text.replace(MODEL_ZOO_IMPORT, "import importlib.resources\n")
    return text


def importable_detectron2() -> str | None:
    """Version of the Detectron2 that this Python imports, None without one."""
    if importlib.util.find_spec("detectron2") is None:
        return None
    code = "import detectron2.config, detectron2.layers; print(detectron2.__version__)"
    done = _output([sys.executable, "-c", code])
    return done.stdout.strip() if done.returncode == 0 else None


def _output(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def require_build_tools() -> None:
    """Raise SystemExit with the command to run when the archive's metadata step would fail."""
    missing = [name for name in NEEDED_FIRST if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(
            f"Detectron2's archive needs {', '.join(missing)} installed before it. Run: "
            f"{sys.executable} -m pip install torch torchvision 'setuptools<82' wheel"
        )


def download(folder: Path) -> Path:
    """Fetch the source distribution into ``folder``, checked against its hash; return its path."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{SOURCE} --hash=sha256:{SHA256}\n")
    options = ["--no-deps", "--no-build-isolation", "--require-hashes", "--no-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", "-q", *options, "-d", str(folder)]
    done = _output([*command, "-r", str(requirements)])
    if done.returncode:
        raise SystemExit(
            f"{SOURCE} could not be downloaded:\n{(done.stdout + done.stderr).strip()[-2000:]}\n"
            "Check the connection to the package index and that setuptools is older than 82, "
            "then run this again."
        )
    return next(folder.glob("detectron2*.tar.gz"))


def build_tree(archive: Path, tree: Path) -> None:
    """Unpack ``archive`` and lay out in ``tree`` what the wheel will hold."""
    with tarfile.open(archive) as tar:
        tar.extractall(tree.parent / "source", filter="data")
    source = next((tree.parent / "source").iterdir())
    shutil.copytree(source / "detectron2", tree / "detectron2")
    zoo = tree / "detectron2" / "model_zoo" / "configs"
    if not zoo.exists() and (source / "configs").exists():
        shutil.copytree(source / "configs", zoo)
    for path in sorted((tree / "detectron2").rglob("*.py")):
        path.write_text(modernise(PurePosixPath(path.relative_to(tree)), path.read_text()))
    (tree / "detectron2" / "_C.py").write_text(STUB)
    info = tree / "detectron2-0.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "WHEEL").write_text(WHEEL)


def install(report: Callable[[str], None] = print) -> None:
    """Download, convert and install Detectron2 0.5 into the running Python's environment."""
    require_build_tools()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_tree(download(folder), folder / "tree")
        pack = [sys.executable, "-m", "wheel", "pack", str(folder / "tree"), "-d", str(folder)]
        subprocess.run(pack, check=True, stdout=subprocess.DEVNULL)
        wheel = next(folder.glob("detectron2-0.5-*.whl"))
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
        subprocess.run([*pip, "--force-reinstall", str(wheel)], check=True)
    version = importable_detectron2()
    if version is None:
        raise SystemExit(
            "Detectron2 was installed but does not import. Install what the doctor says "
            "(smalldet doctor), and run this again."
        )
    report(f"Detectron2 {version} installed (pure Python, operators from torchvision).")


def main(arguments: Sequence[str], prog: str) -> None:
    """Install, or say how."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Install Detectron2 without a compiler."
    )
    parser.add_argument("--upstream", action="store_true", help="say how to install the newest")
    if parser.parse_args(arguments).upstream:
        print(UPSTREAM)
    elif version := importable_detectron2():
        print(f"Detectron2 {version} is importable already; nothing to do.")
    else:
        install()
