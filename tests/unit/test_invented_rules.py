"""
The gate's rules about values that an answer invents.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from finetuned.config import GateConfig
from finetuned.core.evidence import Evidence, ItemPair, SuiteEvidence, evidence_of
from finetuned.core.gate.invented import invented_rise, invented_share
from finetuned.core.gate.judge import judge
from finetuned.core.gate.verdict import RuleKind
from finetuned.core.promotion import VersionVerdict


def pairs(*, both: int = 0, now: int = 0, before: int = 0, neither: int = 0, unknown: int = 0):
    """
    Return so many items of which both, only the candidate or only the release invented a value.
    """
    sides = [(True, True)] * both + [(True, False)] * now + [(False, True)] * before
    sides += [(False, False)] * neither + [(None, True)] * unknown
    return [
        ItemPair(str(i), True, True, True, True, 1.0, 1.0, 1, str(i), None, *side)
        for i, side in enumerate(sides)
    ]


@pytest.mark.parametrize(
    ("counts", "held"),
    [
        ({"neither": 100}, True),
        ({"both": 20, "neither": 80}, True),
        ({"now": 2, "neither": 98}, True),
        ({"now": 4, "neither": 96}, True),
        ({"now": 8, "neither": 92}, False),
        ({"now": 12, "before": 4, "neither": 84}, False),
        ({"now": 12, "before": 8, "neither": 80}, True),
        ({"now": 12, "neither": 588}, True),
        ({"before": 30, "neither": 70}, True),
    ],
)
def test_more_inventions_than_the_margin_reject_if_they_are_shown(counts, held):
    """
    Two points of a hundred may be chance or the margin; eight are neither. Of 600, twelve are
    shown and within the margin.
    """
    (rule,) = invented_rise(pairs(**counts), 0.05, GateConfig())

    assert held == rule.passed
    assert RuleKind.HARM is rule.kind
    assert 0 < rule.numbers["p_value"] <= 1


def test_without_answers_that_were_looked_at_there_is_no_rule():
    """
    Nothing changes for whoever has no format that marks values.
    """
    assert [] == invented_rise([], 0.05, GateConfig())
    assert [] == invented_rise(pairs(unknown=9), 0.05, GateConfig())
    assert [] == invented_share(pairs(now=9), GateConfig())


@pytest.mark.parametrize(
    ("counts", "share", "held"),
    [
        ({"neither": 400}, 0.01, True),
        ({"now": 1, "neither": 399}, 0.01, False),
        ({"now": 1, "neither": 399}, 0.02, True),
        ({"now": 1, "unknown": 99, "neither": 399}, 0.02, True),
        ({"neither": 20}, 0.01, True),
        ({"now": 1, "neither": 19}, 0.01, False),
        ({"neither": 20}, 0.0, True),
        ({"now": 1, "neither": 4000}, 0.0, False),
        ({}, 0.01, False),
    ],
)
def test_a_share_that_is_demanded_is_shown_by_its_bound_or_nothing_is_promoted(counts, share, held):
    """
    By the rate alone if so few items can never show it; no answer shows nothing.
    """
    (rule,) = invented_share(pairs(**counts), GateConfig(max_invented=share))

    assert held == rule.passed
    assert RuleKind.GAIN is rule.kind


def outcome(*, right: bool, detail: dict[str, Any]) -> dict[str, Any]:
    return {
        "correct": right,
        "stopped": True,
        "timed_out": False,
        "loss": 1.0,
        "n_tokens": 3,
        "detail": detail,
    }


def test_what_a_report_says_of_copies_is_evidence():
    """
    Of any other value, or none, nothing is known.
    """
    details = [
        ({"copied": False}, {"copied": True}),
        ({}, {"copied": True}),
        ({"copied": "no"}, {"copied": None}),
    ]
    items = [
        {
            "suite": "s",
            "id": str(i),
            "cluster": str(i),
            "outcomes": {
                "candidate": outcome(right=True, detail=now),
                "base": outcome(right=True, detail=before),
            },
        }
        for i, (now, before) in enumerate(details)
    ]
    score = {"suites": {"s": {"complete": True}}}
    report = {
        "suites": [{"name": "s", "origin": "benchmark", "n_items": 3}],
        "items": items,
        "subjects": {"candidate": score, "incumbent": {**score, "same_as": "base"}, "base": score},
    }
    (found,) = evidence_of(report).suites

    assert [(True, False), (None, False), (None, None)] == [
        (p.candidate_invented, p.incumbent_invented) for p in found.pairs
    ]


def test_a_candidate_that_invents_is_rejected_though_it_is_right_as_often():
    """
    The rule looks at all suites together, and a share of the change may pass it.
    """
    suite = SuiteEvidence(
        "s", "s.jsonl", "benchmark", True, 100, tuple(pairs(now=9, neither=91)), None
    )
    verdict = judge(Evidence((suite,)), GateConfig())

    assert ["invented_rise"] == [rule.name for rule in verdict.failed if rule.kind is RuleKind.HARM]
    assert VersionVerdict.REJECTED is verdict.outcome
    assert verdict.forgot
    assert "answers with an invented value 0 -> 9 of 100" in verdict.reason
    tolerant = judge(Evidence((suite,)), GateConfig(max_invented_rise=0.1))
    assert VersionVerdict.REJECTED is not tolerant.outcome
    new = replace(suite, name="n", origin="new", pairs=tuple(pairs(neither=100)))
    strict = judge(Evidence((suite, new)), GateConfig(max_invented_rise=1, max_invented=0.01))
    assert "invented" in {rule.name for rule in strict.failed}
