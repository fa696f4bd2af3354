"""
The rule that a file's answers follow from their questions.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from finetuned.config import GateConfig
from finetuned.core.evidence import Evidence, ItemPair, SuiteEvidence, evidence_of
from finetuned.core.gate.answers_follow import answers_follow
from finetuned.core.gate.first_look import settles
from finetuned.core.gate.judge import judge
from finetuned.core.promotion import VersionVerdict

ALPHA = 0.05


def file(
    name: str, losses: list[tuple[float, float | None]], *, clusters: int = 99
) -> SuiteEvidence:
    """
    Return the held-out rows of a new file, each with its loss after its own and another question.
    """
    pairs = tuple(
        ItemPair(str(i), True, False, True, True, own, 20.0, 10, f"{name}/{i % clusters}", swapped)
        for i, (own, swapped) in enumerate(losses)
    )
    return SuiteEvidence(name, f"{name}.jsonl", "new", True, len(pairs), pairs, None)


GOOD = file("good", [(5.0, 9.0)] * 8)
MIXED_UP = file("bad", [(5.0, 5.5), (6.0, 5.0)] * 4)


def test_answers_that_do_not_follow_from_their_questions_are_held() -> None:
    """
    The gain in loss is shown; the file is named, and everything more that is asked is in vain.
    """
    verdict = judge(Evidence(suites=(MIXED_UP,)), GateConfig())

    assert VersionVerdict.HELD is verdict.outcome
    assert ["answers_follow"] == [rule.name for rule in verdict.failed]
    assert "the answers of bad.jsonl are not shown to be likelier" in verdict.reason
    assert settles(verdict, GateConfig())


def test_no_share_of_a_mixed_up_file_is_worth_keeping() -> None:
    """
    If it made the model forget, it is rejected, and no weights in between are tried.
    """
    wrong = [
        ItemPair(str(i), i > 30, True, True, True, 5.0, 5.0, 10, f"old/{i}") for i in range(60)
    ]
    old = SuiteEvidence("old", "old.jsonl", "old", True, 60, tuple(wrong), None)

    assert judge(Evidence(suites=(GOOD, old)), GateConfig()).forgot
    verdict = judge(Evidence(suites=(MIXED_UP, old)), GateConfig())
    assert VersionVerdict.REJECTED is verdict.outcome
    assert not verdict.forgot


def test_answers_that_follow_are_promoted() -> None:
    """
    The rule stands among those that passed.
    """
    verdict = judge(Evidence(suites=(GOOD,)), GateConfig())

    assert verdict.promote
    assert [True] == [rule.passed for rule in verdict.rules if rule.name == "answers_follow"]


def test_good_files_do_not_hide_a_bad_one() -> None:
    """
    Files that were learnt in one run are tested one by one.
    """
    files = [replace(GOOD, title=f"{i}.jsonl") for i in range(9)]

    (rule,) = answers_follow([*files, MIXED_UP, replace(MIXED_UP, title="worse.jsonl")], ALPHA)

    assert not rule.passed
    assert "the answers of bad.jsonl and 1 more are not shown" in rule.detail
    assert {"files": 11.0, "files_failed": 2.0} == {
        k: v for k, v in rule.numbers.items() if k != "p_value"
    }


@pytest.mark.parametrize(
    "suite",
    [
        file("old", [(5.0, None)] * 8),
        file("few", [(5.0, 5.0)] * 4),
        file("alike", [(5.0, 5.0)] * 40, clusters=4),
        file("broken", [(float("nan"), 5.0), (5.0, float("nan"))] * 8),
    ],
    ids=lambda suite: suite.name,
)
def test_what_cannot_show_it_is_left_alone(suite: SuiteEvidence) -> None:
    """
    Without a second loss, or with so few kinds of rows that chance is never small, nothing is said.
    """
    assert [] == answers_follow([suite], ALPHA)


def test_mixed_up_files_rarely_pass_by_chance() -> None:
    """
    At most one in twenty of them, whatever the spread of their losses.
    """
    rng = random.Random(1)
    passed = 0
    for _ in range(400):
        losses = [(rng.lognormvariate(1, 1), rng.lognormvariate(1, 1)) for _ in range(12)]
        passed += answers_follow([file("bad", [(a, b) for a, b in losses])], ALPHA)[0].passed

    assert passed < 34  # 5% of 400 is 20; more than 33 is seen less than once in 400


def test_a_report_without_the_second_loss_is_read_as_before() -> None:
    """
    Reports of earlier versions of the program have none.
    """
    outcome = {"correct": True, "stopped": True, "loss": 1.0, "n_tokens": 3}
    item = {
        "suite": "s",
        "id": "1",
        "cluster": "s/1",
        "outcomes": {"candidate": outcome, "incumbent": outcome},
    }
    for more, expected in (({}, None), ({"swapped_loss": None}, None), ({"swapped_loss": 0}, 0.0)):
        found = evidence_of({"suites": [{"name": "s"}], "items": [{**item, **more}]})
        assert expected == found.suites[0].pairs[0].swapped_loss
