"""
A search killed in the middle of a trial: the same command goes on with that trial.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from support.daemon import make_root
from support.tiny_base import write_rows
from support.tuning import start_tune, steps_of, tune, wait_until

pytest.importorskip("optuna")


def test_a_killed_search_goes_on_where_it_was(tiny_base: Path, tmp_path: Path) -> None:
    """
    No step is lost, no trial is counted twice, and no worker stays behind.
    """
    root = make_root(tmp_path / "root", tiny_base, training="num_train_epochs = 20")
    rows = write_rows(tmp_path / "rows.jsonl", 40, tag="a")
    asked = (
        *("--dataset", str(rows), "--trials", "2", "--no-finals", "--pruner", "none"),
        *("--search", "weight_decay=0..0.1"),
    )
    trials = root / "models" / "tuning" / "rows" / "trials"
    search = start_tune(root, *asked)
    wait_until(lambda: len(steps_of(trials / "0001" / "run-1")) > 5, "the second trial trains")
    search.send_signal(signal.SIGKILL)
    search.communicate(timeout=30)
    status, result, errors = tune(root, *asked)

    assert 0 == status, errors
    assert ["done", "restarted", "done"] == [trial["state"] for trial in result["trials"]]
    assert ["0000", "0001"] == sorted(path.name for path in trials.iterdir())
    first, second = (steps_of(trials / "0001" / f"run-{n}") for n in (1, 2))
    assert list(range(1, 201)) == [step["step"] for step in (*first, *second)]
    assert result["trials"][1]["settings"] == result["trials"][2]["settings"]
