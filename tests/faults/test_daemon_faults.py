"""
Floods, hostile names, damaged records, a thousand orders and slow writers, on the real daemon.

Each law ends the same way: the daemon still runs, nothing that was dropped is
lost, and it went on by itself once the fault was over.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from finetuned.files.inbox_names import escape_name
from finetuned.layout import Layout
from finetuned.registry.current_model import incumbent
from finetuned.registry.versions import verify_version
from support.daemon import Daemon, make_root
from support.disk import drop, ended, journal, log_events

NAUGHTY = (
    Path(__file__).resolve().parents[2].parent
    / "shared"
    / "data"
    / "hostile"
    / "naughty_strings.json"
)
FLOOD = int(os.environ.get("FINETUNED_FLOOD", "20000"))
"""More than the kernel's queue of 16,384 events, so that some are lost."""

pytestmark = pytest.mark.slow


@pytest.fixture
def root(tmp_path: Path, tiny_base: Path) -> Path:
    return make_root(tmp_path / "root", tiny_base)


def originals(root: Path) -> dict[str, str]:
    """
    Return sha256 -> path of everything that was dropped, wherever it is by now.
    """
    found = {}
    for path in (root / "inbox").rglob("*"):
        if path.is_file() and not path.name.endswith((".reason.json", ".rejects.jsonl")):
            found[hashlib.sha256(path.read_bytes()).hexdigest()] = str(path.parent)
    return found


@pytest.mark.long
def test_every_file_of_a_flood_that_no_watcher_saw_is_claimed(root: Path) -> None:
    """
    Dropped while the supervisor is stopped, more files than the kernel queues events for.
    """
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s["phase"] == "idle", "idle")
        os.kill(daemon.process.pid, signal.SIGSTOP)
        for i in range(FLOOD):
            row = {"prompt": f"say {i}", "completion": f"ok {i % 10}"}
            (root / "inbox" / f"f{i:05d}.jsonl").write_text(json.dumps(row) + "\n")
        os.kill(daemon.process.pid, signal.SIGCONT)
        began = time.monotonic()
        daemon.wait_for(
            lambda s: s["queue"]["inbox"] == 0 and s["queue"]["claimed"] + s["queue"]["accepted"],
            "an empty inbox",
            seconds=180,
        )
        took = time.monotonic() - began
    names = {row["name"] for row in journal(root, "SELECT name FROM datasets")}
    assert {f"f{i:05d}.jsonl" for i in range(FLOOD)} == names
    folders = {p.name for p in (root / "inbox" / "processing").iterdir()}
    assert {row["key"] for row in journal(root, "SELECT key FROM datasets")} == folders
    assert [] == list((root / "inbox").glob("*.jsonl"))
    print(f"{FLOOD} files found and claimed in {took:.1f} s")
    shutil.rmtree(root)


def hostile_names() -> list[bytes]:
    """
    Return names of *.jsonl files that somebody, somewhere, would trip over.
    """
    strings = json.loads(NAUGHTY.read_text()) if NAUGHTY.is_file() else []
    names = [s.encode("utf-8", "surrogatepass") for s in strings]
    names += [
        b"new\nline",
        b"-rf",
        b"--help",
        b"evil\x1b[2J",
        b"bell\x07\x08\x7f",
        b"latin-\xe9\xff",
        b"\xed\xa0\x80",  # a surrogate, as bytes
        "caf\u00e9".encode(),
        "cafe\u0301".encode(),  # the same to a reader
        "x\u202egnp".encode(),
        b"case",
        b"CASE",
        b"%2e%2e%2f",
        b"a" * 249,
        "\u20ac".encode() * 83,  # 249 bytes, and three times that when quoted
        b" ",
        b"d00000001",
        b"a.reason.json",
    ]
    usable = [n for n in names if n and b"/" not in n and b"\0" not in n and n[:1] != b"."]
    return [n + b".jsonl" for n in dict.fromkeys(usable) if len(n) <= 249]


def test_hostile_names_are_data(root: Path) -> None:
    """
    Each file is dealt with, its bytes exist, and neither status nor log is broken by its name.
    """
    names = hostile_names()
    contents = {}
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s["phase"] == "idle", "idle")
        for i, name in enumerate(names):
            data = json.dumps({"prompt": f"say {i}", "completion": f"ok {i % 10}"}).encode() + b"\n"
            contents[hashlib.sha256(data).hexdigest()] = name
            with open(os.path.join(os.fsencode(root), b"inbox", name), "wb") as f:
                f.write(data)
        daemon.wait_for(
            lambda s: (
                s["queue"]["inbox"] == 0
                and s["queue"]["accepted"] == s["queue"]["claimed"] == 0
                and ended(s)
            ),
            "everything dealt with",
            seconds=120,
        )
        daemon.wait_for(
            lambda _: not any((root / "inbox" / "processing").iterdir()), "originals in place"
        )
        status = (root / "status" / "training_status.json").read_bytes().decode("utf-8")
        json.loads(status)
        assert status.isprintable()
    places = originals(root)
    assert contents.keys() == places.keys()
    assert {str(root / "inbox" / "done")} == set(places.values())
    recorded = [row["name"] for row in journal(root, "SELECT name FROM datasets")]
    assert sorted(escape_name(n) for n in names) == sorted(recorded)
    for path in (root / "logs").iterdir():
        for line in path.read_bytes().decode("utf-8").split("\n"):
            assert line.isprintable(), line
    log_events(root)


def test_a_damaged_journal_or_version_is_mended_or_named_at_the_start(root: Path) -> None:
    """
    Garbage journal: made again. Damaged incumbent: restored. Both copies: its parent
    is in use again. Nothing good below it: a message and no start.
    """
    layout = Layout(root)
    drop(root, "a.jsonl", 40, "a")
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    assert "v0001" == incumbent(layout)
    before = {p: p.read_bytes() for p in (layout.versions / "v0001").rglob("*") if p.is_file()}

    layout.journal.write_bytes(os.urandom(layout.journal.stat().st_size))
    drop(root, "a.jsonl", 40, "b")  # the same name: it must not meet the first in done/
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    assert 1 == len(list(layout.models.glob("journal.sqlite3.corrupt-*")))
    assert "v0001" in [v["id"] for v in journal(root, "SELECT id FROM versions")]
    second = journal(root, "SELECT * FROM jobs ORDER BY id")[-1]
    assert "v0001" == second["parent"]
    assert {str(layout.done)} == set(originals(root).values())
    assert 2 == len(originals(root))

    layout.journal.write_bytes(b"")  # what a power cut may leave
    current = incumbent(layout)
    assert current is not None
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
        assert current == daemon.status()["version"]
    assert [current] == [p["version"] for p in journal(root, "SELECT version FROM promotions")]

    weights = "adapter_model.safetensors"
    (layout.versions / current / weights).write_bytes(b"damaged")
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    assert current == incumbent(layout)
    verify_version(layout, current)
    assert before == {p: p.read_bytes() for p in before}

    for name in dict.fromkeys((current, "v0001")):
        for folder in (layout.versions, layout.backups):
            path = folder / name / weights
            path.unlink()
            path.write_bytes(b"damaged")
        with Daemon(root, "--until-idle") as daemon:
            if name != "v0001":  # its parent takes its place
                assert 0 == daemon.wait_exit(), daemon.output()
                assert "v0001" == incumbent(layout) == daemon.status()["version"]
                assert "incumbent_fell_back" in [e["event"] for e in log_events(root)]
                continue
            assert daemon.wait_exit() not in (0, -signal.SIGKILL)
            assert f"{name} is corrupt and has no intact backup" in daemon.output()
            assert "finetuned versions rollback --to-base" in daemon.output()


@pytest.mark.long
def test_a_thousand_orders_end_in_a_defined_state(tmp_path: Path, tiny_base: Path) -> None:
    """
    Pause and resume in a tight loop while training, and orders that are no plain files.
    """
    root = make_root(tmp_path / "root", tiny_base, training="num_train_epochs = 30")
    control, acks = root / "control", root / "control" / "ack"
    drop(root, "a.jsonl", 100)
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s["phase"] == "training", "training")
        for i in range(1000):
            (control / ("pause", "resume")[i % 2]).touch()
            if i % 10 == 0:
                time.sleep(0.005)
        time.sleep(0.05)  # mtimes advance by the kernel's tick: the last order is now the last
        (control / "resume").touch()
        daemon.wait_for(
            lambda s: not list(control.glob("[pr]*")) and s["paused_reason"] is None, "calm"
        )
        daemon.wait_for(lambda s: s["phase"] == "training", "training again")

        (control / "pause").mkdir()
        (control / "pause" / "note").write_text("of a person")
        daemon.wait_for(lambda s: s["phase"] == "paused", "the pause by a folder")
        os.mkfifo(control / "resume")
        daemon.wait_for(lambda s: s["paused_reason"] is None, "the resume by a FIFO")
        (control / "pause").symlink_to("/etc/passwd")
        daemon.wait_for(lambda s: s["paused_reason"] is not None, "the pause by a link")
        (control / "resume").touch()
        daemon.wait_for(lambda s: s["phase"] == "training", "training at last")
        assert daemon.status()["waiting_reason"] is None
        (control / "skip").symlink_to("nowhere")
        daemon.wait_for(lambda s: s["queue"]["skipped"] == 1, "the skip")
        daemon.terminate()
        assert 0 == daemon.wait_exit(), daemon.output()
    assert [] == [p.name for p in acks.iterdir() if p.suffix == ".received"]
    assert len(list(acks.glob("*.json"))) <= 201
    assert "of a person" == next(acks.glob("*-pause.folder/note")).read_text()
    unanswered = journal(root, "SELECT * FROM commands WHERE outcome IS NULL")
    assert [] == unanswered
    assert Path("/etc/passwd").is_file()
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
        assert daemon.status()["paused_reason"] is None


def test_no_row_of_a_writer_that_pauses_or_comes_late_is_lost(root: Path) -> None:
    """
    While it has the file open, the file is not claimed and the status names it. What it appends
    once the file was read is trained as a file of its own; each row is trained once.
    """
    rows = [json.dumps({"prompt": f"say {i}", "completion": f"ok {i % 10}"}) for i in range(60)]
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s["phase"] == "idle", "idle")
        with (root / "inbox" / "slow.jsonl").open("w", encoding="utf-8") as f:
            f.write("\n".join(rows[:20]) + "\n")
            f.flush()
            status = daemon.wait_for(
                lambda s: [w["pid"] for w in s["inbox_waiting"]] == [os.getpid()], "the writer"
            )
            assert "open for writing by" in status["inbox_waiting"][0]["reason"]
            assert [] == journal(root, "SELECT key FROM datasets")
            f.write("\n".join(rows[20:40]) + "\n")
        daemon.wait_for(lambda s: s["queue"]["training"], "the training")
        (claimed,) = (root / "inbox" / "processing").glob("*/slow.jsonl")
        with claimed.open("a", encoding="utf-8") as f:
            f.write("\n".join(rows[40:]) + "\n")
        daemon.wait_for(lambda s: ended(s) == 2, "the end of both")
    parts = ["\n".join(rows[:40]) + "\n", "\n".join(rows[40:]) + "\n"]
    digests = [hashlib.sha256(part.encode()).hexdigest() for part in parts]
    found = journal(root, "SELECT sha256, state FROM datasets ORDER BY key")
    assert [(digests[0], "retired"), (digests[1], "retired")] == [
        (d["sha256"], d["state"]) for d in found
    ]


@pytest.mark.long
def test_a_version_damaged_under_a_running_daemon_is_refused_and_mended(root: Path) -> None:
    """
    Damage is seen before a byte is trained on; from the backup, or from the parent.
    """
    layout, weights = Layout(root), "adapter_model.safetensors"
    with Daemon(root) as daemon:
        for number, name in enumerate("ab", start=1):
            drop(root, f"{name}.jsonl", 40, name)
            daemon.wait_for(
                lambda s, n=number: s["version"] == f"v000{n}" and s["job"] is None, f"v000{number}"
            )
        for number, (name, places) in enumerate(
            (("c", [layout.versions]), ("d", [layout.versions, layout.backups])), start=3
        ):
            current = incumbent(layout)
            for place in places:
                path = place / str(current) / weights
                data = bytearray(path.read_bytes())
                data[len(data) // 2] ^= 4
                path.unlink()
                path.write_bytes(data)
            # The worker that waits holds the good weights in memory: they must not be used either.
            drop(root, f"{name}.jsonl", 40, name)
            daemon.wait_for(
                lambda s, n=number: s["queue"]["promoted"] == n and s["job"] is None, name, 120
            )
        jobs = journal(root, "SELECT * FROM jobs ORDER BY id")
        assert ["v0002", "v0002"] == [jobs[2]["parent"], jobs[3]["parent"]]
        assert [0, 0] == [jobs[2]["attempts"], jobs[3]["attempts"]]
        names = [e["event"] for e in log_events(root)]
        assert "version_restored" in names
        assert "incumbent_fell_back" in names
        verify_version(layout, str(incumbent(layout)))


def test_current_model_that_somebody_pointed_elsewhere_is_put_right(root: Path) -> None:
    """
    The journal knows what is in use: a foreign link, one to a version that is gone, or none
    is replaced at the start and while the daemon runs, and log and status say so.
    """
    layout = Layout(root)
    drop(root, "a.jsonl", 40, "a")
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("kept")
    for target in (elsewhere, layout.versions / "v0099", root / "nowhere"):
        layout.current_model.unlink()
        layout.current_model.symlink_to(target)
        with Daemon(root, "--until-idle") as daemon:
            assert 0 == daemon.wait_exit(), daemon.output()
            assert "v0001" == incumbent(layout) == daemon.status()["version"]
            assert target.name in daemon.status()["last_repair"]["problem"]
    assert 3 == [e["event"] for e in log_events(root)].count("current_model_repaired")

    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s["phase"] == "idle", "idle")
        before = daemon.status()["last_repair"]["at"]
        layout.current_model.unlink()
        layout.current_model.symlink_to(elsewhere)
        daemon.wait_for(lambda s: s["last_repair"]["at"] != before, "the link put right")
        assert "v0001" == incumbent(layout)
    assert "kept" == (elsewhere / "mine.txt").read_text()


def test_status_that_somebody_removed_is_made_again(root: Path) -> None:
    """
    Who reads it sees a live daemon again, without a restart.
    """
    status = Layout(root).status_file
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s["phase"] == "idle", "idle")
        before = daemon.status()["heartbeat_at"]
        shutil.rmtree(status.parent)
        daemon.wait_for(lambda s: s["heartbeat_at"] > before, "a new status", 30)
        daemon.terminate()
        assert 0 == daemon.wait_exit()
        assert "stopped" == daemon.status()["phase"]
