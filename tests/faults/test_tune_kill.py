"""
A search killed in the middle of a trial: the same command goes on with that trial.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from support.daemon import make_root
from support.tiny_base import write_rows
from support.tuning import searching, steps_of, tune, wait_until

pytest.importorskip("optuna")


def test_a_killed_search_goes_on_where_it_was(tiny_base: Path, tmp_path: Path) -> None:
    """
    No step is lost, no trial is counted twice, and no worker stays behind.
    """
    root = make_root(tmp_path / "root", tiny_base, training="num_train_epochs = 10")
    rows = write_rows(tmp_path / "rows.jsonl", 40, tag="a")
    asked = ("--dataset", str(rows), "--trials", "1", "--no-finals")
    space = ("--search", "weight_decay=0..0.1")
    trials = root / "models" / "tuning" / "rows" / "trials"
    with searching(root, *asked, *space) as search:
        wait_until(lambda: len(steps_of(trials / "0000" / "run-1")) > 5, "the trial trains")
        search.send_signal(signal.SIGKILL)
    status, result, errors = tune(root, *asked, *space)

    assert 0 == status, errors
    assert ["restarted", "done"] == [trial["state"] for trial in result["trials"]]
    assert result["trials"][0]["settings"] == result["trials"][1]["settings"]
    assert ["0000"] == [path.name for path in trials.iterdir()]
    runs = [steps_of(trials / "0000" / f"run-{n}") for n in (1, 2)]
    assert list(range(1, 101)) == [step["step"] for run in runs for step in run]
