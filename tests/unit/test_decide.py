from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.action import (
    Claim,
    CoolDown,
    Leave,
    MakeJob,
    SkipJob,
    StartEvaluation,
    StartIngestion,
    StartTraining,
    StopCause,
    StopWorker,
    WarmUp,
)
from finetuned.core.decide import (
    MOST_SHARED,
    decide,
    group,
    is_idle,
    next_job,
)
from finetuned.core.job import JobState
from finetuned.core.situation import (
    Accepted,
    JobView,
    Situation,
    WorkerView,
)

QUEUED = JobView("j1", JobState.QUEUED, "normal")
TRAINED = JobView("j2", JobState.TRAINED, "low")
TRAINING = WorkerView("training", "j1", None)

situations = st.builds(
    Situation,
    stopping=st.booleans(),
    paused=st.booleans(),
    skip_job=st.sampled_from([None, "j1", "j9"]),
    blocked=st.sampled_from([None, "disk_full: 0"]),
    stable_files=st.integers(0, 2),
    files_waiting=st.integers(0, 3),
    files_held=st.integers(0, 3),
    inbox_overdue=st.booleans(),
    claimed=st.integers(0, 2),
    accepted=st.lists(
        st.builds(
            Accepted,
            st.sampled_from(["d1", "d2", "d3"]),
            st.sampled_from(["high", "normal", "low"]),
            st.integers(0, 1000),
        ),
        max_size=3,
    ),
    jobs=st.lists(st.sampled_from([QUEUED, TRAINED]), max_size=2, unique=True),
    worker=st.sampled_from([None, TRAINING, replace(TRAINING, stopping=StopCause.PAUSE)]),
    keeps_worker=st.booleans(),
    ingesting=st.booleans(),
    unretired=st.integers(0, 1),
    keep_warm=st.booleans(),
    until_idle=st.booleans(),
    scanned=st.booleans(),
)


def do(situation):
    return decide(situation, clock=0.0, share_examples=500)


def kinds(situation):
    return [type(action) for action in do(situation)]


@given(situations)
def test_while_paused_or_blocked_no_worker_is_started(situation):
    """
    A pause and a full disk hold for every kind of work on the device.
    """
    for held in (replace(situation, paused=True), replace(situation, blocked="disk_full: 0")):
        assert not {StartTraining, StartEvaluation} & set(kinds(held))


@given(situations)
def test_at_most_one_worker_has_the_device(situation):
    """
    Nothing is started beside a live worker.
    """
    started = [k for k in kinds(situation) if k in (StartTraining, StartEvaluation)]

    assert len(started) <= (situation.worker is None)


@given(situations)
def test_a_stop_starts_nothing_and_ends_when_nothing_lives(situation):
    """
    After stop no file is claimed and no job begun; the end comes when workers are gone.
    """
    found = kinds(replace(situation, stopping=True))

    assert not {Claim, StartIngestion, StartTraining, StartEvaluation, MakeJob} & set(found)
    assert (Leave in found) == (situation.worker is None and not situation.ingesting)


@given(situations)
def test_until_idle_never_leaves_work_behind(situation):
    """
    It leaves only with no job, no worker, and an inbox that a look has shown to be empty, or
    to hold only what was waited for long enough.
    """
    calm = replace(situation, stopping=False)
    if Leave in kinds(calm):
        assert calm.until_idle
        assert (calm.scanned and not calm.files_waiting) or calm.inbox_overdue
        assert 0 == calm.claimed + calm.unretired
        assert [[], []] == [list(calm.accepted), list(calm.jobs)]
        assert calm.worker is None
        assert not calm.ingesting


def test_until_idle_waits_for_a_file_and_not_for_ever():
    """
    A file that somebody has open for writing is waited for until it is overdue.
    """
    held = Situation(scanned=True, until_idle=True, files_waiting=1, files_held=1)

    assert Leave not in kinds(held)
    assert [Leave()] == do(replace(held, inbox_overdue=True))
    assert Leave not in kinds(replace(held, until_idle=False, inbox_overdue=True))


def test_a_file_that_somebody_holds_open_keeps_no_device_busy():
    """
    It may be open for days: no worker is kept warm for it, and the nightly merge may begin.
    """
    held = Situation(scanned=True, files_waiting=1, files_held=1)

    assert [] == do(held)
    assert is_idle(held)
    assert not is_idle(replace(held, files_waiting=2))


def test_a_worker_is_asked_to_stop_once():
    """
    A second look does not signal again what is stopping already.
    """
    assert [StopWorker(StopCause.PAUSE)] == do(Situation(paused=True, worker=TRAINING))
    stopping = replace(TRAINING, stopping=StopCause.PAUSE)

    assert [] == do(Situation(paused=True, worker=stopping))


def test_skip_is_bound_to_its_job():
    """
    A skip of one job does not touch another one that runs.
    """
    assert [StopWorker(StopCause.SKIP)] == do(Situation(skip_job="j1", worker=TRAINING))
    assert [] == do(Situation(skip_job="j9", worker=TRAINING))
    assert [SkipJob("j9")] == do(Situation(skip_job="j9", paused=True))


def test_a_worker_is_kept_ready_only_while_files_may_come():
    """
    Right after a job, or with files in sight; otherwise the memory goes back.
    """
    assert [WarmUp()] == do(Situation(files_waiting=1))
    assert [WarmUp()] == do(Situation(keep_warm=True))
    assert [CoolDown()] == do(Situation(keeps_worker=True))
    assert [] == do(Situation())


def test_a_worker_that_waits_stays_beside_the_evaluation_of_its_candidate():
    """
    Its model is wanted again in a moment, by the next file.
    """
    judging = WorkerView("evaluation", "j1", None)

    assert [] == do(Situation(worker=judging, keeps_worker=True, keep_warm=True))


@given(situations)
def test_a_pause_and_a_stop_leave_no_worker_waiting(situation):
    """
    Whoever pauses wants the device and its memory, also that of a worker without a run.
    """
    kept = replace(situation, keeps_worker=True)
    for held in (replace(kept, paused=True), replace(kept, stopping=True)):
        assert CoolDown in kinds(held)
    none = replace(situation, keeps_worker=False)
    assert CoolDown not in kinds(none)


def test_a_candidate_is_judged_before_the_next_file_is_trained():
    """
    What the next job starts from depends on the verdict.
    """
    assert TRAINED == next_job([QUEUED, TRAINED])


def test_better_priority_goes_first_then_age():
    """
    high before normal before low, and the older first within one.
    """
    jobs = [
        JobView("j3", JobState.QUEUED, "low"),
        JobView("j5", JobState.QUEUED, "high"),
        JobView("j4", JobState.QUEUED, "high"),
    ]

    assert "j4" == next_job(jobs).id


def test_small_datasets_share_a_job_and_large_ones_do_not():
    """
    A run costs seconds whatever its size; a large file is worth its own.
    """
    small = [Accepted(f"d{i}", "normal", 10) for i in range(5)]
    large = Accepted("d9", "normal", 10_000)

    assert MakeJob(tuple(d.key for d in small), "normal") == group(small, False, 500)
    assert MakeJob(("d9",), "normal") == group([large, *small], False, 500)
    assert group(small, True, 500) is None
    assert MakeJob(("d9",), "normal") == group([*small, large], True, 500)


def test_a_flood_of_small_datasets_is_cut_into_jobs_that_end():
    """
    The first versions come before the last of ten thousand files is trained.
    """
    flood = [Accepted(f"d{i:05}", "normal", 1) for i in range(MOST_SHARED + 1)]

    made = group(flood, False, 500)
    assert made is not None
    assert [d.key for d in flood[:-1]] == list(made.keys)
