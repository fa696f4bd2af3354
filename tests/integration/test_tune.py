"""
A whole search with real workers and a tiny model: trials, finals, seeds, config.toml.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from finetuned.config import load_config
from support.daemon import make_root
from support.tiny_base import write_rows
from support.tuning import SPACE, tune

pytest.importorskip("optuna")

SEARCH = (*SPACE, "--trials", "3", "--finalists", "1", "--pruner", "none")


@pytest.fixture(scope="module")
def study(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """
    A root after a search, and what the search printed.
    """
    root = make_root(tmp_path_factory.mktemp("tune") / "root", tiny_base)
    write_rows(root / "rows.jsonl", 40, tag="a")
    status, result, errors = tune(root, "--dataset", str(root / "rows.jsonl"), *SEARCH)
    assert 0 == status, errors
    return root, result


def test_a_search_says_which_settings_to_use(study: tuple[Path, dict[str, Any]]) -> None:
    """
    After as many trials as were asked for, the gate's evidence, and three seeds of both settings.
    """
    _, result = study
    trials = result["trials"]

    assert 3 == len(trials)
    assert "today" == trials[0]["origin"]
    assert {"done"} == {trial["state"] for trial in trials}
    assert [1] == [len(f["evidence"]["suites"]) for f in result["finalists"]]
    assert [1, 2, 3] == [pair["seed"] for pair in result["comparison"]["pairs"]]
    assert result["recommended"], result["advice"]
    best = min(t["loss"] for t in trials if t["loss"] is not None)
    assert best < trials[0]["loss"] < result["loss_before"]


def test_a_search_leaves_the_registry_alone_and_few_weights(
    study: tuple[Path, dict[str, Any]],
) -> None:
    """
    Weights of the finalists and no others; no version, no journal, no file in the inbox.
    """
    root, result = study
    folder = root / "models" / "tuning" / "rows"

    assert 1 == len(list(folder.glob("**/candidate")))
    assert [] == list(folder.glob("**/checkpoints"))
    assert not (root / "models" / "versions").exists()
    assert not (root / "models" / "journal.sqlite3").exists()
    page = Path(result["page"]).read_text()
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
    assert "By learning_rate" in page


def test_settings_are_written_and_the_old_file_is_kept(
    study: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """
    The study is not trained again for it.
    """
    root, result = study
    other = tmp_path / "root"
    shutil.copytree(root, other, symlinks=True)
    trained = sorted((other / "models" / "tuning").glob("**/run-*"))
    status, applied, errors = tune(
        other, "--dataset", str(root / "rows.jsonl"), *SEARCH, "--apply", seconds=60
    )

    assert 0 == status, errors
    assert trained == sorted((other / "models" / "tuning").glob("**/run-*"))
    training = load_config(other / "config.toml").training
    recommended = result["recommended"]
    assert recommended == {name: getattr(training, name) for name in recommended}
    before = (root / "config.toml").read_bytes()
    assert before == (other / "config.toml.before-tune").read_bytes()
    assert "config.toml.before-tune" in applied["applied"]


def test_a_study_whose_dataset_changed_is_refused_and_stays(
    study: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """
    One message that names what changed and the way on; also for a file that was deleted.
    """
    root, _ = study
    changed = write_rows(tmp_path / "rows.jsonl", 41, tag="b")
    result = (root / "models" / "tuning" / "rows" / "result.json").read_bytes()
    for file, said in ((changed, "sha256"), (tmp_path / "gone" / "rows.jsonl", "no such file")):
        status, printed, errors = tune(root, "--dataset", str(file), *SEARCH, seconds=60)

        assert 1 == status
        assert said in errors
        assert said in printed["error"]
        assert "Traceback" not in errors
    status, printed, _ = tune(root, "--dataset", str(changed), *SEARCH, seconds=60)
    assert "--study NAME" in printed["error"]
    assert "--fresh" in printed["error"]
    assert result == (root / "models" / "tuning" / "rows" / "result.json").read_bytes()
