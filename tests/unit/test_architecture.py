"""
The arrows between rooms, checked by reading imports.
"""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "daemon" / "finetuned"

LAYERS = [
    {"errors"},
    {"core", "config", "layout"},
    {"files"},
    {"data", "registry", "retrieval", "process", "telemetry", "model", "loss"},
    {"sources", "lab", "reports", "inference", "bases", "merging"},
    {
        "ingestion",
        "training",
        "evaluation",
        "supervisor",
        "serving/gateway",
        "serving/engine",
        "serving/client",
        "export",
        "tuning",
        "agent",
    },
    {"cli", "__main__"},
]
"""Floors, the lowest first. Some rooms are drawn here and not built yet."""

FLOORS_OF_THE_SUPERVISOR = [
    {"last_status"},
    {"status", "pages", "job_moves"},
    {"context"},
    {"attempts", "device_use", "learnt", "old_heads", "recover", "reporting"},
    {"verdict", "corrections"},
    {"runs"},
    {"inbox", "incidents", "merges", "orders", "usage"},
    {"promotion_watch", "housekeeping"},
    {"describe"},
    {"publish"},
    {"loop"},
]
"""The biggest room has floors of its own: files and sub-rooms, the lowest first."""

BESIDE = {"core": {"config", "layout"}, "config": {"layout"}, "__main__": {"cli"}}
"""What a room may import of its own floor: values that do not import it."""

TORCH = {
    *("model", "loss", "inference", "bases", "merging"),
    *("training", "evaluation", "export", "serving/engine"),
}
"""Rooms that may load torch."""
TORCH_FREE = {
    *("core", "config", "files", "data", "registry", "process", "telemetry", "retrieval"),
    *("sources", "reports", "lab", "ingestion", "supervisor", "serving/gateway", "agent", "tuning"),
    "serving/client",
}
"""Rooms that never do, not even inside a function."""

RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(parts: tuple[str, ...]) -> str:
    """
    Return the room of a file or a module, given its path or its name below the package.
    """
    if parts[0] == "serving" and len(parts) > 1:
        return "/".join(parts[:2]) if parts[1] != "__init__.py" else "__init__"
    return parts[0].removesuffix(".py")


@cache
def imports_of(path: Path) -> set[str]:
    """
    Return the names of all modules and names that a file imports, wherever it does.
    """
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def imported_rooms(path: Path) -> set[str]:
    """
    Return the rooms of the package that a file imports.
    """
    ours = (name.split(".")[1:] for name in imports_of(path) if name.startswith("finetuned."))
    return {room_of(tuple(parts)) for parts in ours} & RANK.keys()


def forbidden(path: Path, package: Path) -> list[str]:
    """
    Return the rooms and libraries that a file imports and must not.
    """
    room = room_of(path.relative_to(package).parts)
    if room == "__init__":
        return []
    rooms = imported_rooms(path) - {room}
    found = [r for r in rooms if RANK[r] >= RANK[room] and r not in BESIDE.get(room, ())]
    if room in TORCH_FREE:
        found += sorted(rooms & TORCH - set(found))
        found += sorted(
            {n.split(".")[0] for n in imports_of(path)} & {"torch", "peft", "accelerate"}
        )
    return sorted(found)


def test_arrows_point_down_and_torch_stays_in_its_rooms():
    """
    A room imports itself and rooms of strictly lower floors, nothing else.
    """
    found = {str(path.relative_to(PACKAGE)): forbidden(path, PACKAGE) for path in FILES}

    assert {} == {name: rooms for name, rooms in found.items() if rooms}


@pytest.mark.parametrize(
    ("place", "line", "found"),
    [
        ("core/a.py", "from finetuned.files.atomic import write_atomic", ["files"]),
        ("data/a.py", "from finetuned.registry.versions import read_version", ["registry"]),
        ("supervisor/runs/a.py", "def f():\n    import torch", ["torch"]),
        ("agent/a.py", "def f():\n    from finetuned.inference.ask import ask", ["inference"]),
        ("lab/a.py", "import torch.nn", ["torch"]),
        ("retrieval/a.py", "from finetuned.model.load import load", ["model"]),
        ("serving/gateway/a.py", "from finetuned.serving.engine import worker", ["serving/engine"]),
        ("serving/engine/a.py", "import finetuned.serving.gateway.app", ["serving/gateway"]),
        ("serving/engine/a.py", "import torch", []),
        ("cli/a.py", "from finetuned.evaluation.measure import score", []),
    ],
)
def test_a_planted_violation_is_seen(tmp_path, place, line, found):
    """
    Rooms that are not built yet are held to the plan from their first line.
    """
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n")

    assert found == forbidden(path, tmp_path)


def units_of(room: str) -> dict[str, set[str]]:
    """
    Return each file and sub-room of a room, and those of the same room that it imports.
    """
    arrows: dict[str, set[str]] = {}
    for path in (PACKAGE / room).rglob("*.py"):
        unit = path.relative_to(PACKAGE / room).parts[0].removesuffix(".py")
        names = (name.split(".") for name in imports_of(path))
        inside = {n[2] for n in names if n[:2] == ["finetuned", room] and len(n) > 2}
        arrows.setdefault(unit, set()).update(inside - {unit})
    return {unit: found & arrows.keys() for unit, found in arrows.items() if unit != "__init__"}


@pytest.mark.parametrize("room", sorted(p.name for p in PACKAGE.iterdir() if p.is_dir()))
def test_inside_a_room_no_arrows_form_a_circle(room):
    """
    Files and sub-rooms can be read in an order in which nothing is used before it is explained.
    """
    left = units_of(room)
    while ready := {unit for unit, below in left.items() if not below & left.keys()}:
        left = {unit: below for unit, below in left.items() if unit not in ready}

    assert {} == left


def test_inside_the_supervisor_arrows_point_down():
    """
    What is dropped, what runs and what is judged are floors; the loop is the top.
    """
    rank = {unit: floor for floor, units in enumerate(FLOORS_OF_THE_SUPERVISOR) for unit in units}
    arrows = units_of("supervisor")

    assert rank.keys() == arrows.keys()
    assert [] == [
        (unit, other)
        for unit, below in arrows.items()
        for other in below
        if rank[other] >= rank[unit]
    ]


def test_every_file_is_in_a_known_room():
    """
    A new room is drawn on the map before it is built.
    """
    rooms = {room_of(p.relative_to(PACKAGE).parts) for p in FILES}

    assert rooms - {"__init__"} <= RANK.keys()


def test_no_room_is_more_than_15_percent_of_the_house():
    """
    A room that grows beyond is redrawn.
    """
    lines: dict[str, int] = {}
    for path in FILES:
        room = room_of(path.relative_to(PACKAGE).parts)
        lines[room] = lines.get(room, 0) + len(path.read_text().splitlines())
    whole = sum(lines.values())

    assert {} == {room: n for room, n in lines.items() if n > 0.15 * whole}


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


def test_no_pickle_is_ever_read():
    """
    A pickle is code: nothing here loads one, nor asks a library to.
    """
    words = ("import pickle", "torch.load(", "joblib", "trust_remote_code=True")

    assert [] == [
        (str(path.relative_to(PACKAGE)), word)
        for path in FILES
        for word in words
        if word in path.read_text()
    ]
