"""
What of a first look settles a verdict: never a promotion, never a doubt, never each eighth look.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.config import GateConfig
from finetuned.core.evidence import Evidence, ItemPair, SuiteEvidence
from finetuned.core.gate.first_look import WHOLE_EVERY, gate_of_part, may_settle, settles
from finetuned.core.gate.judge import judge
from finetuned.core.gate.verdict import RuleKind
from finetuned.core.promotion import VersionVerdict
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.suite import load_suite
from finetuned.evaluation.selected_suites import PickedSuite, first_part

GATE = GateConfig()


def suite(origin, *, before, now, n_unasked=0):
    """A suite of which the first *before* items were right, and the first *now* are."""
    pairs = tuple(
        ItemPair(str(i), i < now, i < before, True, True, 5.0, 5.0, 10, f"{origin}/{i}")
        for i in range(32)
    )
    return SuiteEvidence(origin, origin, origin, True, 32, pairs, None, n_unasked)


NEW, GAINED = suite("new", before=16, now=16), suite("new", before=0, now=16)
KEPT = suite("old", before=16, now=16, n_unasked=168)


def verdict(*suites, config=GATE, head=()):
    return judge(Evidence(suites, head=head), config)


def test_no_gain_and_no_doubt_settles():
    """
    What the parts cannot change is not asked; the verdict names what was left out.
    """
    found = verdict(NEW, KEPT)

    assert settles(found, GATE)
    assert VersionVerdict.HELD is found.outcome
    assert found.reason.startswith("gain: ")
    assert "168 items of old were not asked; all are, before anything is promoted" in [
        rule.detail for rule in found.rules if rule.name == "asked_whole"
    ]


@pytest.mark.parametrize("release", ["proven", "no-harm", "every"])
def test_nothing_is_promoted_on_a_part(release):
    """
    However much was gained and whatever is released, a part of a suite promotes nothing.
    """
    config = GateConfig(release=release)
    found = verdict(GAINED, KEPT, config=config)

    assert VersionVerdict.HELD is found.outcome
    assert not settles(found, config)


def test_harm_within_the_margin_is_a_doubt():
    """
    A loss that is shown has everything asked, even if its size is allowed.
    """
    lost = suite("old", before=32, now=24, n_unasked=168)
    config = GateConfig(max_old_accuracy_drop=1.0)
    found = verdict(NEW, lost, config=config)

    assert VersionVerdict.HELD is found.outcome
    assert not settles(found, config)


@settings(deadline=None, max_examples=40)
@given(st.floats(0.5, 0.95), st.integers(1, 40))
def test_all_parts_may_spend_together_half_of_what_the_whole_may(confidence, n):
    """
    However many parts are asked; each is stricter than the one before.
    """
    gates = [gate_of_part(GateConfig(confidence=confidence), part) for part in range(1, n + 1)]
    levels = [1 - gate.confidence for gate in gates if gate is not None]

    assert sum(levels) < (1 - confidence) / 2
    assert levels == sorted(levels, reverse=True)
    assert gates[0] is not None


def test_harm_is_no_reason_to_settle_at_the_level_of_the_whole():
    """
    A part rejects at its own level only, which is stricter.
    """
    for sides in ({"suites": (suite("old", before=32, now=20),)}, {"head": (GAINED,)}):
        worse = suite("new", before=32, now=10)
        found = verdict(NEW, *sides.get("suites", ()), head=(worse,) if "head" in sides else ())
        assert VersionVerdict.REJECTED is found.outcome
        assert not settles(found, GATE)


def test_a_lost_canary_settles_it_whatever_else_would_be_said():
    """
    They are asked whole, so that no further answer has it promoted.
    """
    lost = suite(SuiteOrigin.CANARY, before=16, now=15)
    found = verdict(GAINED, KEPT, lost)

    assert VersionVerdict.HELD is found.outcome
    assert settles(found, GATE)


def part(origin, *, n, n_left_out, name=None):
    """A sample of *n* items, all right before and now."""
    found = suite(origin, before=n, now=n)
    return replace(
        found, name=name or origin, n_items=n, pairs=found.pairs[:n], n_left_out=n_left_out
    )


@pytest.mark.parametrize(
    ("sample", "title"),
    [
        ([part("benchmark", n=31, n_left_out=169)], "benchmark"),
        ([part("canary", n=8, n_left_out=12)], "canary"),
        ([part("old", n=9, n_left_out=9, name=str(i)) for i in range(3)], "old and 2 more"),
    ],
)
def test_what_was_asked_too_little_promotes_nothing(sample, title):
    """
    Too few items stand for nothing: it is held, and the verdict says for how many there was time.
    """
    found = verdict(GAINED, *sample)
    n, left_out = sum(s.n_items for s in sample), sum(s.n_left_out for s in sample)

    assert VersionVerdict.HELD is found.outcome
    assert found.reason == (
        f"sampled: {title}: there was time for {n} of {n + left_out} items and 32 are needed; "
        "evaluation.max_minutes allows more"
    )


def test_a_sample_that_is_large_enough_stands_for_its_suite():
    """
    32 items of a benchmark, or of all older files together.
    """
    older = [part("old", n=16, n_left_out=9, name=str(i)) for i in range(2)]

    assert verdict(GAINED, part("benchmark", n=32, n_left_out=168), *older).promote
    assert verdict(GAINED, part("canary", n=8, n_left_out=0)).promote


def test_missing_evidence_settles_nothing():
    """
    A suite that could not be asked is no reason to leave others out.
    """
    assert not settles(verdict(NEW, KEPT, replace(NEW, name="x", problem="gone")), GATE)


def test_when_a_part_may_be_enough():
    """
    Only if the held are not released, and not at every eighth look.
    """
    looks = [look for look in range(1, 18) if not may_settle(GATE, look)]

    assert [WHOLE_EVERY, 2 * WHOLE_EVERY] == looks
    assert not may_settle(GateConfig(release="no-harm"), 1)
    assert not may_settle(GateConfig(release="every"), 1)


def test_of_a_part_only_losses_are_taken_and_it_grows_by_adding(tmp_path):
    """
    New rows and canaries stay whole; a larger part holds a smaller one, so losses are known.
    """
    path = tmp_path / "b.jsonl"
    path.write_text("".join(f'{{"prompt": "{i} + 0?", "completion": "{i}"}}\n' for i in range(50)))
    whole = [
        PickedSuite(replace(load_suite(path), name=f"{origin}{i}", origin=origin))
        for i, origin in enumerate([*SuiteOrigin, SuiteOrigin.OLD])
    ]
    ids = {}
    for limit in (1, 20, 31):
        part = first_part(whole, limit)
        for picked in part:
            is_part = picked.suite.origin in (SuiteOrigin.OLD, SuiteOrigin.BENCHMARK)
            assert all(q.generated is not is_part for q in picked.suite.questions)
            assert (50 if is_part else 0) == picked.n_unasked
            asked = {q.id for q in picked.suite.questions}
            assert ids.get(picked.suite.name, set()) <= asked
            ids[picked.suite.name] = asked
            assert picked.record().required == bool(asked)
    n = {p.suite.origin: 0 for p in part}
    for picked in part:
        n[picked.suite.origin] += len(picked.suite.questions)
    assert n == {
        SuiteOrigin.NEW: 50,
        SuiteOrigin.OLD: 31,
        SuiteOrigin.BENCHMARK: 31,
        SuiteOrigin.CANARY: 50,
    }


def test_the_rule_of_parts_is_one_of_gain():
    """
    What was not asked shows no harm.
    """
    (rule,) = [r for r in verdict(NEW, KEPT).rules if r.name == "asked_whole"]

    assert RuleKind.GAIN is rule.kind
