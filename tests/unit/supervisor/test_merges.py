"""
When the adapter in use is queued to be merged, and what is said if it is not.
"""

from datetime import date, datetime

import pytest

from finetuned.core.family_choice import profile
from finetuned.core.job import JobEvent, JobKind, JobState
from finetuned.core.promotion import HeadCause, PromotionCause
from finetuned.files.family_list import OWN, Family, write_families
from finetuned.layout import Priority
from finetuned.supervisor.merges import ask_for_consolidation, consolidate_nightly, lacks_space
from support.desk import configure
from support.journals import promote_job, release
from support.versions import commit

NIGHT = datetime(2026, 11, 20, 3, 30)


@pytest.fixture(autouse=True)
def small(context):
    """
    A root whose base is there and whose disk is large enough.
    """
    configure(context, "model", base="micro")
    configure(context, "supervisor", disk_reserve_bytes=0)


def use(context, version):
    release(context.journal, version, PromotionCause.PROMOTE)


def test_the_adapter_in_use_is_queued_behind_everything_else(context):
    """
    A merge makes no version better: files that were dropped go first.
    """
    use(context, commit(context.layout))

    assert "queued as j000001" == ask_for_consolidation(context)
    job = context.journal.jobs.get("j000001")
    assert (JobKind.CONSOLIDATION, Priority.LOW, JobState.QUEUED) == (
        job.kind,
        job.priority,
        job.state,
    )
    assert [] == context.journal.datasets.of_job(job.id)


def test_a_head_that_is_ahead_of_the_release_is_what_is_merged(context):
    """
    Merging the release would lose what the head learnt; the answer says what stays in use.
    """
    use(context, commit(context.layout))
    context.journal.heads.add(commit(context.layout, "v0001"), HeadCause.HELD)

    assert (
        "queued as j000001: it merges v0002, the head of training; "
        "current_model stays v0001 until what is made is proven"
    ) == ask_for_consolidation(context)


def test_one_merge_at_a_time(context):
    """
    While one waits or runs, a second order changes nothing; after its end it may.
    """
    use(context, commit(context.layout))
    ask_for_consolidation(context)
    assert "nothing to do: j000001 is about to" == ask_for_consolidation(context)
    context.journal.jobs.move("j000001", JobEvent.START)
    assert "nothing to do: j000001 is about to" == ask_for_consolidation(context)
    context.journal.jobs.move("j000001", JobEvent.SKIP)

    assert "queued as j000002" == ask_for_consolidation(context)


def test_what_has_no_adapter_is_not_merged(context):
    """
    The base model, a version that was merged, and one that was trained whole.
    """
    assert "nothing to do: there is no version yet" == ask_for_consolidation(context)
    first = commit(context.layout)
    use(context, commit(context.layout, first, full=True, consolidates=first))
    assert "nothing to do: v0002 is consolidated already" == ask_for_consolidation(context)
    use(context, commit(context.layout, first, full=True))
    assert "nothing to do: v0003 is a full model, it has no adapter" == ask_for_consolidation(
        context
    )
    assert [] == context.journal.jobs.in_states()


def test_an_adapter_for_each_family_is_not_merged(context):
    """
    Merged alone, the one of the version itself would lose all others; the key is named.
    """
    use(context, commit(context.layout))
    known = profile(["add ann"])
    families = [Family("a", OWN, (), known), Family("b", "families/b", (), known)]
    write_families(context.layout.versions / "v0001", families)
    said = ask_for_consolidation(context)

    assert said.startswith("refused: v0001 has an adapter for each of 2 families of files")
    assert "training.adapters" in said
    assert [] == context.journal.jobs.in_states()


def test_a_merge_that_would_fill_the_disk_is_refused(context):
    """
    With the size that is missing; nothing is queued.
    """
    use(context, commit(context.layout))
    configure(context, "supervisor", disk_reserve_bytes=2**60)

    assert ask_for_consolidation(context).startswith("refused: ")
    assert [] == context.journal.jobs.in_states()


@pytest.mark.parametrize(("keeps_backup", "copies"), [(True, 3), (False, 2)])
def test_a_merge_needs_the_room_of_its_copies(context, tmp_path, keeps_backup, copies):
    """
    Candidate, version and backup are each as large as the base, a sparse file here.
    """
    base = context.layout.bases / "vast"
    base.mkdir(parents=True)
    (base / "config.json").write_text("{}")
    with (base / "model.safetensors").open("wb") as file:
        file.truncate(2**43)
    configure(context, "model", base="vast")
    configure(context, "registry", backup=keeps_backup)

    assert lacks_space(context).endswith(f"a merge needs {copies * 2**43 >> 20} MiB")


def promoted(context, n):
    """
    Let *n* trainings be promoted, the last as a version on disk.
    """
    for i in range(1, n + 1):
        version = commit(context.layout, None if i == 1 else f"v{i - 1:04d}")
        promote_job(context.journal, f"d{i:08d}", f"{i:016d}", version)


@pytest.fixture
def nightly(context):
    configure(context, "registry", consolidate_at="03:00", consolidate_after=2)


def merges(context):
    return [j.id for j in context.journal.jobs.in_states() if j.kind is JobKind.CONSOLIDATION]


def test_at_night_enough_promotions_are_merged_once(context, nightly):
    """
    Once a date, although the daemon is idle for hours after the time of day.
    """
    promoted(context, 2)
    for minute in (0, 1, 59):
        consolidate_nightly(context, idle=True, now=NIGHT.replace(minute=minute))

    assert ["j000003"] == merges(context)
    assert date(2026, 11, 20) == context.journal.settings.last_consolidation()


def test_too_few_promotions_are_looked_at_again_the_next_night(context, nightly):
    """
    The look of this date is taken, so that a promotion at noon starts no merge at noon.
    """
    promoted(context, 1)
    consolidate_nightly(context, idle=True, now=NIGHT)
    version = commit(context.layout, "v0001")
    promote_job(context.journal, "d00000002", "b" * 16, version)
    consolidate_nightly(context, idle=True, now=NIGHT.replace(hour=12))
    assert [] == merges(context)
    consolidate_nightly(context, idle=True, now=NIGHT.replace(day=21))

    assert ["j000003"] == merges(context)


def test_a_merge_that_is_due_waits_for_an_idle_moment_of_its_date(context, nightly):
    """
    A busy turn does not use up the night.
    """
    promoted(context, 2)
    consolidate_nightly(context, idle=False, now=NIGHT)
    assert context.journal.settings.last_consolidation() is None
    consolidate_nightly(context, idle=True, now=NIGHT.replace(hour=2))
    assert context.journal.settings.last_consolidation() is None
    consolidate_nightly(context, idle=True, now=NIGHT.replace(hour=5))

    assert ["j000003"] == merges(context)
