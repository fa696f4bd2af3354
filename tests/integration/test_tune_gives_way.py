"""
A search beside a real daemon: a dropped file comes first, and the trial goes on afterwards.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

from support.daemon import Daemon, make_root
from support.tiny_base import write_rows
from support.tuning import searching, steps_of, wait_until

pytest.importorskip("optuna")


def test_a_trial_stops_for_a_dropped_file_and_goes_on_after_it(
    tiny_base: Path, tmp_path: Path
) -> None:
    """
    Within a step of noticing it; the rest of the trial is made from its checkpoint.
    """
    root = make_root(tmp_path / "root", tiny_base, training="num_train_epochs = 40")
    rows = write_rows(tmp_path / "rows.jsonl", 40, tag="a")
    dropped = write_rows(tmp_path / "dropped.jsonl", 20, tag="b")
    trial = root / "models" / "tuning" / "rows" / "trials" / "0000"
    asked = ("--dataset", str(rows), "--trials", "1", "--no-finals")
    space = ("--search", "weight_decay=0..0.1")
    with Daemon(root) as daemon, searching(root, *asked, *space) as search:
        daemon.wait_for(lambda status: status["phase"] == "idle", "idle")
        wait_until(lambda: len(steps_of(trial / "run-1")) > 5, "the trial trains")
        os.rename(dropped, root / "inbox" / "dropped.jsonl")
        at = (root / "inbox").stat().st_mtime
        daemon.wait_for(lambda status: status["version"] or status["head"], "a version", 120)
        assert not (trial / "outcome.json").exists()
        last = steps_of(trial / "run-1")[-1]
        _, errors = search.communicate(timeout=200)

    assert 0 == search.returncode, errors
    assert datetime.fromisoformat(last["at"]).timestamp() - at < 2.0
    runs = [steps_of(run) for run in sorted(trial.glob("run-*"))]
    steps = [step["step"] for run in runs for step in run]
    assert list(range(1, 401)) == steps, "every step is made once"
