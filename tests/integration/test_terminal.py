"""
What a person sees: ``finetuned run`` on a real terminal, and ``finetuned status`` of real files.
"""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from finetuned.cli.program import main
from finetuned.files.status_file import boot_id
from finetuned.supervisor.status import DEFAULTS
from support.daemon import PACKAGE_PARENT
from support.terminal import Terminal

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PACKAGE_PARENT), "TERM": "xterm", "COLUMNS": "200"}
PROGRAM = (sys.executable, "-m", "finetuned")


def test_run_on_a_terminal_shows_text_and_ends_with_ctrl_c(tmp_path):
    """
    What to do in a new root, readable lines, the status below them; JSON only in the log.
    """
    root = tmp_path / "new"
    terminal = Terminal("run", "--root", str(root))
    terminal.wait_for("drop a .jsonl file into")
    terminal.wait_for(f"watching {root}/inbox")
    terminal.wait_for("now       waiting for files")
    terminal.type("\x03")
    terminal.wait_for("stopped; the next start goes on from here")
    terminal.wait_for("not running: it was stopped")

    assert 0 == terminal.close()
    assert '"event"' not in terminal.plain
    assert terminal.shown.count("\x1b[?25l") == terminal.shown.count("\x1b[?25h")  # the cursor
    log = (root / "logs" / "supervisor.log").read_text().splitlines()
    assert "supervisor_started" == json.loads(log[0])["event"]


def test_run_into_a_pipe_prints_json_lines(tmp_path):
    """
    For systemd's journal and scripts; the welcome goes to stderr, and comes once.
    """
    argv = [*PROGRAM, "run", "--root", str(tmp_path), "--until-idle"]
    first, second = (
        subprocess.run(argv, capture_output=True, text=True, check=True, env=ENVIRONMENT)
        for _ in range(2)
    )

    events = [json.loads(line)["event"] for line in first.stdout.splitlines()]
    assert ("supervisor_started", "supervisor_stopped") == (events[0], events[-1])
    assert "is a new root" in first.stderr
    assert "" == second.stderr


def write_status(root: Path, **fields: object) -> None:
    (root / "status").mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat()
    document = {**DEFAULTS, "pid": os.getpid(), "boot_id": boot_id(), "heartbeat_at": now}
    (root / "status" / "training_status.json").write_text(
        json.dumps({**document, "phase": "idle", **fields})
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 0),
        ({"waiting_reason": "disk_full: 3 MiB free", "phase": "waiting"}, 1),
        ({"phase": "stopped"}, 3),
        ({"pid": 2**22 + 1}, 3),
        (None, 3),
    ],
    ids=["running", "needs you", "stopped", "died", "never"],
)
def test_the_exit_status_says_how_it_is(tmp_path, capsys, fields, expected):
    """
    The same for the screen and for --json, and JSON says the same in words.
    """
    if fields is not None:
        write_status(tmp_path, **fields)
    where = ("--root", str(tmp_path))

    assert expected == main(["status", *where])
    assert capsys.readouterr().out.startswith("daemon    ")
    assert expected == main(["status", "--json", *where])
    shown = json.loads(capsys.readouterr().out)["daemon"]
    assert (expected < 3) == shown["running"] == (shown["pid"] is not None)
    assert (expected == 1) == bool(shown["needs_attention"])


def test_status_is_cheap(tmp_path):
    """
    It may be asked every second: no model library, no plots, nothing of the supervisor.
    """
    write_status(tmp_path)
    code = (
        "import sys; from finetuned.cli.program import main\n"
        f"main(['status', '--root', {str(tmp_path)!r}])\n"
        "heavy = {'torch', 'numpy', 'rich', 'structlog', 'jinja2', 'finetuned.supervisor'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )

    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=True)
