"""
``finetuned metrics``: what TensorBoard and MLflow read back is what the run folders hold.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

import orjson
import pytest

from finetuned.cli.program import main
from finetuned.files.journal_view import JournalView
from finetuned.reports.trackers.job_history import histories
from support.gateway import free_port
from support.worth_root import make_worth_root


def has(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in packages)


@pytest.fixture
def layout(tmp_path):
    """
    A job whose first run was killed at step 2; the second did that step again and one more.
    """
    layout = make_worth_root(tmp_path)
    steps = {"r000001": [(1, 4.0), (2, 3.0)], "r000002": [(2, 3.5), (3, None), (4, 2.0)]}
    for run, lines in steps.items():
        folder = layout.runs / run
        folder.mkdir(parents=True)
        records = [
            {"step": step, "loss": loss, "learning_rate": 1e-3, "at": f"2026-11-20T09:00:0{step}Z"}
            for step, loss in lines
        ]
        data = b"".join(orjson.dumps(record) + b"\n" for record in records)
        (folder / "metrics.jsonl").write_bytes(data + b'{"step": 9, "los')
    return layout


def test_a_step_that_was_done_again_counts_once(layout):
    """
    And a number that is not finite, or a line that was cut, is left out and counted.
    """
    view = JournalView(layout.journal)
    (job,) = histories(layout, view)
    view.close()
    losses = [(p.step, p.value) for p in job.points if p.name == "train/loss"]

    assert [(1, 4.0), (2, 3.5), (4, 2.0)] == losses
    assert 1 == job.left_out
    assert 0.9 == job.results["accuracy/a.jsonl"]
    assert "a.jsonl, b.jsonl" == job.tags["files"]
    assert "training.lora_rank" in job.settings or "training.learning_rate" in job.settings
    assert job.ended is not None


def test_what_is_missing_is_one_sentence(layout, tmp_path, capsys, monkeypatch):
    """
    A package, a job, a journal, an option.
    """
    to_mlflow = ["metrics", "--to", "mlflow", "--uri", "http://127.0.0.1:9", "--root"]
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    assert 1 == main([*to_mlflow, str(tmp_path)])
    assert "pip install mlflow-skinny" in capsys.readouterr().err
    board = ["metrics", "--to", "tensorboard", "--output", str(tmp_path / "tb")]
    assert 1 == main([*board, "--root", str(tmp_path), "--job", "j000009"])
    assert "there is no job j000009" in capsys.readouterr().err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert 1 == main([*board, "--root", str(empty)])
    assert "no daemon ever ran here" in capsys.readouterr().err
    with pytest.raises(SystemExit) as usage:
        main(["metrics", "--to", "tensorboard", "--root", str(tmp_path)])
    assert 2 == usage.value.code


@pytest.mark.skipif(not has("tensorboard"), reason="pip install tensorboard")
def test_tensorboard_reads_what_was_written(layout, tmp_path):
    """
    By its own reader; a second export takes the place of the first, whole.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    output = tmp_path / "boards"
    for _ in range(2):
        args = ["--to", "tensorboard", "--output", str(output), "--root", str(layout.root)]
        assert 0 == main(["metrics", *args])
    assert [output / "j000001"] == list(output.iterdir())
    read = EventAccumulator(str(output / "j000001"))
    read.Reload()

    found = [(e.step, e.value) for e in read.Scalars("train/loss")]
    assert [(1, 4.0), (2, 3.5), (4, 2.0)] == found
    assert math.isclose(0.9, read.Scalars("accuracy/a.jsonl")[0].value, rel_tol=1e-6)


@pytest.mark.long
@pytest.mark.skipif(not has("mlflow", "fastapi", "alembic"), reason="pip install mlflow")
def test_a_real_mlflow_server_has_each_job_once(layout, tmp_path, capsys):
    """
    Exported twice; what its interface answers is what the run folders hold.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    command += ["--port", str(port), "--backend-store-uri", f"sqlite:///{tmp_path}/ml.db"]
    command += ["--default-artifact-root", str(tmp_path / "artifacts")]
    quiet = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, env=quiet
        )
        try:
            wait_for(f"{url}/health", server, tmp_path / "server.log")
            done = []
            for _ in range(2):
                args = ["--to", "mlflow", "--uri", url, "--root", str(layout.root), "--json"]
                assert 0 == main(["metrics", *args])
                done.append(json.loads(capsys.readouterr().out)["jobs"])
            from mlflow.tracking import MlflowClient

            client = MlflowClient(tracking_uri=url)
            experiment = client.get_experiment_by_name("finetuned")
            runs = client.search_runs([experiment.experiment_id])
            losses = client.get_metric_history(runs[0].info.run_id, "train/loss")
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # with its workers; it keeps nothing
            server.wait()

    assert [{"j000001": "written"}, {"j000001": "there already"}] == done
    (run,) = runs
    assert ("FINISHED", "j000001") == (run.info.status, run.info.run_name)
    assert "v0001" == run.data.tags["finetuned.version"]
    assert 0.9 == run.data.metrics["accuracy/a.jsonl"]
    assert [(1, 4.0), (2, 3.5), (4, 2.0)] == [(m.step, m.value) for m in losses]


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """
    Return when *url* answers.
    """
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310
                return
        except (URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-2000:])
