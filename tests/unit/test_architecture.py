"""
The arrows between rooms, checked by reading imports.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "daemon" / "finetuned"

LAYERS = [
    {"errors"},
    {"core", "config", "layout"},
    {"files"},
    {"data", "registry", "telemetry", "process", "model", "loss"},
    {"sources", "reports", "inference"},
    {"ingestion", "training", "evaluation", "supervisor"},
    {"cli", "__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported_rooms(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {n.split(".")[1] for n in names if n.startswith("finetuned.")} & RANK.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows_point_down(path):
    """
    A room imports itself and rooms of strictly lower layers, nothing else.

    config/ and layout.py are values of the layer that core is in; core reads
    them and they do not read core.
    """
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    allowed = {"core": {"config", "layout"}, "__main__": {"cli"}}.get(room, set())

    assert [] == [
        r for r in imported_rooms(path) if r != room and RANK[r] >= RANK[room] and r not in allowed
    ]


def test_every_file_is_in_a_known_room():
    """
    A new room is drawn on the map before it is built.
    """
    rooms = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in FILES}

    assert rooms - {"__init__"} <= RANK.keys()


@pytest.mark.parametrize(
    "module",
    ["finetuned.supervisor.loop", "finetuned.cli.program", "finetuned.ingestion.worker"],
)
def test_torch_is_never_loaded_outside_its_workers(module):
    """
    The daemon must outlive CUDA: only training and evaluation workers touch it.
    """
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"

    subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(PACKAGE.parent)}, check=True
    )


def test_the_supervisor_loads_nothing_that_it_only_hands_to_others():
    """
    Statistics, schemas and plots are for processes that end; the daemon stays small for months.
    """
    code = (
        "import finetuned.supervisor.loop, sys; "
        "sys.exit(len({'numpy', 'matplotlib', 'jsonschema', 'jinja2'} & set(sys.modules)))"
    )

    subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(PACKAGE.parent)}, check=True
    )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_pickle_is_ever_read(path):
    """
    A pickle is code: nothing here loads one, nor asks a library to.
    """
    source = path.read_text()

    assert not any(
        word in source
        for word in ("import pickle", "torch.load(", "joblib", "trust_remote_code=True")
    )
