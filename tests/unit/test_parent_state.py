"""
The training state that a version carries for the next job of its lineage.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetuned.core.learning_rate import Mix
from finetuned.training.checkpoint import STATE
from finetuned.training.parent_state import TRAINING_STATE, load_parent_state


@pytest.mark.parametrize(
    ("mix", "known"),
    [
        ({"replay_presentations": 300, "rows_per_step": 16}, Mix(300, 16)),
        ({"replay_fraction": 0.05, "rows_per_step": 16}, None),
        (None, None),
    ],
)
def test_a_state_of_a_release_that_replayed_a_share_is_read(
    tmp_path: Path, mix: dict[str, float] | None, known: Mix | None
) -> None:
    """
    Its mix cannot be compared with today's: it is unknown, and no reason to warm up again.
    """
    (tmp_path / TRAINING_STATE).mkdir()
    state = {"lineage_step": 7, "optimizer_reset": "merged", "mix": mix}
    (tmp_path / TRAINING_STATE / STATE).write_text(json.dumps(state))

    assert known == load_parent_state(tmp_path).mix
