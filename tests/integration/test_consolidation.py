"""
An adapter merged into a new base version: verified, judged, and gone on from.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import torch

from finetuned.errors import CorruptFile
from finetuned.files.run import EVALS, read_json, read_metrics
from finetuned.layout import Layout
from finetuned.supervisor.recover import open_journal
from support.answers import answers
from support.daemon import Daemon, make_root
from support.disk import log_events
from support.tiny_base import write_rows

pytestmark = pytest.mark.slow

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "eval_report.schema.json"


def drop(daemon: Daemon, name: str) -> None:
    part = daemon.root / f"{name}.part"
    write_rows(part, 60, tag=name)
    part.rename(daemon.root / "inbox" / f"{name}.jsonl")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """
    A root where a file was trained, its adapter merged, and another file trained on that.
    """
    root = make_root(
        tmp_path_factory.mktemp("consolidation") / "root",
        tiny_base,
        training="learning_rate = 5e-3",
        evaluation="kl_warning = 1e-9",
    )
    with Daemon(root) as daemon:
        drop(daemon, "a")
        daemon.wait_for(lambda s: s["version"] == "v0001" and s["job"] is None, "v0001")
        (root / "control" / "consolidate").touch()
        daemon.wait_for(lambda s: s["version"] == "v0002" and s["job"] is None, "the merge")
        (root / "control" / "consolidate").touch()
        daemon.wait_for(
            lambda s: "consolidated already" in str(s["last_command"]["outcome"]), "the answer"
        )
        drop(daemon, "b")
        daemon.wait_for(lambda s: s["version"] == "v0003" and s["job"] is None, "v0003")
        daemon.terminate()
        assert 0 == daemon.wait_exit()
    return root


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(40)[None]).logits


def test_the_merged_version_says_what_base_and_adapter_say(root: Path, tiny_base: Path) -> None:
    """
    It loads with transformers alone, through the folder it is published as.
    """
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    versions = root / "models" / "versions"
    merged = AutoModelForCausalLM.from_pretrained(versions / "v0002")
    base = AutoModelForCausalLM.from_pretrained(tiny_base)
    plain = logits(base)
    adapted = logits(PeftModel.from_pretrained(base, versions / "v0001"))

    assert 1e-3 < float((adapted - plain).abs().max())  # there is something to merge
    assert 1e-5 > float((logits(merged) - adapted).abs().max() / adapted.abs().max())
    manifest = read_json(versions / "v0002" / "manifest.json") or {}
    assert ("v0001", "v0001") == (manifest["consolidates"], manifest["parent"])
    assert manifest["merge"]["difference"] <= manifest["merge"]["tolerance"]


def test_the_page_that_says_how_to_load_a_version_is_right(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Its lines, run in the root, print what the evaluation is answered by an adapter on a merge.
    """
    page = (SCHEMA.parent / "files.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (asked,) = re.findall(r'"content": "(.*?)"', code)
    monkeypatch.chdir(root)

    exec(code.replace(asked, "say b3").replace("tokens = 256", "tokens = 8"), {})  # noqa: S102

    expected = answers(root, "v0003", ["say b3"])["say b3"]
    assert [expected.strip()] == [capsys.readouterr().out.strip()]


def test_the_gate_judged_the_merge_without_asking_for_a_gain(root: Path) -> None:
    """
    Evidence is asked of it as of any candidate; only better it need not be.
    """
    report = read_json(root / "models" / "versions" / "v0002" / "eval_report.json") or {}

    assert "consolidation" == report["job_kind"]
    names = {rule["name"]: rule["passed"] for rule in report["verdict"]["rules"]}
    assert names["merge"]
    assert names["old_loss"]
    assert "gain" not in names


@pytest.mark.parametrize("version", ["v0001", "v0002", "v0003"])
def test_every_report_fits_its_schema(root: Path, version: str) -> None:
    """
    Of a first job, whose incumbent is the base; of a merge; and of a job on a merged base.
    """
    report = read_json(root / "models" / "versions" / version / "eval_report.json")
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))


def test_training_goes_on_from_the_new_base_with_a_fresh_adapter(root: Path) -> None:
    """
    The optimizer is reset and says so; the replay sample and the steps go along.
    """
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    versions = root / "models" / "versions"
    manifest = read_json(versions / "v0003" / "manifest.json") or {}
    before = read_json(versions / "v0001" / "manifest.json") or {}
    assert ("v0002", "v0002") == (manifest["parent"], manifest["base_version"])
    assert manifest["lineage_step"] == before["lineage_step"] + manifest["job_steps"]
    assert 0 < manifest["n_replayed"]
    ready = [e for e in log_events(root) if e["event"] == "training_ready"]
    assert "merged into a new base" in str(ready[-1]["optimizer_state"])
    assert "merged" in str(ready[-1]["warm_up"])
    base = AutoModelForCausalLM.from_pretrained(versions / "v0002")
    plain = logits(base)
    model = PeftModel.from_pretrained(base, root / "current_model")
    assert 1e-4 < float((logits(model) - plain).abs().max())


def test_a_job_shows_its_distance_and_the_report_its_curve(root: Path) -> None:
    """
    From the first look on: in the run and in the report.
    """
    run = [str(e["run_id"]) for e in log_events(root) if e["event"] == "training_ready"][-1]
    records = read_metrics(root / "models" / "runs" / run, EVALS)
    report = read_json(root / "models" / "versions" / "v0003" / "eval_report.json") or {}
    curve = [[r["step"], r["kl"]] for r in records if r["kl"] is not None]
    assert curve
    assert curve == report["curves"]["kl"]


def test_the_old_base_and_every_step_back_are_still_there(root: Path) -> None:
    """
    Rolling back over the merge is a flip of the link like any other.
    """
    from finetuned.registry.current_model import promote, rollback

    layout = Layout(root)
    assert ["v0001", "v0002", "v0003"] == sorted(p.name for p in layout.backups.iterdir())
    assert "v0002" == rollback(layout)
    assert "v0001" == rollback(layout)
    promote(layout, "v0003")
    assert "models/versions/v0003" == os.readlink(root / "current_model")


def test_what_a_version_sits_on_is_verified_with_it(root: Path, tmp_path: Path) -> None:
    """
    One bit in a merged base is seen before an adapter on it is promoted, asked or trained on.
    """
    from finetuned.config import Config
    from finetuned.evaluation.subjects import Models, Subject
    from finetuned.registry.current_model import promote
    from finetuned.registry.fallback import is_intact, repair
    from finetuned.training.model_keeper import ModelKeeper

    lost = tmp_path / "root"
    shutil.copytree(root, lost, symlinks=True)
    layout = Layout(lost)
    base, version = layout.versions / "v0002", layout.versions / "v0003"
    data = bytearray((base / "model.safetensors").read_bytes())
    data[-9] ^= 16
    (base / "model.safetensors").chmod(0o644)
    (base / "model.safetensors").write_bytes(data)

    assert not is_intact(layout, "v0003")
    with pytest.raises(CorruptFile):
        promote(layout, "v0003")
    with pytest.raises(CorruptFile):
        Models(Config().model).get(Subject("candidate", base, version))
    with pytest.raises(CorruptFile):
        ModelKeeper().get(base, version, Config(), pad_token_id=0)
    repair(layout, "v0003")  # from the backup of its base
    promote(layout, "v0003")
    # A merged model stands alone: what it was merged into is not needed for it.
    shutil.rmtree(layout.versions / "v0001")
    assert is_intact(layout, "v0002")


def test_a_lost_journal_comes_back_with_its_scores(root: Path, tmp_path: Path) -> None:
    """
    Versions carry what they were judged by, so the matrix is made again from them.
    """
    found = []
    lost = tmp_path / "root"
    shutil.copytree(root, lost, symlinks=True)
    (lost / "models" / "journal.sqlite3").unlink()
    for place in (root, lost):
        journal = open_journal(Layout(place))
        versions = [row.id for row in journal.versions.all()]
        scores = [replace(s, at="") for v in versions for s in journal.scores.of_version(v)]
        jobs = [(job.id, job.kind, job.state, job.version) for job in journal.jobs.in_states()]
        found.append((scores, jobs))
        journal.close()

    assert found[0] == found[1]
    assert {"v0001", "v0002", "v0003"} == {score.version for score in found[1][0]}


def test_a_merge_is_a_job_in_the_journal(root: Path) -> None:
    """
    It is queued, tried again and recorded like a training.
    """
    with sqlite3.connect(root / "models" / "journal.sqlite3") as db:
        rows = db.execute("SELECT kind, state, version FROM jobs ORDER BY id").fetchall()

    assert [
        ("training", "promoted", "v0001"),
        ("consolidation", "promoted", "v0002"),
        ("training", "promoted", "v0003"),
    ] == rows
