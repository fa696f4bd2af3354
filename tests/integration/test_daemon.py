"""
The whole daemon: real processes, real files, a tiny real model.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from finetuned.cli.program import main
from finetuned.files.run import read_json, read_metrics
from support.daemon import Daemon, make_root
from support.disk import ended, log_events
from support.tiny_base import write_rows

CHECKOUT = Path(__file__).resolve().parents[2]
SCHEMA = CHECKOUT / "docs" / "reference" / "training_status.schema.json"


def journal(root: Path, sql: str, *arguments: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(root / "models" / "journal.sqlite3") as db:
        return db.execute(sql, arguments).fetchall()


def committed(root: Path, job_id: str = "j000001") -> Counter[str]:
    """
    Count the examples in the committed lineage of a job, from its run folders.
    """
    runs = journal(
        root, "SELECT id FROM runs WHERE job_id = ? AND kind = 'training' ORDER BY id", job_id
    )
    records: dict[int, list[str]] = {}
    for (run,) in runs:
        for record in read_metrics(root / "models" / "runs" / run):
            records[record["step"]] = record["examples"]
    return Counter(e for step in records.values() for e in step)


def drop(root: Path, name: str, n: int, tag: str = "") -> Path:
    """
    Write beside, then rename in: what a careful producer does.
    """
    part = root / f"{Path(name).name}.part"
    write_rows(part, n, tag=tag)
    return part.rename(root / "inbox" / name)


@pytest.fixture
def root(tmp_path: Path, tiny_base: Path) -> Path:
    return make_root(tmp_path / "root", tiny_base)


@pytest.mark.slow
def test_a_dropped_file_becomes_the_current_model(root: Path, tiny_base: Path) -> None:
    """
    Drop, validate, train, evaluate, promote, retire; every field of the status on the way.
    """
    schema = json.loads(SCHEMA.read_text())
    drop(root, "a.jsonl", 60)
    seen = set()
    with Daemon(root, "--until-idle") as daemon:
        while daemon.process.poll() is None:
            status = daemon.status()
            if status:
                jsonschema.validate(status, schema)
                seen.add(status["phase"])
            time.sleep(0.05)
        assert 0 == daemon.wait_exit(), daemon.output()

    assert {"validating", "training"} <= seen
    status = read_json(root / "status" / "training_status.json") or {}
    assert status["last_verdict"]["promoted"], status["last_verdict"]
    assert "v0001" == status["version"]
    assert "models/versions/v0001" == os.readlink(root / "current_model")
    assert 15 <= status["current_step"]
    assert [] == list((root / "inbox" / "processing").iterdir())
    done = list((root / "inbox" / "done").iterdir())
    assert 1 == len(done)
    assert 60 == len(done[0].read_text().splitlines())
    manifest = read_json(root / "current_model" / "manifest.json") or {}
    assert [("promoted",)] == journal(root, "SELECT state FROM jobs")
    assert manifest["datasets"][0]["sha256"] == journal(root, "SELECT sha256 FROM datasets")[0][0]
    assert (root / "current_model" / "eval_report.json").is_file()
    assert (root / "models" / "backups" / "v0001" / "manifest.json").is_file()
    load = (
        "import sys; from peft import PeftModel;"
        "from transformers import AutoModelForCausalLM as A;"
        "PeftModel.from_pretrained(A.from_pretrained(sys.argv[1]), sys.argv[2])"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", load, str(tiny_base), str(root / "current_model")],
        check=True,
    )


@pytest.mark.slow
def test_orders_are_obeyed_at_the_next_step_and_survive_a_restart(
    tmp_path: Path, tiny_base: Path
) -> None:
    """
    Pause mid-file frees the worker, outlives the daemon, and resume loses no row.
    """
    root = make_root(tmp_path / "root", tiny_base, training="num_train_epochs = 8")
    drop(root, "a.jsonl", 200)
    acks = root / "control" / "ack"
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s["batch_step"] >= 4, "step 4")
        (root / "control" / "pause").write_text("want to play\nsecond line\n")
        asked_at = daemon.status()["batch_step"]
        status = daemon.wait_for(lambda s: s["phase"] == "paused", "pause")
        assert "want to play" == status["paused_reason"]
        assert [] == daemon.workers()
        steps = [m["step"] for m in read_metrics(root / "models" / "runs" / "r000002")]
        assert steps[-1] <= asked_at + 40  # a fraction of a second at some milliseconds a step
        answer = read_json(next(acks.glob("*-pause.json"))) or {}
        assert ("pause", "want to play", "obeyed") == (
            answer["command"],
            answer["reason"],
            answer["outcome"],
        )
        assert [] == list((root / "control").glob("pause*"))
        daemon.terminate()
        assert 0 == daemon.wait_exit()

    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s["phase"] == "paused", "pause after the restart")
        time.sleep(1.0)
        assert [] == daemon.workers()
        (root / "control" / ".resume").touch()
        daemon.wait_for(lambda s: ended(s) == 1, "the end")
        (root / "control" / "stop").touch()
        assert 0 == daemon.wait_exit()

    counts = committed(root)
    assert {8} == set(counts.values())
    commands = journal(root, "SELECT command, outcome FROM commands ORDER BY id")
    assert [("pause", "obeyed"), ("resume", "obeyed"), ("stop", "obeyed")] == [
        (c, o.replace("ended by resume", "obeyed")) for c, o in commands
    ]


@pytest.mark.slow
def test_skip_ends_the_dataset_for_good_also_while_paused(tmp_path: Path, tiny_base: Path) -> None:
    """
    Skip is bound to the job that runs, consumed once, and the next file trains.

    Until a person asks for another try: a running daemon sees it at once.
    """
    root = make_root(
        tmp_path / "root",
        tiny_base,
        training="num_train_epochs = 40",
        inbox="share_run_max_examples = 0",
    )
    drop(root, "a.jsonl", 200, "a")
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s["batch_step"] >= 2, "step 2")
        (root / "control" / "skip").write_text("wrong file\n")
        daemon.wait_for(lambda s: s["queue"]["skipped"] == 1, "skip")
        drop(root, "b.jsonl", 200, "b")
        daemon.wait_for(
            lambda s: (s["job"] or {}).get("id") == "j000002" and s["batch_step"] >= 2,
            "the next file",
        )
        (root / "control" / "pause").touch()
        daemon.wait_for(lambda s: s["phase"] == "paused", "pause")
        (root / "control" / "skip").touch()
        daemon.wait_for(lambda s: s["queue"]["skipped"] == 2, "skip while paused")
        (root / "control" / "skip").touch()
        time.sleep(1.0)
        assert 0 == main(["retry", "--all-unlearnt", "--root", str(root)])
        found = daemon.wait_for(lambda s: s["queue"]["queued"] == 2, "both again", seconds=10)
        books = found["books"]
        assert (400, 0, True) == (books["dropped"], books["not_learnt"], books["balanced"])
        assert 400 == books["waiting"] + books["held_out"]
        daemon.terminate()
        assert 0 == daemon.wait_exit()

    states = [state for (state,) in journal(root, "SELECT state FROM jobs ORDER BY id")]
    assert ["skipped", "skipped", "queued", "queued"] == states
    outcomes = [o for (o,) in journal(root, "SELECT outcome FROM commands WHERE command = 'skip'")]
    assert "nothing to do: no dataset is being trained" == outcomes[-1]


@pytest.mark.slow
def test_kill_9_of_everything_loses_nothing(tmp_path: Path, tiny_base: Path) -> None:
    """
    Supervisor and workers die together at random moments; the job ends exactly once.
    """
    root = make_root(tmp_path / "root", tiny_base, training="num_train_epochs = 6")
    drop(root, "a.jsonl", 150)
    kills = int(os.environ.get("FINETUNED_STACK_KILLS", "2"))
    for i in range(kills):
        with Daemon(root) as daemon:
            if i % 2:
                daemon.wait_for(lambda s: s["phase"] in ("training", "checkpointing"), "training")
                time.sleep(0.1 * i)
            else:
                time.sleep(1.5 + 0.7 * i)
            before = daemon.status()
            daemon.kill_everything()
        after = read_json(root / "status" / "training_status.json") or {}
        assert after.get("current_step", 0) >= before.get("current_step", 0)
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()

    counts = committed(root)
    report = read_json(next((root / "models" / "datasets").iterdir()) / "report.json") or {}
    assert {6} == set(counts.values())
    assert 150 == len(counts) + report["split"]["heldout_rows"]
    assert [(0,)] == journal(root, "SELECT attempts FROM jobs")
    assert 1 <= (read_json(root / "status" / "training_status.json") or {})["restarts"]


@pytest.mark.slow
def test_a_worker_whose_supervisor_is_gone_checkpoints_and_leaves(
    tmp_path: Path, tiny_base: Path
) -> None:
    """
    No orphan trains on unseen; what it did is in a checkpoint.
    """
    root = make_root(
        tmp_path / "root", tiny_base, training="num_train_epochs = 200\nsave_steps = 10000"
    )
    drop(root, "a.jsonl", 200)
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s["batch_step"] >= 3, "step 3")
        worker = next(
            w for w in daemon.workers() if "finetuned.training.worker" in " ".join(w.cmdline())
        )
        os.kill(daemon.process.pid, signal.SIGKILL)
        assert [] == psutil.wait_procs([worker], timeout=20)[1]
    saved = list((root / "models" / "runs" / "r000002" / "checkpoints").iterdir())
    assert 3 <= max(int(p.name.rpartition("-")[2]) for p in saved)


def test_a_second_supervisor_on_one_root_leaves_with_75(root: Path) -> None:
    """
    One owner per root; the loser says who holds it.
    """
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s["phase"] == "idle", "idle")
        second = Daemon(root)
        assert 75 == second.wait_exit(20)
        assert f"pid {daemon.process.pid}" in second.output()
        assert daemon.process.poll() is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[training]\nlearning_rte = 1", "learning_rte"),
        ("[training]\nlearning_rate = 5.0", "1e-7 to 1"),
        ("[model]\nbase = 'no/such-model'", "finetuned base fetch no/such-model"),
        ("[inbox", "not TOML"),
    ],
)
def test_a_wrong_configuration_ends_the_start_with_78(root: Path, text: str, named: str) -> None:
    """
    The message names the key, the range and the way out.
    """
    (root / "config.toml").write_text(text)
    with Daemon(root) as daemon:
        assert 78 == daemon.wait_exit(20)
        assert named in daemon.output()


def test_a_bad_edit_is_shown_and_the_last_good_configuration_stays(root: Path) -> None:
    """
    Configuration is read again at a job boundary, and a typing error costs nothing.
    """
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s["phase"] == "idle", "idle")
        (root / "config.toml").write_text("[training]\nr = 0\n")
        drop(root, "a.jsonl", 40)
        status = daemon.wait_for(lambda s: s["config_error"], "the complaint")
        assert "training.r must be 1 to 1024" in status["config_error"]
        daemon.wait_for(lambda s: s["queue"]["training"] == 1, "training all the same")


def test_equal_bytes_train_once_and_equal_names_never_meet(root: Path) -> None:
    """
    The content is the identity: a copy is a duplicate, a namesake is not.
    """
    drop(root, "a.jsonl", 40, "a")
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: ended(s), "first job")
        done = root / "inbox" / "done"
        daemon.wait_for(lambda _: list(done.iterdir()), "the original in done/")
        shutil.copy(next(done.iterdir()), root / "inbox" / "copy.jsonl")
        daemon.wait_for(lambda s: s["queue"]["duplicate"] == 1, "the duplicate")
        drop(root, "a.jsonl", 40, "b")
        daemon.wait_for(lambda s: ended(s) == 2, "the namesake")
    rows = journal(root, "SELECT key, state, duplicate_of FROM datasets ORDER BY key")
    assert [None, rows[0][0], None] == [r[2] for r in rows]
    assert 3 == len(list((root / "inbox" / "done").iterdir()))


def test_small_files_that_wait_together_share_one_run(root: Path) -> None:
    """
    A hundred tiny files cost one start-up, and every row of them is trained.
    """
    for i in range(100):
        drop(root, f"f{i}.jsonl", 3, f"f{i}-")
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    assert 1 == len(journal(root, "SELECT id FROM jobs"))
    assert 100 == len(journal(root, "SELECT DISTINCT dataset_id FROM trained"))


def test_what_cannot_be_read_is_reported_and_never_blocks(root: Path) -> None:
    """
    Symlinks, FIFOs and directories named like datasets are named in the status.
    """
    inbox = root / "inbox"
    (inbox / "link.jsonl").symlink_to("/etc/passwd")
    (inbox / "dangling.jsonl").symlink_to("nowhere")
    (inbox / "dir.jsonl").mkdir()
    os.mkfifo(inbox / "pipe.jsonl")
    (inbox / ".hidden.jsonl").write_text("{}")
    (inbox / "half.jsonl.part").write_text("{")
    (inbox / "rows.json").write_text("[]")
    (inbox / os.fsdecode(b"evil\x1b[2J\xff.jsonl")).symlink_to("x")
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit()
    status = read_json(root / "status" / "training_status.json") or {}
    problems = {p["name"]: p["problem"] for p in status["inbox_problems"]}
    assert {
        "link.jsonl",
        "dangling.jsonl",
        "dir.jsonl",
        "pipe.jsonl",
        "rows.json",
        "evil\\x1b[2J\\xff.jsonl",
    } == (set(problems))
    assert "FIFO" in problems["pipe.jsonl"]
    assert "finetuned convert inbox/rows.json" in problems["rows.json"]
    refused = [e["path"] for e in log_events(root) if e["event"] == "inbox_entry_refused"]
    assert sorted(problems) == sorted(refused)
    assert (inbox / ".hidden.jsonl").exists()


def test_a_file_that_still_grows_is_not_claimed(root: Path) -> None:
    """
    A slow writer is waited for; half a file is never a dataset.
    """
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s["phase"] == "idle", "idle")
        with (root / "inbox" / "slow.jsonl").open("w") as f:
            for i in range(20):
                f.write(json.dumps({"prompt": f"p{i}", "completion": "c"}) + "\n")
                f.flush()
                time.sleep(0.1)
                assert [] == journal(root, "SELECT key FROM datasets")
        daemon.wait_for(lambda s: s["queue"]["training"], "the claim")
    assert [(20,)] == journal(root, "SELECT n_train + n_heldout FROM datasets")


def test_readers_in_a_tight_loop_never_see_half_a_status(root: Path) -> None:
    """
    100,000 reads during a run: every one parses, and no field is ever missing.
    """
    drop(root, "a.jsonl", 120)
    path = root / "status" / "training_status.json"
    bad: set[str] = set()
    reads = 0
    keys: set[frozenset[str]] = set()
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s, "the first write")
        done = threading.Event()

        def read() -> None:
            nonlocal reads
            while not done.is_set() or reads < 100_000:
                try:
                    keys.add(frozenset(json.loads(path.read_bytes())))
                except (ValueError, OSError) as error:
                    bad.add(repr(error))
                reads += 1

        reader = threading.Thread(target=read)
        reader.start()
        try:
            daemon.wait_for(lambda s: ended(s), "the end", seconds=240)
        finally:
            done.set()
            reader.join()
    assert set() == bad
    assert 100_000 <= reads
    assert 1 == len(keys)


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (".current_step", "0"),
        (".loss", "0.0"),
        (".total_evals", "0"),
        ("-r .current_file", "null"),
        (".recent_examples | map(select(.matches)) | length", "0"),
        (".recent_examples | length", "0"),
        (
            ".eval_samples as $s | if ($s|length)==0 then null else ($s |"
            " map(select(.answer_matches == true)) | length) / ($s|length) * 100 end",
            "null",
        ),
        ("[.last_verdict.rules[] | select(.passed | not)] | length", "0"),
    ],
)
def test_the_one_liners_answer_from_the_first_second(
    root: Path, recipe: str, expected: str
) -> None:
    """
    What the ancestor's users type works before there was any eval.
    """
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit()
    option, _, rest = recipe.partition(" ")
    arguments = [option, rest] if option == "-r" else [recipe]
    found = subprocess.run(
        ["jq", *arguments, str(root / "status" / "training_status.json")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(expected) == json.loads(found.stdout)
