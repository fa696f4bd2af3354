"""
A job that stops because held-out loss no longer falls, and the evidence it has to bring.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from finetuned.core.early_stop import why_incomplete
from finetuned.core.line_set import LineSet
from finetuned.files.run import read_json, read_metrics
from support.daemon import PACKAGE_PARENT, Daemon, make_root
from support.disk import drop, ended, journal

PLANTED = Path(__file__).resolve().parents[1] / "faults" / "planted"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    import finetuned.training.job_training  # noqa: F401
    from support.fork_run import ingest

    root = tmp_path_factory.mktemp("data")
    return {"base": tiny_base, "datasets": ingest(root, tiny_base, [("a.jsonl", 60)])}


def run(data: dict[str, Any], folder: Path, **training: Any) -> dict[str, Any]:
    """
    Train to the end and return the candidate's manifest.
    """
    from finetuned.training.worker import main
    from support.fork_run import fork_main, make_run

    make_run(
        folder,
        base=data["base"],
        datasets=data["datasets"],
        training={"lora_dropout": 0.0, **training},
        evaluation={"eval_steps": 2},
    )
    assert 0 == fork_main(main, folder), (folder / "output.log").read_text()
    return read_json(folder / "candidate" / "manifest.json") or {}


@pytest.fixture(scope="module")
def stopped(data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A run that stopped early, because no loss counts as better than the first.
    """
    folder = tmp_path_factory.mktemp("stopped") / "r1"
    run(data, folder, patience=4, min_delta=50.0)
    return folder


def test_a_job_without_progress_stops_after_its_patience_with_evidence(stopped: Path) -> None:
    """
    Looks at 2, 4 and 6: patience 4 is over at step 6.
    """
    manifest = read_json(stopped / "candidate" / "manifest.json") or {}
    assert manifest["planned_steps"] > 6
    assert 6 == manifest["job_steps"] == len(read_metrics(stopped))
    evidence = manifest["early_stop"]
    assert [2, 4, 6] == evidence["steps"]
    assert all(loss > 0 for loss in evidence["losses"])
    rule = {"planned_steps": manifest["planned_steps"], "patience": 4, "min_delta": 50.0}
    assert why_incomplete(manifest, **rule) is None
    assert why_incomplete(manifest, **{**rule, "patience": 6})
    assert why_incomplete({**manifest, "early_stop": None}, **rule)
    assert why_incomplete({**manifest, "job_steps": 5}, **rule)


def test_rows_that_the_stopped_job_never_had_are_named(stopped: Path) -> None:
    """
    The manifest counts what the steps had, and lists the lines that were in none with the reason.
    """
    manifest = read_json(stopped / "candidate" / "manifest.json") or {}
    had = {name for step in read_metrics(stopped) for name in step["examples"]}
    (dataset,) = manifest["datasets"]
    unseen = LineSet.from_text(dataset["unseen_lines"]).lines()

    assert len(had) == dataset["n_examples"]
    assert unseen
    assert had.isdisjoint({f"{dataset['dataset_id']}:{line}" for line in unseen})
    assert "stopped early" in dataset["unseen_because"]


def test_a_job_that_still_learns_is_not_stopped(data: dict[str, Any], tmp_path: Path) -> None:
    """
    The held-out loss is looked at and falls; every planned step is made.
    """
    manifest = run(data, tmp_path / "r1", patience=4, min_delta=0.0, learning_rate=5e-3)
    losses = manifest["early_stop"]["losses"]
    assert manifest["planned_steps"] == manifest["job_steps"]
    assert losses == sorted(losses, reverse=True)


def test_the_held_out_loss_is_that_of_the_final_evaluation(
    data: dict[str, Any], stopped: Path
) -> None:
    """
    Early stopping and the gate mean the same number: nats per supervised held-out token.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from finetuned.data.render import Renderer
    from finetuned.data.store import TokenisedDataset
    from finetuned.data.suite import questions_of
    from finetuned.inference.score import summed_loss

    manifest = read_json(stopped / "candidate" / "manifest.json") or {}
    base = AutoModelForCausalLM.from_pretrained(data["base"], dtype=torch.float32)
    model = PeftModel.from_pretrained(base, stopped / "candidate").eval()
    renderer = Renderer.load(data["base"], max_length=512, enable_thinking=False)
    dataset = TokenisedDataset.open(Path(data["datasets"][0]["dir"]))
    rows = [s for q in questions_of(dataset) for s in renderer.render(q.example)]
    assert len(rows) >= 3
    with torch.no_grad():
        parts = summed_loss(model, [(r.input_ids, r.supervised) for r in rows], 0)
    nats, n = (sum(part) for part in zip(*parts, strict=True))
    assert nats / n == pytest.approx(manifest["early_stop"]["losses"][-1], rel=1e-5)


def test_the_supervisor_believes_the_evidence_and_not_the_worker(
    tmp_path: Path, tiny_base: Path
) -> None:
    """
    A stopped job is evaluated; the same stop without evidence is a failed attempt.
    """
    faults = tmp_path / "faults"
    faults.mkdir()
    (faults / "evidence").touch()
    root = make_root(
        tmp_path / "root",
        tiny_base,
        inbox="max_attempts = 1\nshare_run_max_examples = 0",
        training="patience = 2\nmin_delta = 50.0\nlora_dropout = 0.0",
        evaluation="eval_steps = 1",
    )
    environment = {
        "PYTHONPATH": os.pathsep.join((str(PLANTED), str(PACKAGE_PARENT))),
        "FINETUNED_FAULTS": str(faults),
    }
    drop(root, "a.jsonl", 40, "a")
    with Daemon(root, env=environment) as daemon:
        daemon.wait_for(lambda s: ended(s) == 1, "the evaluation")
        (faults / "evidence-forgotten").touch()
        drop(root, "b.jsonl", 40, "b")
        daemon.wait_for(lambda s: s["queue"]["failed"] == 1, "the refusal")
        daemon.terminate()
        daemon.wait_exit()
    stopped, refused = journal(root, "SELECT * FROM jobs ORDER BY id")
    assert stopped["state"] in ("promoted", "held", "rejected")
    manifest = read_json(root / "models" / "versions" / stopped["version"] / "manifest.json") or {}
    assert 3 == manifest["job_steps"] < manifest["planned_steps"]
    assert ["failed", "ModelError"] == [refused["state"], refused["error_type"]]
    assert "no evidence of an early stop" in refused["error_message"]
    assert 1 == len(list((root / "models" / "versions").iterdir()))
