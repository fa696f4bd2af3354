"""
Originals end in done/ or rejected/, with the reasons beside them; every step can be repeated.
"""

import orjson
import pytest

from finetuned.core.dataset_state import DatasetState
from finetuned.core.job import JobEvent
from finetuned.core.run import RunKind
from finetuned.files.tables.jobs import JobFailure
from finetuned.supervisor.inbox.retire import (
    label_of,
    publish_rejects,
    retire_dataset,
    retire_job,
    write_reason,
)
from support.journals import add_job

KEY = "d00000001"
FAILURE = JobFailure("RuntimeError", "boom", 3)


@pytest.fixture
def job(context):
    """
    A job of one claimed file, which was dropped under the name x.
    """
    job_id = add_job(context.journal, KEY, "a" * 16)
    path = context.journal.datasets.get(KEY).inbox_path.decode()
    folder = context.layout.processing / KEY
    folder.mkdir()
    (folder / path).write_text("1")  # as many bytes as its record says
    return job_id


def dataset(context):
    return context.journal.datasets.get(KEY)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_original_of_a_good_job_goes_to_done(context, job):
    """
    Its place is on record, its job retired, and nothing is left in processing/.
    """
    context.journal.jobs.move(job, JobEvent.SKIP)
    for _ in range(2):
        retire_job(context, context.journal.jobs.get(job))

    assert [f"x.{KEY}.jsonl"] == files(context.layout.done)
    assert (DatasetState.RETIRED, f"inbox/done/x.{KEY}.jsonl") == (
        dataset(context).state,
        dataset(context).final_path,
    )
    assert [] == files(context.layout.processing) + files(context.layout.quarantine)
    assert [] == context.journal.jobs.unretired()


def test_the_original_of_a_failed_job_goes_to_rejected_with_the_error_beside_it(context, job):
    """
    The person who dropped it finds both in one folder.
    """
    context.journal.jobs.move(job, JobEvent.START)
    context.journal.jobs.move(job, JobEvent.FAIL, failure=FAILURE)
    retire_job(context, context.journal.jobs.get(job))
    reason = orjson.loads((context.layout.quarantine / f"x.{KEY}.reason.json").read_bytes())

    assert [f"x.{KEY}.jsonl", f"x.{KEY}.reason.json"] == files(context.layout.quarantine)
    assert {"key": KEY, "reason": f"job {job} failed: boom", "report": None} == reason
    assert f"job {job} failed: boom" == dataset(context).reason
    assert [] == files(context.layout.done)


def test_a_retirement_that_was_interrupted_is_completed(context, job):
    """
    The file had reached its place, the journal did not know it yet.
    """
    context.journal.jobs.move(job, JobEvent.SKIP)
    (context.layout.processing / KEY / "x").rename(context.layout.done / f"x.{KEY}.jsonl")
    retire_job(context, context.journal.jobs.get(job))

    assert f"inbox/done/x.{KEY}.jsonl" == dataset(context).final_path
    assert [] == files(context.layout.processing)


@pytest.mark.parametrize("duplicate", [True, False])
def test_a_copy_is_done_and_a_refused_file_is_rejected(context, job, duplicate):
    """
    Both have a reason on record; nothing was wrong with a copy.
    """
    datasets = context.journal.datasets
    if duplicate:
        datasets.mark_duplicate(KEY, dataset_id="a" * 16, sha256=None, of=dataset(context))
    else:
        datasets.quarantine(KEY, "no rows")
    retire_dataset(context, KEY)

    place = context.layout.done if duplicate else context.layout.quarantine
    assert [f"x.{KEY}.jsonl"] == files(place)


def test_a_claim_that_nobody_knows_is_left_alone(context):
    """
    Recovery records it first, under the name that its folder holds.
    """
    (context.layout.processing / KEY).mkdir()
    (context.layout.processing / KEY / "x").write_text("{}\n")
    retire_dataset(context, KEY)

    assert "dataset" == label_of(context, KEY)
    assert [KEY] == files(context.layout.processing)


def test_checkpoints_and_candidates_of_a_finished_job_are_removed(context, job):
    """
    Its metrics stay, and so does every folder of a job that is not over.
    """
    runs = context.journal.runs
    other = add_job(context.journal, "d00000002", "b" * 16)
    for run_id, job_id in (("r000001", job), ("r000002", other)):
        runs.add(run_id, RunKind.TRAINING, job_id=job_id)
        for name in ("checkpoints/step-1", "candidate", "candidate-0.5"):
            (context.layout.runs / run_id / name).mkdir(parents=True)
        (context.layout.runs / run_id / "metrics.jsonl").write_text("{}\n")
    context.journal.jobs.move(job, JobEvent.SKIP)
    retire_job(context, context.journal.jobs.get(job))

    assert ["metrics.jsonl"] == files(context.layout.runs / "r000001")
    assert ["candidate", "candidate-0.5", "checkpoints", "metrics.jsonl"] == files(
        context.layout.runs / "r000002"
    )


def test_rejected_lines_are_published_whole_and_only_if_there_are_any(context, job, tmp_path):
    """
    An empty file would look as if a line had been lost.
    """
    source = tmp_path / "rejects"
    publish_rejects(context, KEY, source)
    source.write_text("")
    publish_rejects(context, KEY, source)
    assert [] == files(context.layout.quarantine)
    source.write_text('{"line": 3}\n')
    publish_rejects(context, KEY, source)

    assert [f"x.{KEY}.rejects.jsonl"] == files(context.layout.quarantine)
    published = context.layout.quarantine / f"x.{KEY}.rejects.jsonl"
    assert '{"line": 3}\n' == published.read_text()


def test_a_reason_holds_the_whole_report(context, job):
    """
    Written again, it replaces the one before.
    """
    write_reason(context, KEY, "old", None)
    write_reason(context, KEY, "no rows", {"rows": 0})
    reason = orjson.loads((context.layout.quarantine / f"x.{KEY}.reason.json").read_bytes())

    assert {"key": KEY, "reason": "no rows", "report": {"rows": 0}} == reason
