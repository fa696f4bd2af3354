"""
A rule speaks if its evidence is there, and only then.
"""

from dataclasses import replace
from datetime import date, datetime

import pytest

from finetuned.core.books import Fate
from finetuned.core.curves.finding import Advice, Finding, Kind, Reading
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
    WorthFact,
)
from finetuned.core.job import JobKind, JobState
from finetuned.core.recommendations import RULES, recommend
from finetuned.core.worth import Worth

DAY = date(2026, 11, 16)
CALM = DailyFacts(
    first=DAY,
    last=DAY,
    made_at=datetime(2026, 11, 17, 3),
    root="ft",
    disk=DiskFact(2**40, 2**41, 2**28),
)
FILE = FileFact("d1", "users.jsonl", 100, 1, Fate.LEARNT, "v0001", None)
WORTH = WorthFact(Worth.GAIN, "3 of 20 before, 18 after", "0.03 EUR", "3/20", "+75", "-", "0%")
JOB = JobFact(
    "j1", JobKind.TRAINING, JobState.PROMOTED, ("users.jsonl",), "v0001", "gain", 400, 9.0
)
EASY = SuiteFact("syllo_easy_100", "benchmark", 100, 95, None)
HARD = SuiteFact("syllo_hard_100", "benchmark", 100, 53, None)
SERVICE = ServiceFact(50, 120.0, 9, 0, 0)


def seen(kind):
    """
    Return what curves show: one finding, and the advice that follows.
    """
    found = Finding(kind, "Held-out loss rises from step 40 on.", 40, 0.001)
    return Reading((found,), (Advice("a_rule", "Stop at step 40.", (kind,)),))


def worth(found):
    """
    Return what a file was worth.
    """
    return replace(WORTH, worth=found)


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
    job = replace(JOB, reading=seen(Kind.PLATEAU))
    file = replace(FILE, worth=WORTH)
    assert [] == rules_of(files=(file,), jobs=(job,), suites=(EASY,), service=SERVICE)


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
        ("overfitted", {"jobs": (replace(JOB, reading=seen(Kind.OVERFITTING)),)}),
        ("still_falling", {"jobs": (replace(JOB, reading=seen(Kind.UNDERFITTING)),)}),
        ("diverged", {"jobs": (replace(JOB, reading=seen(Kind.DIVERGENCE)),)}),
        ("learning_rate", {"jobs": (replace(JOB, reading=seen(Kind.RATE_TOO_LOW)),)}),
        ("not_needed", {"files": (replace(FILE, worth=worth(Worth.KNOWN)),)}),
        ("taught_nothing", {"files": (replace(FILE, worth=worth(Worth.NOTHING)),)}),
        ("taught_nothing", {"files": (replace(FILE, worth=worth(Worth.HARM)),)}),
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
    assert 18 == len(RULES)


@pytest.mark.parametrize(
    "facts",
    [
        {"jobs": (replace(JOB, held_out=((0, 0.001), (100, 0.006))),)},  # no test shows a rise
        {"jobs": (replace(JOB, reading=Reading(seen(Kind.OVERFITTING).findings, ())),)},
        {"files": (replace(FILE, worth=worth(Worth.UNSURE)),)},
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


def test_a_file_whose_rejection_is_told_is_not_told_again():
    """
    That its rows are not learnt follows from the verdict.
    """
    lost = replace(FILE, fate=Fate.NOT_LEARNT)
    facts = {"files": (lost,), "jobs": (replace(JOB, state=JobState.REJECTED),)}

    assert ["rejected"] == rules_of(**facts)


def test_what_a_rule_says_of_a_curve_is_what_the_curve_says():
    """
    The daily report and finetuned curves give the same advice, for the same reason.
    """
    (found,) = recommend(replace(CALM, jobs=(replace(JOB, reading=seen(Kind.OVERFITTING)),)))

    assert "users.jsonl: Stop at step 40." == found.advice
    assert "j1: Held-out loss rises from step 40 on." == found.evidence
