"""
tools/versions.py as a person runs it: a process, its output and its exit status.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from finetuned.layout import Layout
from finetuned.registry.backup import backup
from finetuned.registry.versions import commit_version, incumbent, list_versions, promote

CHECKOUT = Path(__file__).resolve().parents[2]
TOOL = CHECKOUT / "tools" / "versions.py"


@pytest.fixture
def layout(tmp_path):
    """
    v0001 <- v0002 (in use, backed up) <- v0003.
    """
    layout = Layout(tmp_path / "root")
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    for n in (1, 2, 3):
        folder = layout.runs / f"r-{n}"
        (folder / "training_state").mkdir(parents=True)
        for name in (
            "adapter_model.safetensors",
            "adapter_config.json",
            "training_state/optimizer.safetensors",
            "training_state/state.json",
        ):
            (folder / name).write_text(f"{name} {n}")
        parent = f"v{n - 1:04d}" if n > 1 else None
        commit_version(layout, folder, {"run_id": f"r-{n}", "parent": parent, "base": "micro"})
    promote(layout, "v0001")
    promote(layout, "v0002")
    backup(layout, "v0002")
    return layout


def tool(layout, *args, status=0, python=sys.executable):
    """
    Run the tool and return its output, holding its exit status.
    """
    result = subprocess.run(
        [python, TOOL, *args, "--root", layout.root], capture_output=True, text=True, check=False
    )
    assert status == result.returncode, result.stderr
    return result.stdout + result.stderr


def as_json(layout, *args, status=0):
    return json.loads(tool(layout, *args, "--json", status=status).splitlines()[0])


def test_list_marks_the_version_in_use(layout):
    """
    One line per version, oldest first.
    """
    lines = tool(layout, "list").splitlines()[1:]

    assert ["  v0001", "* v0002", "  v0003"] == [line[:7] for line in lines]
    assert "v0002" == as_json(layout, "list")["current"]


def test_a_version_can_be_promoted_and_rolled_back(layout):
    """
    The whole way up and down, down to the bare base model.
    """
    tool(layout, "promote", "v0003")
    assert "v0003" == incumbent(layout)
    tool(layout, "rollback")
    assert "v0002" == incumbent(layout)
    assert {"current": "v0001"} == as_json(layout, "rollback", "--to", "v0001")
    assert "--to-base" in tool(layout, "rollback", status=1)
    tool(layout, "rollback", "--to-base")
    assert incumbent(layout) is None


def test_prune_says_first_and_does_it_when_told(layout):
    """
    Dry run by default; the trash by --yes; for good only by a third command.
    """
    tool(layout, "promote", "v0001")
    assert "v0003  remove  would go" in tool(layout, "prune", "--keep-last", "0")
    assert ["v0001", "v0002", "v0003"] == list_versions(layout)
    plan = as_json(layout, "prune", "--keep-last", "0", "--yes")
    assert {"v0001": "incumbent", "v0002": "last verified backup"} == plan["keep"]
    assert ["v0001", "v0002"] == list_versions(layout)
    assert "would delete v0003" in tool(layout, "prune", "--empty-trash")
    assert 1 == len(list(layout.trash.iterdir()))
    tool(layout, "prune", "--empty-trash", "--yes")
    assert [] == list(layout.trash.iterdir())


def test_prune_takes_its_number_from_the_configuration(layout):
    """
    registry.keep_last is 5 by default, so nothing here is old enough.
    """
    assert "nothing to remove" in tool(layout, "prune")
    (layout.root / "config.toml").write_text("[registry]\nkeep_last = 0\n")
    assert ["v0003"] == as_json(layout, "prune")["remove"]


def test_pins_are_kept_and_shown(layout):
    """
    With the reason, for the person who finds the disk full.
    """
    tool(layout, "pin", "v0003", "used in the talk\x1b[2J")
    assert "pinned: used in the talk\\x1b[2J" in tool(layout, "list")
    assert [] == as_json(layout, "prune", "--keep-last", "0", "--yes")["remove"]
    tool(layout, "unpin", "v0003")
    assert ["v0003"] == as_json(layout, "prune", "--keep-last", "0", "--yes")["remove"]


def test_a_damaged_version_is_found_and_restored(layout):
    """
    verify exits 1 and names the file; restore mends it from the backup.
    """
    weights = layout.versions / "v0002" / "adapter_model.safetensors"
    weights.unlink()
    weights.write_text("other")
    assert "adapter_model.safetensors" in tool(layout, "verify", status=1)
    assert ["v0002"] == list(as_json(layout, "verify", status=1)["damaged"])
    tool(layout, "restore", "v0002")

    assert "backup v0002  intact" in tool(layout, "verify")
    assert as_json(layout, "restore", "v0002") == {"version": "v0002", "restored": False}
    assert "no backup" in tool(layout, "restore", "v0003", status=1)
    assert "v0003" == as_json(layout, "backup", "v0003")["version"]


def test_what_a_person_did_is_in_the_log(layout):
    """
    Who asks later why v0001 is in use finds the answer in logs/versions.log.
    """
    tool(layout, "rollback")
    (line,) = (layout.logs / "versions.log").read_text().splitlines()

    assert "version_rolled_back" == json.loads(line)["event"]


def test_wrong_usage_exits_2_and_a_refusal_1(layout):
    """
    So that a script can tell its own mistake from the registry's answer.
    """
    tool(layout, "frobnicate", status=2)
    tool(layout, "prune", "--keep-last", "-1", status=2)
    tool(Layout(layout.root / "gone"), "list", status=2)
    tool(layout, "promote", "../../etc", status=1)
    assert "error" in as_json(layout, "promote", "v0009", status=1)


def test_every_example_in_the_help_is_a_command_line_that_parses(layout):
    """
    Help that does not work is worse than none.
    """
    text = subprocess.run([sys.executable, TOOL, "--help"], capture_output=True, text=True).stdout
    examples = re.findall(r"^  tools/versions\.py (.+?)(?:  +|$)", text, re.MULTILINE)

    assert len(examples) >= 10
    for example in examples:
        args = [a.strip('"') for a in re.findall(r'"[^"]+"|\S+', example)]
        result = subprocess.run([sys.executable, TOOL, *args, "--root", layout.root], check=False)
        assert result.returncode in (0, 1), example


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to own files as somebody else")
def test_root_leaves_no_file_that_the_daemon_cannot_open(layout):
    """
    sudo tools/versions.py on an installed root must write as the daemon's user.
    """
    for path in [layout.root, *layout.root.rglob("*")]:
        os.chown(path, 65534, 65534, follow_symlinks=False)
    shutil.copytree(CHECKOUT / "tools", layout.root.parent / "tools")
    layout.root.parent.chmod(0o755)
    for parent in layout.root.parents:
        if parent != Path("/") and parent.owner() == "root" and parent.is_relative_to("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o755)
    tool(layout, "pin", "v0001", "x")
    tool(layout, "promote", "v0001")

    assert {65534} == {p.lstat().st_uid for p in [layout.root, *layout.root.rglob("*")]}


@pytest.mark.skipif(
    not (CHECKOUT / ".venv" / "bin" / "python").exists(), reason="needs .venv (tools/bootstrap)"
)
def test_the_tool_runs_by_a_python_that_has_nothing_installed(layout):
    """
    A checkout needs no activation: the tool goes on in .venv by itself.
    """
    bare = Path("/usr/bin/python3")
    if not bare.exists():
        pytest.skip("no /usr/bin/python3")
    assert "* v0002" in tool(layout, "list", python=bare)


def test_without_an_environment_the_tool_says_how_to_make_one(tmp_path):
    """
    The first thing a new user may run is a tool.
    """
    shutil.copytree(CHECKOUT / "tools", tmp_path / "tools")
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c",
         "import sys; sys.path.insert(0, sys.argv[1]); import _venv; _venv.activate()",
         tmp_path / "tools"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert 78 == result.returncode
    assert "tools/bootstrap" in result.stderr
