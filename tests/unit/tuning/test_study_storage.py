"""
Studies in a real database: what is kept, what is continued, what is refused.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from finetuned.core.tuning.facts import StudyFacts, differences
from finetuned.core.tuning.space import parse_space
from finetuned.core.tuning.trial import TrialState
from finetuned.errors import ConfigError, ModelError
from finetuned.layout import Layout
from finetuned.tuning.folder import name_of, study_folder
from finetuned.tuning.outcome import Outcome, read_outcome, write_outcome
from finetuned.tuning.search import keep_best
from finetuned.tuning.study import Study, finished, require_optuna

KNOBS = parse_space(["learning_rate=1e-4..1e-2", "r=8,16"])
FACTS = StudyFacts(
    file="rows.jsonl",
    sha256="a" * 64,
    n_train=90,
    n_held_out=10,
    split={"holdout_fraction": 0.1},
    base="micro",
    start="v0003",
    start_sha256="b" * 64,
    space=tuple(map(str, KNOBS)),
    training={"num_train_epochs": 2},
    model={"device": "cpu"},
)


def outcome(loss: float | None) -> Outcome:
    state = TrialState.PRUNED if loss is None else TrialState.DONE
    return Outcome(identity="x", state=state, loss=loss, steps=7, old_loss=1.5, old_loss_before=1.0)


@pytest.fixture
def url(tmp_path: Path) -> str:
    require_optuna()
    return f"sqlite:///{tmp_path / 'study.sqlite3'}"


def test_the_settings_of_today_are_the_first_trial(url: str) -> None:
    """
    And what is no point of the space is not tried.
    """
    study = Study("s", url, KNOBS)

    assert study.suggest({"learning_rate": 5e-4, "r": 16}, "today")
    assert not study.suggest({"learning_rate": 5e-4, "r": 17}, "study other")
    first = study.ask()
    first.tell(outcome(0.5))
    (trial,) = study.trials()
    assert {"learning_rate": 5e-4, "r": 16} == first.settings == trial.settings
    assert ("today", 0.5, 0.5, 7) == (trial.origin, trial.loss, trial.forgetting, trial.steps)


def test_a_trial_whose_process_was_killed_is_begun_again_in_its_own_folder(url: str) -> None:
    """
    With the same settings, however often that happens; it counts once.
    """
    settings = Study("s", url, KNOBS).ask().settings
    for number in (1, 2):
        study = Study("s", url, KNOBS)
        assert 1 == study.restart_lost(shared=False)
        again = study.ask()
        assert (settings, 0, number) == (again.settings, again.folder_number, again.number)
    again.tell(outcome(1.0))

    assert 1 == len(finished(study.trials()))
    assert [TrialState.RESTARTED] * 2 == [t.state for t in study.trials()[:2]]


def test_a_trial_of_another_machine_is_left_to_it(url: str) -> None:
    """
    Unless it has said nothing for long.
    """
    study = Study("s", url, KNOBS)
    trial = study.ask()
    trial._trial.set_user_attr("machine", "another")

    assert 0 == study.restart_lost(shared=True)
    trial._trial.set_user_attr("beat", 0.0)
    assert 1 == study.restart_lost(shared=True)


def test_a_worse_trial_is_pruned_and_one_that_is_nearly_over_is_not(url: str) -> None:
    """
    The pruner compares losses at the same stage.
    """
    study = Study("s", url, KNOBS)
    good = study.ask()
    assert not any(good.should_end(stage, 1 / stage) for stage in range(1, 11))
    good.tell(outcome(0.1))
    bad = study.ask()

    assert bad.should_end(1, 9.0)
    assert not bad.should_end(10, 9.0)


def test_a_study_goes_on_with_other_numbers_than_it_began_with(url: str) -> None:
    """
    A sampler that drew its first numbers again would try the same settings twice.
    """
    seen = set()
    for _ in range(4):
        trial = Study("s", url, KNOBS).ask()
        trial.tell(outcome(1.0))
        seen.add(trial.settings["learning_rate"])

    assert 4 == len(seen)


def test_what_the_trials_have_in_common_is_kept_with_them(url: str) -> None:
    """
    So that a machine which joins later finds it too.
    """
    study = Study("s", url, KNOBS)
    assert study.facts is None
    study.facts = FACTS

    assert FACTS == Study("s", url, KNOBS).facts


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "c" * 64}, "the dataset: rows.jsonl has sha256 cccccccccccc"),
        ({"split": {"holdout_fraction": 0.2}}, "data.holdout_fraction: it was 0.1, now it is 0.2"),
        ({"start": "v0004"}, "trials went on from v0003, now from v0004"),
        ({"start_sha256": "d"}, "made again"),
        ({"space": ("r=8,16",)}, "the space: it was learning_rate="),
        ({"training": {"num_train_epochs": 3}}, "training.num_train_epochs: it was 2, now it is 3"),
        ({"base": "other"}, "the base model: it was micro"),
        ({"n_held_out": 11}, "the split: 90 rows to train and 10 held out, now 90 and 11"),
    ],
)
def test_what_changed_is_named(change: dict[str, object], said: str) -> None:
    """
    One phrase for each thing; nothing if nothing did.
    """
    (phrase,) = differences(FACTS, replace(FACTS, **change))

    assert said in phrase
    assert [] == differences(FACTS, FACTS)


@pytest.mark.parametrize("bytes_", [b"SQLite format 3\0" + b"x" * 500, b"not a database" * 99])
def test_a_damaged_study_gets_one_message(tmp_path: Path, url: str, bytes_: bytes) -> None:
    """
    That says what to do, and no traceback.
    """
    (tmp_path / "study.sqlite3").write_bytes(bytes_)

    with pytest.raises(ModelError, match="start it over with --fresh"):
        Study("s", url, KNOBS)


def test_a_cut_study_gets_one_message(tmp_path: Path, url: str) -> None:
    """
    Half of a database is no database.
    """
    study = Study("s", url, KNOBS)
    study.ask().tell(outcome(1.0))
    path = tmp_path / "study.sqlite3"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(ModelError, match="start it over with --fresh"):
        Study("s", url, KNOBS).trials()


def test_an_empty_study_begins(tmp_path: Path, url: str) -> None:
    """
    A file without a byte is what a kill at the very start leaves.
    """
    (tmp_path / "study.sqlite3").touch()

    assert [] == Study("s", url, KNOBS).trials()


def test_a_database_that_cannot_be_reached_is_named_without_its_password() -> None:
    """
    A message may be copied into a report.
    """
    require_optuna()
    with pytest.raises((ConfigError, ModelError)) as caught:
        Study("s", "postgresql://user:secret@localhost:1/x", KNOBS)

    assert "postgresql://user@localhost:1/x" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_outcome_counts_for_its_own_trial_only(tmp_path: Path) -> None:
    """
    A folder that is left of another study is not taken for a result.
    """
    write_outcome(tmp_path, outcome(0.5))

    assert outcome(0.5) == read_outcome(tmp_path, "x") == read_outcome(tmp_path)
    assert read_outcome(tmp_path, "y") is None
    (tmp_path / "outcome.json").write_text('{"identity"')
    assert read_outcome(tmp_path) is None


def test_only_the_best_candidates_stay_on_the_disk(tmp_path: Path, url: str) -> None:
    """
    However many trials there are.
    """
    study = Study("s", url, KNOBS, pruner="none")
    folder = study_folder(Layout(tmp_path), "s")
    for loss in (0.5, 0.1, 0.9, 0.2):
        trial = study.ask()
        candidate = folder.trial(trial.number) / "run-1" / "candidate"
        candidate.mkdir(parents=True)
        trial.tell(replace(outcome(loss), old_loss=None))
    keep_best(folder, study.trials(), 2)

    kept = sorted(path.parents[1].name for path in folder.trials.glob("*/run-1/candidate"))
    assert ["0001", "0003"] == kept


def test_a_study_s_name_is_the_name_of_a_folder(tmp_path: Path) -> None:
    """
    Nothing outside models/tuning/ is ever written.
    """
    assert "my-rows.v2" == name_of(Path("/x/my rows.v2.jsonl"))
    assert "study" == name_of(Path("....jsonl"))
    for name in ("../x", "", ".hidden", "a/b", "a\n"):
        with pytest.raises(ConfigError, match="cannot be the name of a study"):
            study_folder(Layout(tmp_path), name)
