"""
``finetuned tune``: wrong usage, and what a study that is there looks like.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetuned.cli.program import main
from finetuned.core.promotion import VersionVerdict
from finetuned.core.tuning.comparison import SeedPair, compare
from finetuned.core.tuning.facts import StudyFacts
from finetuned.core.tuning.trial import Trial, TrialState
from finetuned.files.study_result import (
    Finalist,
    GateEvidence,
    StudyResult,
    SuiteScore,
    read_result,
    write_result,
)

RESULT = StudyResult(
    study="rows",
    facts=StudyFacts(
        file="<b>rows</b>.jsonl",
        sha256="a" * 64,
        n_train=90,
        n_held_out=10,
        split={},
        base="micro",
        start="v0003",
        start_sha256="b",
        space=("learning_rate=0.0001..0.01:log", "lr_scheduler_type=wsd,cosine"),
        training={},
        model={},
    ),
    today={"learning_rate": 5e-4, "lr_scheduler_type": "wsd"},
    trials=tuple(
        Trial(
            number=i,
            state=TrialState.PRUNED if loss is None else TrialState.DONE,
            origin="search" if i else "today",
            settings={"learning_rate": 5e-4 * (i + 1), "lr_scheduler_type": "wsd"},
            loss=loss,
            forgetting=None if loss is None else 0.1 * i,
            steps=20,
            looks=((1, 2.0), (5, 1.5)),
        )
        for i, loss in enumerate((1.0, None, 0.5))
    ),
    front=(2, 0),
    importance={"learning_rate": 0.9, "lr_scheduler_type": 0.1},
    loss_before=3.0,
    finalists=(
        Finalist(
            number=2,
            evidence=GateEvidence(
                verdict=VersionVerdict.PROMOTED,
                reason="gain: shown",
                harm=(),
                suites=(SuiteScore(title="rows", origin="new", asked=10, right=8, right_before=3),),
            ),
        ),
    ),
    winner=2,
    comparison=compare(
        [SeedPair(seed=s, loss_today=1.0, loss_found=0.5 + s / 100) for s in (1, 2, 3)]
    ),
    advice="use the found settings",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "tuning" / "rows"
    folder.mkdir(parents=True)
    write_result(folder / "result.json", RESULT)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--dataset FILE is missing"),
        (["--dataset", "x", "--search", "lr=1..2"], "there is no setting training.lr"),
        (["--dataset", "x", "--seeds", "2"], "--seeds must be 3 or more"),
        (["--dataset", "x", "--trials", "0"], "not a number from 1 to 10000"),
        (["--dataset", "x", "--pruner", "axe"], "invalid choice"),
    ],
)
def test_wrong_usage_ends_with_2(root, arguments, said, capsys):
    """
    Before anything is read or trained.
    """
    with pytest.raises(SystemExit) as ended:
        main(["tune", "--root", str(root), *arguments])

    assert 2 == ended.value.code
    assert said in capsys.readouterr().err


def test_a_study_is_shown_as_table_page_and_json(root, capsys):
    """
    All three say the same; nothing is trained, and Optuna is not needed.
    """
    assert 0 == main(["tune", "--root", str(root), "--show", "--study", "rows"])
    text = capsys.readouterr().out
    assert 0 == main(["tune", "--root", str(root), "--show", "--study", "rows", "--json"])
    printed = json.loads(capsys.readouterr().out)
    page = Path(printed["page"]).read_text()

    assert "2 done, 1 pruned" in text
    assert "finalist 2: promoted" in text
    assert "with 95% confidence" in text
    assert printed["recommended"] == RESULT.trials[2].settings
    assert "<b>rows</b>" not in page
    for title in ("History", "Looks", "Loss and forgetting", "What matters", "By learning_rate"):
        assert f"<figcaption>{title}</figcaption>" in page
    assert 0 == main(["tune", "--root", str(root), "--show"])
    assert "rows" in capsys.readouterr().out


def test_a_result_is_read_again_and_a_cut_one_counts_as_none(root, capsys):
    """
    A study without a readable result is named as missing, with those that are there.
    """
    path = root / "models" / "tuning" / "rows" / "result.json"
    assert RESULT == read_result(path)
    path.write_bytes(path.read_bytes()[:100])

    assert read_result(path) is None
    assert 1 == main(["tune", "--root", str(root), "--show", "--study", "rows"])
    assert "there is no study rows" in capsys.readouterr().err
