"""
Found settings in config.toml: they are in force, everything else stays, the old file is kept.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.config import Config, load_config
from finetuned.config.default_file import default_toml
from finetuned.core.toml_edit import with_values
from finetuned.errors import ConfigError
from finetuned.tuning.apply import apply_settings

FOUND = {"learning_rate": 2e-3, "lr_scheduler_type": "cosine", "average": False, "r": 8}

FILES = {
    "all defaults": default_toml(),
    "empty": "",
    "another table": "[gate]\nconfidence = 0.9\n",
    "comments": "# mine\n[training]  # here\nr = 16 # rank\n# learning_rate = 1\n\n[gate]\n",
    "twice the name": "[model]\nbase = 'r = 3'\n[training]\nr=4\n[evaluation]\neval_steps = 7\n",
    "no newline at the end": "[training]\nr = 4",
}


@pytest.mark.parametrize("name", FILES)
def test_applied_settings_are_in_force_and_the_rest_is_as_before(tmp_path: Path, name: str) -> None:
    """
    However the file was written; comments stay.
    """
    config = tmp_path / "config.toml"
    config.write_text(FILES[name])
    before = load_config(config)
    kept = apply_settings(config, FOUND)

    after = load_config(config)
    assert FOUND == {key: getattr(after.training, key) for key in FOUND}
    assert {**before.as_dict(), "training": None} == {**after.as_dict(), "training": None}
    others = before.as_dict()["training"].keys() - FOUND
    assert all(getattr(before.training, k) == getattr(after.training, k) for k in others)
    assert kept is not None
    assert FILES[name] == kept.read_text()
    comments = [line for line in FILES[name].splitlines() if line.startswith("#")]
    assert set(comments) <= set(config.read_text().splitlines())


def test_a_missing_file_is_made_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    """
    Old files are never overwritten.
    """
    config = tmp_path / "config.toml"

    assert apply_settings(config, FOUND) is None
    text = config.read_text()
    assert apply_settings(config, FOUND) is None
    assert text == config.read_text()
    names = []
    for r in (9, 10):
        kept = apply_settings(config, {"r": r})
        assert kept is not None
        names.append(kept.name)
    assert ["config.toml.before-tune", "config.toml.before-tune-2"] == names


@pytest.mark.parametrize("text", ["training = { r = 4 }\n", "training.r = 4\n"])
def test_a_file_that_cannot_be_edited_stays_as_it_is(tmp_path: Path, text: str) -> None:
    """
    The message says what to write by hand.
    """
    config = tmp_path / "config.toml"
    config.write_text(text)

    with pytest.raises(ConfigError, match="r = 8"):
        apply_settings(config, {"r": 8})
    assert text == config.read_text()
    assert [config] == list(tmp_path.iterdir())


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 1024), st.integers(1, 1024))
def test_a_value_is_put_where_the_old_one_was(old: int, new: int) -> None:
    """
    On its line, once, with its comment.
    """
    text = f"[training]\nr = {old}  # rank\n"

    assert f"[training]\nr = {new}  # rank\n" == with_values(text, "training", {"r": str(new)})
    assert Config().training.r == load_config(Path("/nonexistent")).training.r
