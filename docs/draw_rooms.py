"""Draw the packages, their rooms and who imports whom, as they are: docs/images/rooms.svg

python docs/draw_rooms.py
"""

from __future__ import annotations

import ast
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

STYLE = {"svg.fonttype": "none", "svg.hashsalt": "rooms", "font.family": "sans-serif"}
ROOT = Path(__file__).resolve().parents[1]
PROJECTS = ROOT / "projects"
OUT = ROOT / "docs" / "images" / "rooms.svg"
PLACES = {  # left and bottom of each box
    "smalldet": (0.0, 0.92),
    "labbook": (1.2, 0.92),
    "eventcam": (2.4, 0.92),
    "toydata": (3.6, 0.92),
    "boxmetrics": (0.2, 0.0),
    "nativecode": (1.3, 0.0),
    "pictures": (2.4, 0.0),
    "runfolder": (3.5, 0.0),
}
LEAVES = {
    "boxmetrics": "matching, AP, protocols,\nintervals on arrays",
    "nativecode": "compile a C++ source,\ncheck it, fall back",
    "pictures": "boxes, text, sheets,\nvideos, of events too",
    "runfolder": "files of a run, record,\nlocks, whole writes",
}
WIDTH, TALL, LOW = 1.0, 1.2, 0.42
JOINING = ("predict", "export", "vis")  # rooms of smalldet that may import all below them
FILLS = {"smalldet": "#dbeafe", "eventcam": "#ffedd5", "labbook": "#dcfce7", "toydata": "#f3e8ff"}


def rooms(package: str) -> list[str]:
    """Folders of a package that hold modules, in alphabetical order; without those that join."""
    folders = (path.parent for path in (PROJECTS / package).glob("*/__init__.py"))
    return sorted(folder.name for folder in folders if folder.name not in JOINING)


def imports(package: str) -> set[str]:
    """Other packages of ours that a package imports, but for its rooms that join."""
    found = set()
    files = (PROJECTS / package).rglob("*.py")
    for path in (file for file in files if file.parent.name not in JOINING):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return (found & PLACES.keys()) - {package}


def draw() -> None:
    """Write the picture."""
    figure = Figure(figsize=(10, 6.0))
    axes = figure.subplots()
    box(axes, 0.0, 2.62, 4.6, 0.26, "#f8fafc")
    wiring = "configs · tools · benchmarks · tests: wire the packages; nothing imports them"
    axes.text(2.3, 2.75, wiring, ha="center", va="center", fontsize=11, zorder=3)
    box(axes, 3.6, 2.22, 1.0, 0.26, "#f1f5f9")
    command = "console: the command;\nimports any, on use"
    axes.text(4.1, 2.35, command, ha="center", va="center", fontsize=8, zorder=3)
    box(axes, 0.0, 2.22, 3.4, 0.26, FILLS["smalldet"])
    there = [room for room in JOINING if (PROJECTS / "smalldet" / room).is_dir()]
    joining = f"smalldet/{' · '.join(there)}: a model at work; imports all below it"
    axes.text(1.7, 2.35, joining, ha="center", va="center", fontsize=9, zorder=3)
    for package, (left, bottom) in PLACES.items():
        is_leaf = package in LEAVES
        box(axes, left, bottom, WIDTH, LOW if is_leaf else TALL, FILLS.get(package, "#f1f5f9"))
        top, middle = bottom + (LOW if is_leaf else TALL), left + WIDTH / 2
        axes.text(middle, top - 0.04, package, ha="center", va="top", weight="bold", zorder=3)
        text = LEAVES[package] if is_leaf else "\n".join(rooms(package))
        axes.text(middle, top - 0.17, text, ha="center", va="top", fontsize=8, zorder=3)
        for other in sorted(imports(package)):
            arrow(axes, package, other)
    axes.set_xlim(-0.05, 4.65)
    axes.set_ylim(-0.05, 2.93)
    axes.axis("off")
    OUT.parent.mkdir(exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figure.savefig(OUT, bbox_inches="tight", metadata={"Date": None})


def box(axes: Axes, left: float, bottom: float, width: float, height: float, fill: str) -> None:
    """A filled rectangle with a border."""
    border = dict(fc=fill, ec="#475569", lw=1.2, zorder=2)
    axes.add_patch(Rectangle((left, bottom), width, height, **border))


def arrow(axes: Axes, package: str, other: str) -> None:
    """From a package to one that it imports."""
    (left, bottom), (to_left, to_bottom) = PLACES[package], PLACES[other]
    start, end = (left + WIDTH / 2, bottom), (to_left + WIDTH / 2, to_bottom + LOW)
    if bottom == to_bottom:  # the neighbour in the row
        start, end = (left, bottom + TALL / 2), (to_left + WIDTH, bottom + TALL / 2)
    style = dict(arrowstyle="-|>", color="#64748b", lw=1.1, shrinkA=0, shrinkB=2)
    axes.annotate("", xy=end, xytext=start, arrowprops=style, zorder=1)


if __name__ == "__main__":
    draw()
