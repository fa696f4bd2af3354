"""
What a worker is asked to do follows from journal and folders, and from nothing else.
"""

import pytest

from finetuned.core.job import JobEvent, JobKind
from finetuned.core.learning_rate import Mix, WarmUp, next_warm_up
from finetuned.core.line_set import LineSet
from finetuned.core.promotion import HeadCause, PromotionCause
from finetuned.core.run import RunKind, RunOutcome
from finetuned.errors import ConfigError
from finetuned.files.shipped import shipped
from finetuned.files.tables.scores import Score, Trained
from finetuned.layout import Priority
from finetuned.supervisor.runs.specs import (
    check_lineage,
    evaluation_spec,
    launch_file,
    training_spec,
    watch_spec,
)
from support.desk import configure
from support.journals import TO_EVALUATING, add_job, promote_job, release
from support.versions import commit

MICRO = shipped().bases / "micro"


def begun(context, job_id):
    journal = context.journal
    return journal.jobs.begin(job_id, config=context.config, parent=journal.promotions.incumbent())


def first_job(context):
    return begun(context, add_job(context.journal, "d00000009", "f" * 16))


def spec_of(context, job):
    return training_spec(context, job, context.config, "r000099")


def test_another_base_than_that_of_the_version_in_use_is_refused(context):
    """
    An adapter means nothing on another base; the message names both ways out.
    """
    version = commit(context.layout, base="micro")
    check_lineage(context, version)
    check_lineage(context, None)
    configure(context, "model", base="other")
    check_lineage(context, None)
    with pytest.raises(ConfigError, match=r"set model\.base back.*rollback --to-base"):
        check_lineage(context, version)


def test_a_launch_file_is_named_relative_to_the_root(tmp_path):
    """
    No name is one process; a name without a file is said with the command that makes it.
    """
    assert launch_file(tmp_path, "") is None
    with pytest.raises(ConfigError, match="accelerate config --config_file"):
        launch_file(tmp_path, "two.yaml")
    (tmp_path / "two.yaml").write_text("")

    assert tmp_path / "two.yaml" == launch_file(tmp_path, "two.yaml")


def test_the_first_job_is_trained_on_the_base_alone(context):
    """
    There is nothing to go on from, to replay, or to resume.
    """
    spec, resumed = spec_of(context, first_job(context))

    assert (MICRO, None, None, ()) == (spec.base, spec.base_version, spec.parent, spec.earlier)
    assert (1, (), None) == (spec.attempt, spec.resume_from, resumed)
    assert [(context.layout.datasets / ("f" * 16), "d00000009.jsonl")] == [
        (dataset.dir, dataset.name) for dataset in spec.datasets
    ]
    assert (None, False, True) == (spec.canaries, spec.rolled_back, spec.live_evals)


def test_a_later_job_goes_on_from_the_version_in_use(context):
    """
    Earlier datasets are replayed if they are still there; the canaries are named.
    """
    layout, journal = context.layout, context.journal
    for n, letter in ((1, "a"), (2, "b")):
        job_id = promote_job(
            journal, f"d{n:08d}", letter * 16, commit(layout, journal.promotions.incumbent())
        )
        journal.scores.add_trained(job_id, "r", [Trained(letter * 16, 3, 9, 2)])
    (layout.datasets / ("a" * 16)).mkdir()
    (layout.benchmarks / "canaries.jsonl").write_text("{}\n")
    spec, _ = spec_of(context, first_job(context))

    assert (layout.versions / "v0002", None, MICRO) == (spec.parent, spec.base_version, spec.base)
    assert (layout.datasets / ("a" * 16),) == spec.earlier
    assert layout.benchmarks / "canaries.jsonl" == spec.canaries
    assert not spec.rolled_back
    release(journal, "v0001", PromotionCause.PROMOTE)
    assert spec_of(context, first_job(context))[0].rolled_back


def test_a_file_that_slipped_is_rehearsed_more(context):
    """
    By what the last evaluations of the lineage say of its held-out rows, told by dataset id.
    """
    layout, journal, suite = context.layout, context.journal, "heldout-" + "a" * 16
    for n, letter, origin, right in ((1, "a", "new", 190), (2, "b", "old", 150)):
        job_id = promote_job(
            journal, f"d{n:08d}", letter * 16, commit(layout, journal.promotions.incumbent())
        )
        asked = Score(
            "candidate", None, suite, origin, "a", 200, 200, right, right, 0.5, True, 1.0, 0
        )
        journal.scores.add(job_id, f"r{n:06d}", [asked])

    assert {"a" * 16: 4.0} == spec_of(context, first_job(context))[0].replay_weights


def test_of_a_file_that_was_learnt_in_part_only_the_rest_is_trained(context):
    """
    Exactly the lines that no step had; of a head that has learnt none of it, all again.
    """
    journal, rest = context.journal, LineSet.of([3, 9])
    job_id = promote_job(journal, "d00000009", "f" * 16, commit(context.layout))
    journal.scores.add_trained(job_id, "r", [Trained("f" * 16, 3, 9, 2, rest, "stopped early")])
    (again,) = journal.retry(["d00000009"]).values()
    (dataset,) = spec_of(context, begun(context, again))[0].datasets

    assert rest == LineSet.from_text(dataset.lines)
    assert journal.set_learnt_aside(again) is None
    release(journal, None, PromotionCause.ROLLBACK)
    assert spec_of(context, begun(context, again))[0].datasets[0].lines is None


@pytest.mark.parametrize(
    ("event", "parent"),
    [(JobEvent.ACCEPT, "v0002"), (JobEvent.HOLD, "v0002"), (JobEvent.REJECT, "v0001")],
)
def test_no_verdict_resets_anything(context, event, parent):
    """
    The next job goes on from the head's own folder, in which are moments, lineage step, warm-up
    and replay, and is not told of any roll-back: the learning rate does not warm up again.
    """
    layout, journal = context.layout, context.journal
    promote_job(journal, "d00000001", "a" * 16, commit(layout))
    job_id = add_job(journal, "d00000002", "b" * 16)
    for step in TO_EVALUATING:
        journal.jobs.move(job_id, step)
    journal.conclude(job_id, event, version=commit(layout, "v0001"), parent="v0001", reason="")
    head = journal.heads.version()
    job = journal.jobs.begin(
        add_job(journal, "d00000003", "c" * 16), config=context.config, parent=head
    )
    spec, resumed = spec_of(context, job)

    assert (layout.versions / parent, False, None) == (spec.parent, spec.rolled_back, resumed)
    before = WarmUp(0, 20)
    mix = Mix(spec.config.training.replay_presentations, 16)
    after = next_warm_up(
        before,
        lineage_step=7,
        warmup_steps=20,
        rolled_back=spec.rolled_back,
        parent_mix=mix,
        mix=mix,
    )
    assert (before, None) == after


def test_on_a_merged_version_the_adapter_sits_on_that_version(context):
    """
    It is the base of everything that is trained from then on.
    """
    layout = context.layout
    first = commit(layout)
    merged = commit(layout, first, full=True, consolidates=first)
    release(context.journal, merged, PromotionCause.GATE)
    spec, _ = spec_of(context, first_job(context))

    assert (layout.versions / merged, merged) == (spec.base, spec.base_version)


def test_a_run_resumes_from_the_checkpoints_that_still_count(context):
    """
    Those of superseded runs do not; evaluations left none. After an eval that hung there are
    no more live evals in this job.
    """
    job = first_job(context)
    runs = context.journal.runs
    for run_id, kind, outcome in (
        ("r000001", RunKind.TRAINING, RunOutcome.SUPERSEDED),
        ("r000002", RunKind.TRAINING, RunOutcome.INTERRUPT),
        ("r000003", RunKind.EVALUATION, RunOutcome.INTERRUPT),
    ):
        runs.add(run_id, kind, job_id=job.id)
        runs.end(run_id, outcome)
    spec, resumed = spec_of(context, job)
    assert ("r000002", 3, True) == (resumed, spec.attempt, spec.live_evals)
    assert (context.layout.runs / "r000002" / "checkpoints",) == spec.resume_from
    runs.add("r000004", RunKind.TRAINING, job_id=job.id)
    runs.end("r000004", RunOutcome.STUCK_IN_EVAL)
    spec, resumed = spec_of(context, job)

    assert ("r000004", False) == (resumed, spec.live_evals)


@pytest.mark.parametrize(
    ("section", "values", "growth"),
    [
        ("supervisor", {"worker_growth": 1.75}, 1.75),
        ("supervisor", {"warm_worker_seconds": 0.0}, None),
        ("training", {"accelerate_config": "two.yaml"}, None),
    ],
)
def test_a_worker_stays_only_if_one_may_wait(context, section, values, growth):
    """
    None ends it after the run.
    """
    configure(context, section, **values)

    assert growth == spec_of(context, first_job(context))[0].worker_growth


def trained(context, job):
    context.journal.jobs.move(job.id, JobEvent.START)
    context.journal.jobs.move(job.id, JobEvent.FINISH, candidate_run="r000007")
    return context.journal.jobs.get(job.id)


def test_base_incumbent_and_candidate_are_asked_the_same(context):
    """
    New rows, old rows that are still there, and every benchmark that the incumbent was asked.
    """
    layout, journal = context.layout, context.journal
    version = commit(layout)
    job_id = promote_job(journal, "d00000001", "a" * 16, version)
    journal.scores.add_trained(job_id, "r", [Trained("a" * 16, 3, 9, 2)])
    score = Score("candidate", None, "infra", "benchmark", "infra", 1, 1, 1, 1, 0.5, True, 1.0, 0)
    journal.scores.add(job_id, "r000002", [score])
    (layout.datasets / ("a" * 16)).mkdir()
    job = first_job(context)
    journal.scores.add_trained(job.id, "r000007", [Trained("f" * 16, 5, 9, 2)])
    spec = evaluation_spec(context, trained(context, job), "r000099")
    questions = spec.job

    assert (MICRO, layout.runs / "r000007" / "candidate") == (
        spec.candidate.base,
        spec.candidate.folder,
    )
    assert (layout.versions / version, version) == (spec.incumbent.folder, spec.incumbent.version)
    assert (MICRO, None) == (questions.base.base, questions.base.folder)
    assert [("f" * 16, 5)] == [(d.dataset_id, d.n_examples) for d in questions.datasets]
    assert ["d00000009.jsonl"] == [rows.name for rows in questions.new]
    assert ["d00000001.jsonl"] == [rows.name for rows in questions.old]
    assert ("infra",) == questions.also


def test_rows_learnt_since_the_release_are_new_together(context):
    """
    Those of every held version since, and the job's own. What a person promoted although the
    gate rejected it is old: it counts in every later comparison.
    """
    layout, journal = context.layout, context.journal
    parent = None
    for n, event in enumerate((JobEvent.ACCEPT, JobEvent.REJECT, JobEvent.HOLD, JobEvent.HOLD), 1):
        dataset, version = str(n) * 16, commit(layout, parent)
        job_id = add_job(journal, f"d{n:08d}", dataset)
        for step in TO_EVALUATING:
            journal.jobs.move(job_id, step)
        journal.scores.add_trained(job_id, "r", [Trained(dataset, 3, 9, 2)], at=f"2026-{n}")
        journal.conclude(job_id, event, version=version, parent=parent, reason="")
        (layout.datasets / dataset).mkdir()
        if event is JobEvent.REJECT:
            release(journal, version, PromotionCause.PROMOTE)
        parent = version
    job = journal.jobs.begin(
        add_job(journal, "d00000009", "f" * 16), config=context.config, parent=parent
    )
    spec = evaluation_spec(context, trained(context, job), "r000099")

    assert ("v0002", "v0004") == (spec.incumbent.version, spec.head.version)
    assert [3, 4, 9] == [int(rows.name[1:9]) for rows in spec.job.new]
    assert [1, 2] == [int(rows.name[1:9]) for rows in spec.job.old]
    journal.heads.add("v0002", HeadCause.ROLLBACK)
    again = journal.jobs.begin(job.id, config=context.config, parent="v0002")
    alone = evaluation_spec(context, again, "r000100")
    assert (None, 1) == (alone.head, len(alone.job.new))


def test_a_merged_candidate_is_a_base_of_its_own(context):
    """
    Full weights, with no adapter on top.
    """
    release(context.journal, commit(context.layout), PromotionCause.GATE)
    job = begun(context, context.journal.jobs.add(Priority.LOW, (), kind=JobKind.CONSOLIDATION))
    spec = evaluation_spec(context, trained(context, job), "r000099")

    assert (context.layout.runs / "r000007" / "candidate", None) == (
        spec.candidate.base,
        spec.candidate.folder,
    )


@pytest.mark.parametrize("merged", [False, True])
def test_the_watch_asks_what_is_served(context, merged):
    """
    Through current_model, as a server does; the version before by its own folder.
    """
    layout = context.layout
    first = commit(layout)
    served = commit(layout, first, full=merged, **({"consolidates": first} if merged else {}))
    spec = watch_spec(context, "r000099", served=served, before=first, compare=True)
    link = layout.current_model

    assert (RunKind.WATCH, None) == (spec.kind, spec.job)
    assert ((link, None) if merged else (MICRO, link)) == (
        spec.candidate.base,
        spec.candidate.folder,
    )
    assert (served, layout.versions / first) == (spec.candidate.version, spec.incumbent.folder)
    alone = watch_spec(context, "r000099", served=served, before=first, compare=False)
    assert alone.incumbent is None
