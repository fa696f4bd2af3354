"""
What the daily report says of files: those that it judged, and how many it did not.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

from finetuned.core.books import Fate
from finetuned.core.daily import DailyFacts, FileFact, WorthFact
from finetuned.core.worth import Worth
from finetuned.reports.daily.sections import daily_report

DAY = date(2026, 11, 16)
WORTH = WorthFact(Worth.GAIN, "3 of 20 before, 18 after", "0.03 EUR", "3/20", "+75", "-", "0%")
FILE = FileFact("d1", "users.jsonl", 100, 1, Fate.LEARNT, "v0001", None, WORTH)
FACTS = DailyFacts(first=DAY, last=DAY, made_at=datetime(2026, 11, 17, 3), root="ft", files=(FILE,))


def test_files_that_were_not_judged_are_counted() -> None:
    """
    A table of some files would look like one of all.
    """
    others = tuple(replace(FILE, key=f"d{n}", worth=None) for n in (2, 3))
    (alone,) = (s for s in daily_report(FACTS).sections if s.title == "What they were worth")
    (cut,) = (
        s
        for s in daily_report(replace(FACTS, files=(FILE, *others))).sections
        if s.title == "What they were worth"
    )

    assert alone.facts == ()
    assert (("2 other files", "not judged here; ask finetuned worth"),) == cut.facts
