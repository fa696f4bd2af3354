"""
A rule speaks if its evidence is there, and only then.
"""

from dataclasses import replace
from datetime import date, datetime

import pytest

from finetuned.core.books import Fate
from finetuned.core.daily import (
    DailyFacts,
    DiskFact,
    DriftFact,
    FileFact,
    ForgettingFact,
    IncidentFact,
    JobFact,
    ServiceFact,
    SuiteFact,
    UndeliveredFact,
)
from finetuned.core.job import JobKind, JobState
from finetuned.core.recommendations import RULES, recommend

DAY = date(2026, 11, 16)
CALM = DailyFacts(
    first=DAY,
    last=DAY,
    made_at=datetime(2026, 11, 17, 3),
    root="ft",
    disk=DiskFact(2**40, 2**41, 2**28),
)
FILE = FileFact("d1", "users.jsonl", 100, 1, Fate.LEARNT, "v0001", None)
FLAT = tuple((step, 0.5) for step in range(0, 500, 100))
FALLING = tuple((step, 1.0 - step / 1000) for step in range(0, 500, 100))
RISING = ((0, 1.0), (100, 0.5), (200, 0.55), (300, 0.7), (400, 0.8))
JOB = JobFact(
    "j1", JobKind.TRAINING, JobState.PROMOTED, ("users.jsonl",), "v0001", "gain", 400, 9.0
)
EASY = SuiteFact("syllo_easy_100", "benchmark", 100, 95, None)
HARD = SuiteFact("syllo_hard_100", "benchmark", 100, 53, None)
SERVICE = ServiceFact(50, 120.0, 9, 0, 0)


def rules_of(**facts):
    """
    Return the names of the rules that speak on a calm day but for *facts*.
    """
    return [found.rule for found in recommend(replace(CALM, **facts))]


def test_on_a_calm_day_no_rule_speaks():
    """
    An empty day, and one on which everything went well, need nobody.
    """
    assert [] == rules_of()
    job = replace(JOB, held_out=FLAT)
    assert [] == rules_of(files=(FILE,), jobs=(job,), suites=(EASY,), service=SERVICE)


@pytest.mark.parametrize(
    ("rule", "facts"),
    [
        ("in_the_way", {"attention": ("config: bad",)}),
        ("disk_low", {"disk": DiskFact(2**28, 2**41, 2**28)}),
        ("taken_back", {"incidents": (IncidentFact("v2", "v1", "12 of 40 failed", "t"),)}),
        ("undelivered", {"undelivered": (UndeliveredFact("mail", 2, 0, "refused"),)}),
        ("job_failed", {"jobs": (replace(JOB, state=JobState.FAILED, reason="no memory"),)}),
        ("file_refused", {"files": (replace(FILE, fate=Fate.REFUSED, reason="not JSON"),)}),
        ("rows_refused", {"files": (replace(FILE, refused=5),)}),
        ("rejected", {"jobs": (replace(JOB, state=JobState.REJECTED),)}),
        (
            "rejected_in_a_row",
            {"jobs": (replace(JOB, state=JobState.REJECTED),), "rejected_in_a_row": 3},
        ),
        ("forgot", {"jobs": (JOB,), "forgetting": ForgettingFact("v2", -3.0, "dns", 0.9, 0.5, 40)}),
        ("not_learnt", {"files": (replace(FILE, fate=Fate.NOT_LEARNT),), "unlearnt_files": 1}),
        ("overfitted", {"jobs": (replace(JOB, held_out=RISING),)}),
        ("still_falling", {"jobs": (replace(JOB, held_out=FALLING),)}),
        ("weak_suite", {"jobs": (JOB,), "suites": (EASY, HARD)}),
        ("users_unhappy", {"service": replace(SERVICE, thumbs_down=6)}),
        ("review_waits", {"service": replace(SERVICE, review_waiting=1)}),
        ("moved", {"drift": (DriftFact("refusals: 31% of answers, 4% before", DAY, True),)}),
        ("unread", {"unread": ("incidents could not be read",)}),
    ],
)
def test_a_rule_speaks_of_its_evidence(rule, facts):
    """
    One planted cause, one rule, and its evidence is named.
    """
    found = recommend(replace(CALM, **facts))

    assert [rule] == [f.rule for f in found]
    assert all(f.advice and f.evidence for f in found)


def test_every_rule_has_a_case_here():
    """
    A rule that nothing makes speak is no rule.
    """
    # rejected and rejected_in_a_row are one function
    assert 17 == len(RULES)


@pytest.mark.parametrize(
    "facts",
    [
        {"jobs": (replace(JOB, held_out=RISING[:3]),)},
        {"jobs": (replace(JOB, held_out=FALLING[:3]),)},
        {"jobs": (JOB,), "suites": (EASY, replace(HARD, n_asked=4, n_correct=2))},
        {"jobs": (JOB,), "suites": (HARD,)},
        {"suites": (EASY, HARD)},  # nothing was trained: it was told before
        {"jobs": (JOB,), "forgetting": ForgettingFact("v2", -3.0, "dns", 0.9, 0.5, 5)},
        {"jobs": (JOB,), "forgetting": ForgettingFact("v2", -3.0, "dns", 0.9, 0.85, 40)},
        {"service": replace(SERVICE, thumbs_up=1, thumbs_down=2)},
        {"files": (replace(FILE, refused=4),)},
        {"drift": (DriftFact("refusals: 31% of answers, 4% before", DAY, False),)},  # told before
    ],
)
def test_too_little_evidence_is_none(facts):
    """
    Three looks, four questions, five rows, three opinions: nothing is claimed.
    """
    assert [] == rules_of(**facts)
