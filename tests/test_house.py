"""The rules of the house: who may import whom, sizes, docstrings, no paths of one machine.

All by reading the source; nothing is imported. ``BAD`` shows that each rule can be broken.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Who may know whom -------------------------------------------------------------------------------

NEVER_IMPORTED = {"tools", "configs", "tests", "benchmarks"}
OWN = ("configs", "benchmarks", "tests")
PACKAGES = {  # package -> the other packages of ours that it may import, also inside functions
    "smalldet": {"boxmetrics", "nativecode", "pictures", "runfolder"},
    "eventcam": {"nativecode", "pictures", "runfolder"},
    "labbook": {"boxmetrics", "runfolder"},
    "boxmetrics": set(),
    "nativecode": set(),
    "runfolder": set(),
    "pictures": set(),
    "toydata": {"eventcam", "runfolder"},
}
PACKAGES["console"] = set(PACKAGES)  # the installed command may know all

JOINS = {  # room -> what it joins, besides what its package may import
    "smalldet/predict": ("eventcam", "labbook.config"),
    "smalldet/export": ("eventcam", "labbook.config"),
}
FRAMEWORKS = {"torch", "torchvision", "detectron2"}
FORBIDDEN_LIBRARIES = {  # package -> libraries that it never imports, not even inside functions
    "labbook": FRAMEWORKS,
    "eventcam": {"detectron2"},
}
# The one file that needs Detectron2 imports it on use only, so that the package loads without it.
ON_USE = {"projects/labbook/config/load.py": {"detectron2"}}
NEEDS_ONLY = {"boxmetrics": {"numpy"}, "nativecode": set()}  # besides the standard library
LATE = {"console"}  # packages that import all but themselves and the standard library on use
LARGE = {"matplotlib", "pandas", "timm"}  # a second or so each
QUICK = ("labbook.commands.configs", "labbook.run.session", "smalldet.engine.run")
"""What diff, explain and training begin with; with what configs name, free of ``LARGE``."""

LOW = {"losses", "layers", "kernels"}
DATA = {"data", "evaluation"}
ROOMS = {  # room of smalldet -> the other rooms that it may import
    # It registers classes, and hands load() on.
    "__init__": {"backbones", "necks", "heads", "detectors", "predict"},
    "kernels": set(),
    "layers": LOW,
    "losses": LOW,
    "backbones": LOW,
    "necks": LOW | {"backbones.base"},  # a neck is a backbone
    "heads": LOW,
    "detectors": LOW | {"backbones", "necks", "heads"},
    "data": DATA,
    "evaluation": DATA,
    "engine": DATA
    # Layers are no models (weight decay asks which ones are norms), nor is what cuts into tiles
    # or reads weight files.
    | {"layers", "kernels", "predict.images", "backbones.weight_files"},
    "predict": LOW | DATA | {"backbones", "necks", "heads", "detectors", "engine"},
    "export": LOW | DATA | {"backbones", "necks", "heads", "detectors", "engine", "predict"},
    "vis": LOW | DATA | {"backbones", "necks", "heads", "detectors", "engine", "predict"},
    "doctor": {"data", "engine", "kernels"},  # it looks at what training would use
}

# Sizes -------------------------------------------------------------------------------------------

MAX_FUNCTION = 60
MAX_MODULES = 15  # of a folder
ENOUGH_TO_SAY = 60  # characters of a room's docstring
NEEDS_DOCSTRING = 8  # a public function longer than this
MAX_FILE = [  # first pattern that fits
    (r"configs/ofat/ofat_[^/]*\.py", 20),
    (r"tools/[^/]*\.py", 80),
    (r"(projects|tools|benchmarks|configs|datasets)/.*\.py", 300),
]


class Import(NamedTuple):
    line: int
    name: str  # dotted, e.g. "smalldet.heads.rcnn"
    on_use: bool  # inside a function


def imports_of(tree: ast.AST, path: str, inside: bool = False) -> Iterator[Import]:
    """Every import under ``tree``, with relative names made absolute."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.expr):
            continue  # no import is inside
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute_base(node, path)
            for alias in node.names:
                yield Import(node.lineno, f"{base}.{alias.name}", inside)
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from imports_of(node, path, inside or is_function)


@cache
def imports_in(path: Path) -> list[Import]:
    """Those of a file."""
    return [*imports_of(ast.parse(path.read_text("utf-8")), relative(path))]


def absolute_base(node: ast.ImportFrom, path: str) -> str:
    if not node.level:
        return node.module or ""
    package = path.removeprefix("projects/").split("/")[: -node.level]
    return ".".join([*package, *filter(None, [node.module])])


def import_violations(path: str, tree: ast.AST) -> Iterator[str]:
    parts = path.split("/")
    package = parts[1] if parts[0] == "projects" else ""
    for found in imports_of(tree, path):
        root = found.name.split(".")[0]
        where = f"{path}:{found.line}"
        if root in NEVER_IMPORTED and not is_own(path, found):
            yield f"{where} imports {found.name}: nothing imports {root}"
        if path == "setup.py" and root in FRAMEWORKS:
            yield f"{where} imports {root}: packaging never does"
        if package:
            yield from package_violations(path, package, found)


def is_own(path: str, found: Import) -> bool:
    """Configs import one another relatively; benchmarks are a package, which has tests."""
    return any(
        path.startswith((f"{x}/", f"tests/{x}/")) and found.name.startswith(f"{x}.") for x in OWN
    )


def package_violations(path: str, package: str, found: Import) -> Iterator[str]:
    """Rules for the packages under projects/."""
    root, where = found.name.split(".")[0], f"{path}:{found.line}"
    if package not in PACKAGES:
        yield f"{path}: the package {package} has no row in PACKAGES"
        return
    joins = JOINS.get("/".join(path.split("/")[1:3]), ())
    is_joined = any(f"{found.name}.".startswith(f"{name}.") for name in joins)
    if root in PACKAGES.keys() - PACKAGES[package] - {package} and not is_joined:
        yield f"{where} imports {found.name}: {package} does not know {root}"
    allowed_on_use = ON_USE.get(path, set()) if found.on_use else set()
    if root in FORBIDDEN_LIBRARIES.get(package, set()) - allowed_on_use:
        yield f"{where} imports {root}: {package} does without it"
    needed = NEEDS_ONLY.get(package)
    if needed is not None and root not in {*PACKAGES, *needed, *sys.stdlib_module_names}:
        only = ", ".join(needed) or "the standard library"
        yield f"{where} imports {root}: {package} needs {only} only"
    if package in LATE and not found.on_use and root not in {package, *sys.stdlib_module_names}:
        yield f"{where} imports {root}: {package} does so on use"
    if package == "smalldet" and root == "smalldet":
        yield from room_violations(path, found)


def room_violations(path: str, found: Import) -> Iterator[str]:
    """Rules for the rooms of smalldet."""
    room = path.split("/")[2].removesuffix(".py")
    if room not in ROOMS:
        yield f"{path}: the room {room} has no row in ROOMS"
        return
    target = found.name.removeprefix("smalldet.")
    if not any(f"{target}.".startswith(f"{other}.") for other in {room, *ROOMS[room]}):
        yield f"{path}:{found.line} imports {found.name}: {room} does not know it"


def size_violations(path: str, tree: ast.AST, lines: int) -> Iterator[str]:
    limit = next((limit for pattern, limit in MAX_FILE if re.fullmatch(pattern, path)), None)
    if limit and lines > limit:
        yield f"{path} has {lines} lines; {limit} are allowed"
    if not path.startswith(("projects/", "tools/", "benchmarks/")):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = length_of(node)
            if length > MAX_FUNCTION:
                yield f"{path}:{node.lineno} {node.name} has {length} lines; {MAX_FUNCTION} allowed"


def docstring_violations(path: str, tree: ast.AST) -> Iterator[str]:
    """Public functions and methods of projects/ that are long and say nothing."""
    if not path.startswith("projects/"):
        return
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from docstring_violations(path, node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            public = not node.name.startswith("_")
            if public and length_of(node) > NEEDS_DOCSTRING and not ast.get_docstring(node):
                yield f"{path}:{node.lineno} {node.name} has no docstring"


def path_violations(path: str, tree: ast.AST) -> Iterator[str]:
    """Absolute paths as strings; tests may use some that do not exist."""
    if path.startswith("tests/"):
        return
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and re.fullmatch(
            r"/(?!dev/|proc/|sys/)[\w.-]+(/[\w.-]+)+/?", text
        ):
            yield f"{path}:{node.lineno} holds the absolute path {text}"


def length_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def violations(path: str, source: str) -> list[str]:
    """What the Python file ``path`` (relative to the root, with slashes) breaks."""
    tree = ast.parse(source, path)
    return [
        *import_violations(path, tree),
        *size_violations(path, tree, len(source.splitlines())),
        *docstring_violations(path, tree),
        *path_violations(path, tree),
    ]


def machine_paths(text: str) -> list[str]:
    """Paths that exist on one machine only: home folders, mounts, and this very checkout."""
    homes = "|".join(["home", "Users", "root", "mnt"])
    here = [rf"(?<!\w){re.escape(str(ROOT))}(?!\w)"] if len(ROOT.parts) > 2 else []
    return re.findall("|".join([rf"(?<![\w.*}}])/(?:{homes})/\w+", r"[A-Z]:\\Users", *here]), text)


@cache
def files() -> list[Path]:
    """Files that git tracks or would add; without git, those of the known folders."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        paths = [ROOT / name for name in listed.stdout.splitlines()]
    except (OSError, subprocess.CalledProcessError):
        folders = ("projects", "tools", "configs", "tests", "docs")
        paths = [*ROOT.glob("*.*"), *(p for f in folders for p in (ROOT / f).rglob("*"))]
    return sorted(path for path in paths if path.is_file())


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_python_files_keep_the_rules():
    sources = [path for path in files() if path.suffix == ".py"]
    assert any(relative(path) == "projects/smalldet/__init__.py" for path in sources)
    broken = [v for p in sources for v in violations(relative(p), p.read_text(encoding="utf-8"))]
    assert not broken, "\n" + "\n".join(broken)


def test_no_file_names_a_path_of_one_machine():
    broken = []
    for path in files():
        try:
            found = machine_paths(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            continue  # not text
        broken += [f"{relative(path)}: {text}" for text in found]
    assert not broken, "\n" + "\n".join(broken)


def modules() -> dict[str, Path]:
    """Modules under projects/ by dotted name; a package stands for its ``__init__``."""
    found = {}
    for path in files():
        name = relative(path)
        if name.startswith("projects/") and path.suffix == ".py":
            parts = name.removeprefix("projects/").removesuffix(".py").split("/")
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def import_circles(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """The edges between modules that import one another, directly or through others."""
    while True:
        imported = set().union(*edges.values())
        inside = {name for name, targets in edges.items() if targets & edges.keys()} & imported
        if inside == edges.keys():
            return edges
        edges = {name: edges[name] & inside for name in inside}


def packages_of(name: str) -> set[str]:
    """``{"a", "a.b"}`` for ``a.b.c``."""
    parts = name.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts))}


def import_edges(found: dict[str, Path]) -> dict[str, set[str]]:
    """Which modules each module imports, also in functions and for types."""
    edges = {}
    for name, path in found.items():
        names = {one.name for one in imports_in(path)}
        targets = {n if n in found else n.rpartition(".")[0] for n in names} & found.keys()
        # A module is imported after the packages that it lies in; these have been, of our own.
        targets |= {parent for target in targets for parent in packages_of(target)}
        edges[name] = targets - {name, *packages_of(name)}
    return edges


def test_no_import_goes_round():
    assert not import_circles(import_edges(modules()))
    edges = {"a": {"b"}, "b": {"c"}, "c": {"b", "e"}, "d": {"a"}, "e": set()}
    assert import_circles(edges) == {"b": {"c"}, "c": {"b"}}


def imported_with(starts: set[str], direct: dict[str, set[str]]) -> set[str]:
    """All names that are imported when these modules are, directly or through others."""
    seen: set[str] = set()
    while starts:
        seen |= starts
        starts = {m for n in starts for m in direct.get(n, set()) | packages_of(n)} - seen
    return seen


def test_configs_load_and_training_starts_without_large_libraries():
    direct = {
        name: {
            part
            for one in imports_in(path)
            if not one.on_use
            for part in (one.name, one.name.rpartition(".")[0])
        }
        for name, path in modules().items()
    }
    configs = (ROOT / "configs").rglob("*.py")
    named = {one.name.rpartition(".")[0] for path in configs for one in imports_in(path)}
    loaded = imported_with({*QUICK, *named}, direct)
    assert {"smalldet.backbones.timm", "labbook.run.notes", "torch"} <= loaded
    assert not {name for name in loaded if name.split(".")[0] in LARGE}


def test_every_room_says_what_it_is_for():
    rooms = [path for path in modules().values() if path.name == "__init__.py"]
    silent = [
        relative(path)
        for path in rooms
        if len(ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "") < ENOUGH_TO_SAY
    ]
    assert len(rooms) > 20 and not silent


def test_no_folder_is_crowded():
    counts = Counter(
        relative(path.parent)
        for path in files()
        if path.suffix == ".py" and path.name != "__init__.py"
        if relative(path).startswith(("projects/", "tools/", "benchmarks/"))
    )
    crowded = {folder: count for folder, count in counts.items() if count > MAX_MODULES}
    assert len(counts) > 20 and not crowded


LONG = "def f():\n" + "    x = 1\n" * 60
SPEECHLESS = "def f():\n" + "    x = 1\n" * 8
BAD = [
    ("projects/smalldet/engine/x.py", "import labbook", "smalldet does not know labbook"),
    ("projects/smalldet/data/x.py", "def f():\n    import eventcam", "does not know eventcam"),
    ("projects/eventcam/x.py", "from smalldet import layers", "does not know smalldet"),
    ("projects/eventcam/x.py", "import detectron2", "does without it"),
    ("projects/labbook/x.py", "import torch.nn", "does without it"),
    ("projects/labbook/x.py", "def f():\n    import detectron2", "does without it"),
    ("projects/labbook/config/load.py", "from detectron2 import config", "does without it"),
    ("projects/boxmetrics/x.py", "import scipy", "numpy only"),
    ("projects/boxmetrics/x.py", "import labbook", "does not know labbook"),
    ("projects/nativecode/x.py", "import numpy", "the standard library only"),
    ("projects/console/x.py", "import torch", "on use"),
    ("projects/newcomer/x.py", "import os", "no row in PACKAGES"),
    ("projects/smalldet/x/y.py", "import smalldet.data", "no row in ROOMS"),
    ("projects/smalldet/layers/x.py", "from smalldet.heads import rcnn", "layers does not"),
    ("projects/smalldet/layers/x.py", "from ..heads import rcnn", "layers does not"),
    ("projects/smalldet/necks/x.py", "import smalldet.backbones.vim.model", "necks does not"),
    ("projects/smalldet/data/x.py", "from smalldet import detectors", "data does not"),
    ("projects/smalldet/engine/x.py", "import smalldet.backbones.base", "engine does not"),
    ("projects/smalldet/predict/x.py", "import labbook.run", "does not know labbook"),
    ("projects/smalldet/__init__.py", "from smalldet import engine", "__init__ does not"),
    ("tests/x.py", "from tools import doctor", "nothing imports tools"),
    ("tools/x.py", "import configs.common", "nothing imports configs"),
    ("setup.py", "import torch", "packaging never does"),
    ("configs/ofat/ofat_x.py", "x = 1\n" * 21, "20 are allowed"),
    ("tools/x.py", "x = 1\n" * 81, "80 are allowed"),
    ("projects/smalldet/x.py", "x = 1\n" * 301, "300 are allowed"),
    ("tools/x.py", LONG, "60 allowed"),
    ("configs/x.py", "root = '/data/coco'", "absolute path /data/coco"),
    ("projects/smalldet/layers/x.py", SPEECHLESS, "no docstring"),
    ("projects/smalldet/layers/x.py", f"class A:\n    {SPEECHLESS}", "no docstring"),
]
GOOD = [
    ("projects/labbook/config/load.py", "def f():\n    from detectron2 import config"),
    ("projects/labbook/x.py", "from . import configs\nimport boxmetrics.boxes, omegaconf"),
    ("projects/smalldet/necks/x.py", "from smalldet.backbones.base import FeatureBackbone"),
    ("projects/smalldet/evaluation/x.py", "import torch, detectron2, boxmetrics, smalldet.data"),
    ("projects/smalldet/layers/x.py", SPEECHLESS.replace("def f", "def _f")),
    ("configs/ofat/ofat_x.py", "from ..common.train import train\n" + "x = 1\n" * 19),
    ("projects/console/x.py", "def f():\n    import smalldet.doctor, labbook, torch"),
    ("tests/x.py", "import labbook, smalldet, eventcam, torch"),
    ("tools/x.py", "memory, key = '/proc/meminfo', 'bbox/AP'"),
]


@pytest.mark.parametrize(("path", "source", "message"), BAD)
def test_the_checker_sees_a_broken_rule(path, source, message):
    source = source.replace("\n    x", "\n        x") if source.startswith("class") else source
    found = violations(path, source)
    assert len(found) == 1 and message in found[0]


@pytest.mark.parametrize(("path", "source"), GOOD)
def test_the_checker_lets_good_code_pass(path, source):
    assert violations(path, source) == []


def test_the_checker_sees_paths_of_one_machine():
    for folder in ("home", "Users", "mnt"):
        assert machine_paths(f"see /{folder}/someone/data")
    assert machine_paths(f"{ROOT}/projects")
    assert not machine_paths("datasets/home/x and https://example.org/home/page")
