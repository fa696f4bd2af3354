"""
A version that fails in use is taken out of use by itself, with a report that says what to do.
"""

import sqlite3

import orjson
import pytest

from finetuned.core.promotion import HeadCause, PromotionCause
from finetuned.core.run import RunKind
from finetuned.files.run import REPORT
from finetuned.files.tables.settings import WatchMark
from finetuned.process.spares import WaitingWorkers
from finetuned.supervisor import incidents, promotion_watch
from finetuned.supervisor.promotion_watch import MOST_FAILURES, PromotionWatch
from support.desk import PaperWorker
from support.journals import release

CANARY = '{"id": "c1", "prompt": "p", "expected": "a", "scorer": "exact"}\n'


@pytest.fixture
def flips(context, monkeypatch):
    """
    What current_model was made to name: the flip itself is the registry's, tested there.
    """
    found = []

    def follow(context):
        found.append(context.journal.promotions.incumbent())

    monkeypatch.setattr(incidents, "follow_journal", follow)
    return found


@pytest.fixture
def watch(context, workers, flips, monkeypatch, tmp_path):
    """
    The watch of v0002, which the gate promoted over v0001.
    """
    monkeypatch.setattr(
        promotion_watch,
        "watch_spec",
        lambda context, run_id, **_: incidents_spec(run_id),
    )
    monkeypatch.setattr(promotion_watch, "is_intact", lambda *_: True)
    context.layout.benchmarks.mkdir(exist_ok=True)
    (context.layout.benchmarks / "canaries.jsonl").write_text(CANARY)
    for version in ("v0001", "v0002"):
        release(context.journal, version, PromotionCause.GATE)
    folder = context.layout.versions / "v0002"
    folder.mkdir(parents=True)
    gate = {"items": [item(candidate=True)]}
    (folder / REPORT).write_bytes(orjson.dumps(gate))
    return PromotionWatch(context)


def incidents_spec(run_id):
    from finetuned.files.spec import RunSpec

    return RunSpec(kind=RunKind.WATCH, run_id=run_id)


def item(**correct):
    return {
        "id": "c1",
        "suite": "canaries",
        "outcomes": {
            name: {"correct": value, "answer": "a", "timed_out": value is None}
            for name, value in correct.items()
        },
    }


def answer(workers, **correct):
    """
    End the run with a report in which the subjects answer like that.
    """
    report = {
        "suites": [{"name": "canaries", "problem": None}],
        "items": [item(**correct)],
        "subjects": {},
    }
    (workers[-1].runs[-1] / REPORT).write_bytes(orjson.dumps(report))
    workers[-1].finish(0)


def reports(context):
    return [orjson.loads(p.read_bytes()) for p in sorted(context.layout.incidents.glob("*.json"))]


def test_canaries_that_still_pass_end_the_question(context, watch, workers, flips):
    """
    They are not asked again until the promotion, the file, or the half of the time is another.
    """
    assert watch.is_due()
    watch.start()
    assert watch.busy
    answer(workers, candidate=True, incumbent=True)
    watch.look()

    assert not watch.busy
    assert not watch.is_due()
    assert [] == flips
    assert "v0002" == context.journal.promotions.incumbent()


def test_a_lost_canary_takes_the_version_out_of_use(context, watch, workers, flips):
    """
    The journal decides, current_model follows, and the report names canary and way back.
    """
    watch.start()
    answer(workers, candidate=False, incumbent=True)
    watch.look()
    (report,) = reports(context)

    assert ["v0001"] == flips
    assert "v0001" == context.journal.promotions.incumbent()
    assert ("v0002", "v0001", "canaries") == (
        report["version"], report["back_to"], report["signal"],
    )  # fmt: skip
    assert ["c1"] == [canary["id"] for canary in report["canaries"]]
    assert "finetuned versions promote v0002" in report["what_to_do"][1]
    assert report["seconds"] is not None
    assert "health" not in report
    assert report["version"] == context.board.fields["last_incident"]["version"]


def test_a_report_that_the_disk_refuses_does_not_keep_a_bad_version_in_use(
    context, watch, workers, flips, monkeypatch
):
    """
    It is written at a later look.
    """
    real = incidents.write_atomic

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr(incidents, "write_atomic", refuse)
    watch.start()
    answer(workers, candidate=False, incumbent=True)
    watch.look()
    assert ["v0001"] == flips
    assert [] == reports(context)
    monkeypatch.setattr(incidents, "write_atomic", real)
    watch.look()

    assert ["v0002"] == [report["version"] for report in reports(context)]


def test_a_worker_that_dies_blames_the_version_only_if_its_files_are_damaged(
    context, watch, workers, flips, monkeypatch
):
    """
    A crash of the tools is asked again, a few times; a damaged version goes at once.
    """
    watch.start()
    workers[-1].status = -11
    watch.look()
    assert [] == flips
    monkeypatch.setattr(promotion_watch, "is_intact", lambda *_: False)
    watch._not_before = 0.0
    watch.start()
    workers[-1].status = -11
    watch.look()

    assert ["v0001"] == flips
    assert "files" == reports(context)[0]["signal"]


def test_after_some_failures_the_watch_can_end_without_an_answer(
    context, watch, workers, flips, monkeypatch
):
    """
    It says so: a version whose canaries could not be asked was not shown to be good.
    """
    for _ in range(MOST_FAILURES):
        watch._not_before = 0.0
        watch.start()
        workers[-1].status = -11
        watch.look()
    assert 0 == context.journal.settings.watch_mark(WatchMark.DONE)
    monkeypatch.setattr(promotion_watch, "watch_is_over", lambda *_, asked, **__: asked)
    watch.look()

    assert 0 < context.journal.settings.watch_mark(WatchMark.DONE)
    assert watch.promotion() is None
    assert [] == flips


def test_canaries_that_came_too_late_are_asked_again(context, watch, workers, flips):
    """
    A time-out is no wrong answer, and no right one either.
    """
    watch.start()
    answer(workers, candidate=None, incumbent=True)
    watch.look()
    watch._not_before = 0.0

    assert [] == flips
    assert "v0002" == context.journal.promotions.incumbent()
    assert 0 == context.journal.settings.watch_mark(WatchMark.ASKED)
    assert watch.is_due()


def test_what_a_person_chose_is_not_watched(context, watch):
    """
    Whoever promotes by hand decides by hand.
    """
    release(context.journal, "v0001", PromotionCause.PROMOTE)

    assert watch.promotion() is None
    assert not watch.is_due()


def test_without_canaries_nothing_is_asked(context, watch):
    """
    The health signal alone is looked at.
    """
    (context.layout.benchmarks / "canaries.jsonl").unlink()

    assert not watch.is_due()
    assert watch.promotion() is not None


def test_a_run_that_is_dismissed_is_asked_again(context, watch, workers):
    """
    A pause wants the device; the question stays open.
    """
    watch.start()
    watch.dismiss()
    watch._not_before = 0.0

    assert workers[-1].dismissed
    assert not watch.busy
    assert watch.is_due()
    assert [] == context.journal.runs.unfinished()


def test_a_server_that_reports_failures_takes_the_version_out_of_use(context, watch, flips):
    """
    The health signal of the version in use, and of no other.
    """

    def say(version):
        body = {"version": version, "requests": 1000, "errors": 900}
        (context.layout.control / "health.json").write_bytes(orjson.dumps(body))

    say("v0001")
    watch.look()
    assert [] == flips
    say("v0002")
    watch.look()

    assert ["v0001"] == flips
    assert {"version": "v0002", "requests": 1000, "errors": 900} == reports(context)[0]["health"]


@pytest.mark.parametrize("held", [False, True])
def test_a_head_that_descends_from_the_harm_steps_below_it(context, watch, monkeypatch, held):
    """
    What it learnt before the harm is kept; what does not descend from the harm stays.
    """
    monkeypatch.setattr(incidents, "usable", lambda *_: True)
    parents = {"v0001": None, "v0009": "v0001", "v0002": "v0009", "v0003": "v0002"}
    for name, parent in parents.items():
        context.journal.versions.add(name, "held", parent=parent)
    if held:
        context.journal.heads.add("v0003", HeadCause.HELD)
    body = {"version": "v0002", "requests": 1000, "errors": 900}
    (context.layout.control / "health.json").write_bytes(orjson.dumps(body))
    watch.look()
    last = context.journal.heads.last()

    assert ("v0009", HeadCause.WATCH) == (last.version, last.cause)
    assert "v0001" == context.journal.promotions.incumbent()


def test_an_end_that_the_journal_refuses_is_recorded_at_the_next_look(
    context, watch, workers, monkeypatch
):
    """
    The answers are taken then; the run is not left open until the next start.
    """
    watch.start()
    answer(workers, candidate=True, incumbent=True)
    runs = type(context.journal.runs)
    end, refusals = runs.end, [sqlite3.OperationalError("disk I/O error")]

    def refuse_once(self, *arguments, **more):
        if refusals:
            raise refusals.pop()
        end(self, *arguments, **more)

    monkeypatch.setattr(runs, "end", refuse_once)
    with pytest.raises(sqlite3.OperationalError):
        watch.look()
    watch.look()

    assert [] == context.journal.runs.unfinished()
    assert not watch.busy
    assert not watch.is_due()


def test_a_waiting_evaluation_worker_asks_the_canaries_and_waits_on(context, watch, workers):
    """
    The start of a process is seconds that the next file would wait for.
    """
    worker, spares = PaperWorker(RunKind.EVALUATION), WaitingWorkers()
    spares.keep(worker)
    watch = PromotionWatch(context, spares)
    workers.append(worker)
    watch.start()
    assert [1] == [len(w.runs) for w in workers]
    report = {"suites": [], "items": [item(candidate=True, incumbent=True)], "subjects": {}}
    (worker.runs[-1] / REPORT).write_bytes(orjson.dumps(report))
    worker.finish(stays=True)
    watch.look()

    assert not watch.busy
    assert worker is spares.take(RunKind.EVALUATION)


def test_a_worker_that_died_while_it_waited_costs_no_try(context, watch, workers):
    """
    The canaries are asked again by a fresh one, and nothing is counted against the version.
    """
    worker, spares = PaperWorker(RunKind.EVALUATION), WaitingWorkers()
    spares.keep(worker)
    watch = PromotionWatch(context, spares)
    watch.start()
    worker.kill()
    watch.look()

    assert not watch.busy
    assert watch.is_due()
    watch.start()
    assert [RunKind.EVALUATION] == [w.kind for w in workers]
