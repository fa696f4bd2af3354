"""
What is done once a day, whatever the clock does; and what is merged at night.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.config import Config, RegistryConfig
from finetuned.core.job import JobEvent, JobKind
from finetuned.core.promotion import PromotionCause
from finetuned.core.timetable import MOST_DAYS, days_due, is_due
from finetuned.files.journal import Journal
from finetuned.layout import Layout, Priority
from finetuned.registry.commit import commit_version
from finetuned.supervisor.context import Context
from finetuned.supervisor.merges import ask_for_consolidation, consolidate_nightly
from finetuned.supervisor.status import StatusBoard
from support.candidates import make_candidate
from support.journals import release

NIGHT = datetime(2026, 11, 20, 3, 30)


@given(
    st.lists(st.timedeltas(timedelta(hours=-30), timedelta(hours=30)), max_size=60),
    st.times(),
)
def test_once_per_date_however_the_clock_jumps(jumps: list[timedelta], at: time) -> None:
    """
    No date is taken twice, and none is taken before its time.
    """
    now, last, taken = NIGHT, None, []
    for jump in jumps:
        now += jump
        if is_due(now, at=at.isoformat("minutes"), last=last):
            assert now.time() >= at.replace(second=0, microsecond=0)
            last = now.date()
            taken.append(last)

    assert sorted(set(taken)) == taken


def test_it_is_due_from_its_time_to_the_end_of_the_day_and_never_without_one() -> None:
    """
    A daemon that was busy at three o'clock does it when it is idle.
    """
    yesterday = date(2026, 11, 19)
    assert not is_due(NIGHT.replace(hour=2), at="03:00", last=yesterday)
    assert is_due(NIGHT.replace(hour=3, minute=0), at="03:00", last=yesterday)
    assert is_due(NIGHT.replace(hour=23), at="03:00", last=None)
    assert not is_due(NIGHT, at="03:00", last=NIGHT.date())
    assert not is_due(NIGHT, at="", last=None)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    """
    A root whose one version, v0001, is an adapter.
    """
    layout = Layout(tmp_path)
    for folder in (*layout.folders(), layout.bases / "tiny"):
        folder.mkdir(parents=True, exist_ok=True)
    (layout.bases / "tiny" / "config.json").write_text("{}")
    adapter = make_candidate(tmp_path / "adapter", text="{}")
    commit_version(layout, adapter, {"run_id": "r1", "base": "tiny"})
    journal = Journal(layout.journal)
    config = replace(Config(), registry=RegistryConfig(consolidate_at="03:00", consolidate_after=2))
    yield Context(layout, config, journal, StatusBoard(layout.status_file))
    journal.close()


def promoted(context: Context) -> None:
    journal = context.journal
    job_id = journal.jobs.add(Priority.NORMAL, ())
    for event in (JobEvent.START, JobEvent.FINISH, JobEvent.START):
        journal.jobs.move(job_id, event)
    journal.conclude(job_id, JobEvent.ACCEPT, version="v0001", parent=None, reason="")


def merges(context: Context) -> int:
    return sum(job.kind is JobKind.CONSOLIDATION for job in context.journal.jobs.in_states())


def test_it_waits_until_nothing_else_is_to_be_done_and_enough_was_learnt(context: Context) -> None:
    """
    A busy turn takes no date; an idle one takes it whether or not there is enough to merge.
    """
    promoted(context)
    consolidate_nightly(context, idle=False, now=NIGHT)
    assert context.journal.settings.last_consolidation() is None
    consolidate_nightly(context, idle=True, now=NIGHT)
    assert 0 == merges(context)  # one promotion, two are asked for

    promoted(context)
    consolidate_nightly(context, idle=True, now=NIGHT)
    assert 0 == merges(context)  # today's turn was taken
    consolidate_nightly(context, idle=True, now=NIGHT + timedelta(days=1))
    assert 1 == merges(context)
    consolidate_nightly(context, idle=True, now=NIGHT + timedelta(days=2))
    assert 1 == merges(context)  # it is still to be done


def test_what_cannot_be_merged_says_why(context: Context, tmp_path: Path) -> None:
    """
    The answer to the order is the answer to the person.
    """
    assert "nothing to do: there is no version yet" == ask_for_consolidation(context)
    release(context.journal, "v0001", PromotionCause.PROMOTE)
    assert ask_for_consolidation(context).startswith("queued as j")
    assert "about to" in ask_for_consolidation(context)
    full = make_candidate(tmp_path / "full", text="{}", full=True)
    name = commit_version(context.layout, full, {"run_id": "r2", "base": "tiny"})
    release(context.journal, name, PromotionCause.PROMOTE)
    assert "full model" in ask_for_consolidation(context)


@given(
    st.lists(st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 25)), min_size=1),
    st.times().map(lambda at: f"{at:%H:%M}"),
)
def test_every_day_is_reported_once(looks: list[datetime], at: str) -> None:
    """
    Whenever the daemon looks, no day is in two reports, and no day after the first is left out.
    """
    last, told = None, []
    for now in looks:
        due = days_due(now, at=at, last=last)
        if due is None:
            continue
        first, last = due
        assert first <= last < now.date()
        assert (last - first).days < MOST_DAYS
        told += [first + timedelta(days=i) for i in range((last - first).days + 1)]

    assert told == [told[0] + timedelta(days=i) for i in range(len(told))] if told else True


def test_a_report_that_was_missed_is_made_once_for_all_days() -> None:
    """
    Down from Monday to Friday: one report, of all days that were not told.
    """
    friday = datetime(2026, 11, 20, 9)
    due = days_due(friday, at="03:00", last=date(2026, 11, 15))

    assert (date(2026, 11, 16), date(2026, 11, 19)) == due
    thursday = date(2026, 11, 19)
    assert days_due(friday, at="03:00", last=thursday) is None
    early = datetime(2026, 11, 21, 2, 59)
    assert days_due(early, at="03:00", last=thursday) is None
    on_time = early + timedelta(minutes=1)
    assert (date(2026, 11, 20),) * 2 == days_due(on_time, at="03:00", last=thursday)
    assert days_due(friday, at="", last=None) is None
