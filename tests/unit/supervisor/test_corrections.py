"""
Corrections of a job: which rows are asked for them, and one file in inbox/ at most.
"""

import orjson
import pytest

from finetuned.core.job import JobEvent, JobKind
from finetuned.core.line_set import LineSet
from finetuned.files.atomic import write_atomic
from finetuned.files.run import CORRECTIONS, CORRECTIONS_REPORT
from finetuned.files.tables.datasets import Claim
from finetuned.files.tables.scores import Trained
from finetuned.layout import Priority
from finetuned.supervisor.corrections import (
    correction_spec,
    corrections_name,
    deliver_corrections,
)
from finetuned.supervisor.inbox.retire import retire_job
from support.desk import configure
from support.journals import TO_EVALUATING, add_job
from support.versions import commit

KEY, DATASET, RUN = "d00000001", "a" * 16, "r000009"
ROWS = b'{"prompt": "1 + 1 =", "completion": "2"}\n'


def concluded(context, event=JobEvent.HOLD, *, rows=ROWS):
    """Return a job whose evaluation made *rows*, and that ended with *event*."""
    journal = context.journal
    job_id = add_job(journal, KEY, DATASET)
    for step in TO_EVALUATING:
        journal.jobs.move(job_id, step)
    run = context.layout.runs / RUN
    run.mkdir(parents=True)
    if rows:
        write_atomic(run / CORRECTIONS, rows)
    write_atomic(run / CORRECTIONS_REPORT, orjson.dumps({"rows": len(rows.splitlines())}))
    version = commit(context.layout, eval_run_id=RUN)
    journal.conclude(job_id, event, version=version, parent=None, reason="")
    (context.layout.processing / KEY).mkdir()
    (context.layout.processing / KEY / "x").write_text("1")
    return journal.jobs.get(job_id)


def in_inbox(context):
    """Return the names of the files in inbox/ itself."""
    return sorted(p.name for p in context.layout.inbox.iterdir() if p.is_file())


@pytest.mark.parametrize("event", [JobEvent.ACCEPT, JobEvent.HOLD])
def test_a_retired_job_has_its_corrections_in_the_inbox(context, event):
    """
    Byte for byte as the evaluation made them, once, however often it is retired.
    """
    job = concluded(context, event)
    retire_job(context, job)
    deliver_corrections(context, job)

    name = corrections_name(job.id)
    assert in_inbox(context) == [name]
    assert (context.layout.inbox / name).read_bytes() == ROWS


def test_a_rejected_job_has_none(context):
    """
    What its candidate got wrong says nothing of the model that training goes on from.
    """
    retire_job(context, concluded(context, JobEvent.REJECT))

    assert in_inbox(context) == []


def test_a_job_without_wrong_answers_has_none(context):
    """
    An empty file would be set aside as a mistake.
    """
    retire_job(context, concluded(context, rows=b""))

    assert in_inbox(context) == []


@pytest.mark.parametrize("place", ["processing", "journal", "done", "rejected"])
def test_a_file_that_the_daemon_took_is_not_written_again(context, place):
    """
    It was killed after it wrote the file, and before the job was on record as retired.
    """
    job = concluded(context)
    name, layout = corrections_name(job.id), context.layout
    if place == "processing":
        (layout.processing / "d00000002").mkdir()
        (layout.processing / "d00000002" / name).write_bytes(ROWS)
    elif place == "journal":
        claim = Claim("d00000002", name, name.encode(), Priority.NORMAL, len(ROWS))
        context.journal.datasets.add([claim])
    else:
        folder = layout.done if place == "done" else layout.quarantine
        (folder / name.replace(".jsonl", ".d00000002.jsonl")).write_bytes(ROWS)

    deliver_corrections(context, job)

    assert in_inbox(context) == []


def test_nothing_is_asked_unless_the_configuration_says_so(context):
    """
    Off by default; and a merge has no rows of its own.
    """
    job = concluded(context)
    context.layout.datasets.joinpath(DATASET).mkdir(parents=True)
    context.layout.datasets.joinpath(DATASET, "manifest.json").write_text("{}")
    assert correction_spec(context, job, context.config) is None
    configure(context, "data", self_correction=True)
    merge = context.journal.jobs.get(
        context.journal.jobs.add(Priority.LOW, (), kind=JobKind.CONSOLIDATION)
    )

    assert correction_spec(context, merge, context.config) is None
    assert correction_spec(context, job, context.config) is not None


def test_the_rows_of_a_job_are_asked_but_for_those_that_no_step_had(context):
    """
    With the file where it is now, the cap, the time and the seed of the configuration.
    """
    configure(context, "data", self_correction=True, correction_examples=9, correction_seconds=7.0)
    job = concluded(context)
    folder = context.layout.datasets / DATASET
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    left = LineSet.of([3, 5])
    context.journal.scores.add_trained(
        job.id, "r000008", [Trained(DATASET, 3, 9, 2, left, "early_stop")]
    )

    spec = correction_spec(context, job, context.config)

    assert spec is not None
    [file] = spec.files
    assert (file.dataset, file.path) == (folder, context.layout.processing / KEY / "x")
    assert [3, 5] == LineSet.from_text(file.unseen).lines()
    assert (9, 7.0, context.config.training.seed) == (spec.max_examples, spec.seconds, spec.seed)


def test_a_file_whose_rows_are_gone_is_not_asked(context):
    """
    Somebody removed its dataset, or the file itself.
    """
    configure(context, "data", self_correction=True)
    job = concluded(context)

    assert correction_spec(context, job, context.config) is None
