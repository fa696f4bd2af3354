"""
A model whose answers take longer than the evaluation may: it is held and never judged by time-outs.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from finetuned.files.run import read_json
from support.daemon import Daemon, make_root
from support.disk import drop, ended, journal
from support.faults import environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("FINETUNED_LONG"), reason="takes 40 s; FINETUNED_LONG=1 runs it"
    ),
]


def report_of(root: Path, job: str) -> dict[str, Any]:
    (run,) = journal(root, "SELECT id FROM runs WHERE kind = 'evaluation' AND job_id = ?", job)
    return read_json(root / "models" / "runs" / run["id"] / "eval_report.json") or {}


def test_a_slow_model_is_held_until_there_is_time_for_its_answers(
    tmp_path: Path, tiny_base: Path, faults: Path
) -> None:
    """
    A pass takes 0.2 s: of 100 questions a sample fits, which is too few, and the verdict says so.

    Once the model is quick, the next evaluation asks everything and what was left out.
    """
    root = make_root(tmp_path / "root", tiny_base, evaluation="max_minutes = 0.2\nfirst_items = 0")
    (root / "benchmarks").mkdir()
    rows = [{"prompt": f"ask {i}", "completion": f"say {i % 7}"} for i in range(100)]
    (root / "benchmarks" / "long.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (faults / "slow-evaluation").touch()
    drop(root, "a.jsonl", 60, "a")
    with Daemon(root, env=environment(faults)) as daemon:
        daemon.wait_for(lambda s: s["evaluation_left_out"], "a plan that leaves something out")
        daemon.wait_for(lambda s: ended(s) == 1, "the first verdict")
        slow = report_of(root, "j000001")
        (faults / "slow-evaluation").unlink()
        drop(root, "b.jsonl", 60, "b")
        daemon.wait_for(lambda s: ended(s) == 2, "the second verdict")
        output = daemon.log.read_text()
    quick = report_of(root, "j000002")
    jobs = journal(root, "SELECT state, reason FROM jobs ORDER BY id")
    asked = slow["subjects"]["candidate"]["suites"]["long"]

    assert "held" == jobs[0]["state"]
    assert "promoted" == jobs[1]["state"]
    assert 0 < slow["suites"][-1]["n_left_out"] < 100
    assert asked["n_asked"] + asked["n_timed_out"] == slow["suites"][-1]["n_items"]
    assert "evaluation_planned" in output
    assert (100, 0) == (quick["suites"][-1]["n_items"], quick["suites"][-1]["n_left_out"])
    late = [o for i in slow["items"] for o in i["outcomes"].values() if o["timed_out"]]
    assert {None} >= {o["correct"] for o in late}
