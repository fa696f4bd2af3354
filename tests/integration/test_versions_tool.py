"""
finetuned versions, by its launcher, as a person runs it: a process, its output and its exit status.
"""

import hashlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from finetuned.cli.program import build_parser
from finetuned.core.promotion import PromotionCause
from finetuned.files.journal import Journal
from finetuned.layout import Layout
from finetuned.registry.backup import backup
from finetuned.registry.commit import commit_version
from finetuned.registry.current_model import incumbent, promote
from finetuned.registry.head import move_head
from finetuned.registry.trash import list_trash
from finetuned.registry.versions import list_versions
from support.candidates import make_candidate
from support.journals import release

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
        make_candidate(folder)
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
    move_head(layout, "v0003")
    lines = tool(layout, "list").splitlines()
    assert ["* v0002", "> v0003", "> is the head, from which training goes on"] == [
        lines[2][:7],
        lines[3][:7],
        lines[4][:42],
    ]
    assert "v0003" == as_json(layout, "list")["head"]


def test_a_version_can_be_promoted_and_rolled_back(layout):
    """
    The whole way up and down, down to the bare base model.
    """
    tool(layout, "promote", "v0003")
    assert "v0003" == incumbent(layout)
    tool(layout, "rollback")
    assert "v0002" == incumbent(layout)
    nothing = {"unlearnt": [], "learnt_again": []}  # no journal knows of any file
    back = as_json(layout, "rollback", "--to", "v0001")
    assert {"current": "v0001", "head": "v0003", **nothing} == back
    back = as_json(layout, "rollback", "--to", "v0001", "--head")
    assert {"current": "v0001", "head": "v0001", **nothing} == back
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
    assert {"v0001": "in use", "v0002": "last verified backup"} == plan["keep"]
    assert ["v0001", "v0002"] == list_versions(layout)
    backup(layout, "v0001")
    (folder,) = list_trash(layout)
    shutil.copytree(layout.versions / "v0001", layout.trash / "v0001-20261120T000000Z")
    said = tool(layout, "prune", "--empty-trash")
    assert re.search(r"v0001-\S+ +delete +versions/v0001 is intact", said)
    assert re.search(rf"{folder} +stays +the only copy", said)
    assert f"--confirm {folder}" in said
    assert 2 == len(list(layout.trash.iterdir()))
    tool(layout, "prune", "--empty-trash", "--yes")
    assert [folder] == list_trash(layout)
    assert "not in" in tool(layout, "prune", "--empty-trash", "--confirm", "v0003", status=1)
    done = as_json(layout, "prune", "--empty-trash", "--yes", "--confirm", folder)
    assert {"delete": {folder: "confirmed by name"}, "stay": {}, "applied": True} == done
    assert [] == list(layout.trash.iterdir())


def test_prune_takes_its_number_from_the_configuration(layout):
    """
    registry.keep_last is 5 by default, so nothing here is old enough.
    """
    assert "nothing to remove" in tool(layout, "prune")
    (layout.root / "config.toml").write_text("[registry]\nkeep_last = 0\n")
    assert ["v0003"] == as_json(layout, "prune")["remove"]


def test_a_mistake_elsewhere_in_the_configuration_does_not_keep_prune_from_working(layout):
    """
    It needs registry.keep_last and says what else is wrong; a mistake there is an error.
    """
    config = layout.root / "config.toml"
    config.write_text("[training]\nlearning_rat = 1\n[registry]\nkeep_last = 0\n")
    said = tool(layout, "prune")
    assert "v0003  remove  would go" in said
    assert "unknown key training.learning_rat" in said
    config.write_text("[registry]\nkeep_lst = 0\n")

    assert "unknown key registry.keep_lst" in tool(layout, "prune", "--yes", status=1)
    assert ["v0001", "v0002", "v0003"] == list_versions(layout)


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
    damaged = as_json(layout, "verify", status=1)["damaged"]
    assert ["v0002", "current_model"] == list(damaged)
    assert ["v0002"] == list(as_json(layout, "verify", "v0002", status=1)["damaged"])
    tool(layout, "restore", "v0002")

    said = tool(layout, "verify")
    assert "backup v0002  intact" in said
    assert re.search(r"trash v0002-\S+  damaged", said)
    assert as_json(layout, "restore", "v0002") == {"version": "v0002", "restored": False}
    assert "no backup" in tool(layout, "restore", "v0003", status=1)
    assert "v0003" == as_json(layout, "backup", "v0003")["version"]


def on_a_terminal(layout, *args, typed=""):
    """
    Run the tool on a terminal of its own; return its exit status and all it showed.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, TOOL, *args, "--root", layout.root])  # noqa: S606
    os.write(terminal, typed.encode())
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:
        pass  # how Linux says that the other side is closed
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_a_deletion_takes_the_name_typed_in_full(layout):
    """
    By --confirm, or asked on a terminal; without either nothing happens but a hint.
    """
    assert "--confirm v0003" in tool(layout, "delete", "v0003", status=1)
    assert "not 'v0003'" in tool(layout, "delete", "v0003", "--confirm", "v003", status=1)
    status, shown = on_a_terminal(layout, "delete", "v0003", typed="yes\n")
    assert (1, True) == (status, "not 'v0003'" in shown)
    assert ["v0001", "v0002", "v0003"] == list_versions(layout)
    status, shown = on_a_terminal(layout, "delete", "v0003", typed="v0003\n")

    assert (0, True) == (status, "v0003 is in the trash now: v0003-" in shown)
    assert ["v0001", "v0002"] == list_versions(layout)
    again = as_json(layout, "delete", "v0003", "--confirm", "v0003")
    assert {"version": "v0003", "backup": False, "trash": list_trash(layout)[0]} == again


def test_nobody_is_asked_about_a_version_that_is_not_there(layout):
    """
    The answer would be thrown away.
    """
    for more in ([], ["--backup"]):
        status, shown = on_a_terminal(layout, "delete", "v0009", *more, typed="v0009\n")
        assert (1, True) == (status, "there is no" in shown)
        assert "type its name" not in shown


def test_a_backup_is_deleted_by_a_command_of_its_own(layout):
    """
    And its name in the trash says that it was one.
    """
    backup(layout, "v0003")
    said = tool(layout, "delete", "v0003", "--backup", "--confirm", "v0003")

    assert "the backup of v0003 is in the trash now: v0003-backup-" in said
    assert ["v0001", "v0002", "v0003"] == list_versions(layout)
    assert "in use" in tool(layout, "delete", "v0002", "--backup", "--confirm", "v0002", status=1)


def snapshot(folder):
    """
    Every file under *folder* with the hash of its bytes.
    """
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file()
    }


@pytest.mark.parametrize(
    ("source", "command"),
    [
        ("versions", "prune --yes --keep-last 0"),
        ("versions", "delete v0003 --confirm v0003"),
        ("backups", "delete v0003 --backup --confirm v0003"),
        ("trash", "prune --empty-trash --yes --confirm v0001-20261120T000000Z"),
        ("trash", "prune --empty-trash --yes"),
    ],
)
def test_no_command_takes_from_more_than_one_of_the_three_copies(layout, source, command):
    """
    Each deleting command, by the program: the other trees are the same afterwards, byte for byte.
    """
    backup(layout, "v0003")
    layout.current_model.unlink()
    promote(layout, "v0001")
    if source == "versions":
        shutil.rmtree(layout.backups / "v0003")  # or it would be the last verified one
    for name in ("v0001", "v0003"):
        shutil.copytree(layout.versions / name, layout.trash / f"{name}-20261120T000000Z")
    places = {p.name: p for p in (layout.versions, layout.backups, layout.trash)}
    before = {name: snapshot(path) for name, path in places.items()}
    tool(layout, *command.split())
    after = {name: snapshot(path) for name, path in places.items()}

    assert after[source].items() < before[source].items()
    for name in places.keys() - {source, "trash"}:
        assert before[name] == after[name]
    assert source == "trash" or before["trash"].items() < after["trash"].items()


@pytest.mark.parametrize(
    "command", [("delete", "v0003", "--confirm", "v0003"), ("prune", "--yes", "--keep-last", "0")]
)
def test_nothing_is_thrown_away_while_journal_and_link_disagree(layout, command):
    """
    Between a verdict and the flip of the link the next version in use is known to the journal only.
    """
    journal = Journal(layout.journal)
    release(journal, "v0003", PromotionCause.GATE)
    journal.close()

    assert "promote v0003" in tool(layout, *command, status=1)
    assert ["v0001", "v0002", "v0003"] == list_versions(layout)
    tool(layout, "promote", "v0003")
    assert "in use" in tool(layout, "delete", "v0003", "--confirm", "v0003", status=1)


def test_verify_says_what_is_missing_below_a_version(layout):
    """
    A note and no damage: it loads, but there is no way back from it.
    """
    shutil.rmtree(layout.versions / "v0001")
    found = as_json(layout, "verify")

    assert ["v0002: its way back v0001 is neither a version nor a backup now"] == found["notes"]
    assert {} == found["damaged"]
    shutil.rmtree(layout.versions / "v0002")
    assert "restore v0002" in as_json(layout, "verify", status=1)["damaged"]["current_model"]


def test_a_long_verification_shows_how_far_it_is(layout):
    """
    On a terminal, on stderr, and gone when it is done.
    """
    folder = layout.trash / "v0009-20261120T000000Z"
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as f:
        f.truncate(300 * 2**20)
    status, shown = on_a_terminal(layout, "verify")

    assert 0 == status
    assert re.search(r"/\d+\.\d MB", shown)
    assert "trash v0009-20261120T000000Z  damaged" in shown


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
    tool(layout, "prune", "--yes", "--confirm", "v0003", status=2)
    tool(Layout(layout.root / "gone"), "list", status=2)
    tool(layout, "promote", "../../etc", status=1)
    assert "error" in as_json(layout, "promote", "v0009", status=1)


def test_every_example_in_the_help_is_a_command_line_that_parses():
    """
    Help that does not work is worse than none.
    """
    text = subprocess.run([sys.executable, TOOL, "--help"], capture_output=True, text=True).stdout
    examples = re.findall(r"^  finetuned versions (.+?)(?:  +|$)", text, re.MULTILINE)

    assert len(examples) >= 10
    for example in examples:
        args = [a.strip('"') for a in re.findall(r'"[^"]+"|\S+', example)]
        try:
            build_parser().parse_args(["versions", *args])
        except SystemExit:
            pytest.fail(f"not understood: finetuned versions {example}")


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


def test_what_the_gate_rejected_is_put_in_use_only_by_saying_so(layout):
    """
    The gate is the way into current_model; a person who goes past it has to mean it.
    """
    folder = layout.runs / "r-1"
    facts = {"run_id": "r-4", "parent": "v0002", "verdict": "rejected", "reason": "gain: none"}
    rejected = commit_version(layout, folder, facts)
    complaint = tool(layout, "promote", rejected, status=1)
    assert "gain: none" in complaint
    assert "--anyway" in complaint
    assert "v0002" == incumbent(layout)
    tool(layout, "promote", rejected, "--anyway")
    assert rejected == incumbent(layout)
