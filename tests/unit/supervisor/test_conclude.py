"""
From an eval report to a version: judged once, recorded whole, and put in use.
"""

import shutil

import orjson
import pytest

from finetuned.core.gate.verdict import Rule, RuleKind, Verdict
from finetuned.core.job import JobEvent, JobKind, JobState
from finetuned.core.promotion import HeadCause, PromotionCause
from finetuned.errors import ModelError
from finetuned.files.confidence_map import CONFIDENCE, read_map
from finetuned.files.manifest import write_manifest
from finetuned.files.run import REPORT
from finetuned.files.tables.scores import Score
from finetuned.layout import Priority
from finetuned.registry.current_model import incumbent
from finetuned.registry.folder import verify_folder
from finetuned.registry.head import linked_head
from finetuned.registry.trash import list_trash
from finetuned.registry.versions import list_versions, read_version
from finetuned.supervisor.runs.specs import with_more_rehearsal
from finetuned.supervisor.verdict import conclude as conclude_module
from finetuned.supervisor.verdict.conclude import (
    RESOLVED_CONFIG,
    chosen_trial,
    conclude,
    deserves_second_try,
    outcome_of,
    required_suites,
)
from finetuned.supervisor.verdict.follow import follow_journal
from support.candidates import make_candidate
from support.desk import configure
from support.eval_reports import make_confidence
from support.journals import TO_EVALUATING, add_accepted, add_job, release
from support.versions import commit

TRAINING, EVALUATION = "r000001", "r000002"
TRIED = {"tried": [{"a": 0.5}, {"a": 0.3}], "chosen": 0.3}


@pytest.fixture
def job(context):
    """
    A job on the base model, in evaluation, whose candidate lies in its training run.
    """
    configure(context, "evaluation", suites="")
    job_id = add_job(context.journal, "d00000001", "a" * 16)
    context.journal.jobs.begin(job_id, config=context.config, parent=None)
    for event in TO_EVALUATING:
        run = TRAINING if event is JobEvent.FINISH else None
        context.journal.jobs.move(job_id, event, candidate_run=run)
    candidate(context.layout.runs / TRAINING / "candidate")
    (context.layout.runs / EVALUATION).mkdir()
    return job_id


def candidate(folder, **facts):
    make_candidate(folder)
    made = {"kind": "candidate", "run_id": TRAINING, "parent": None, "job_steps": 2}
    write_manifest(folder, made | facts)


def report(n_right=40, n_items=40, *, chosen=None):
    """
    A report on one new suite of which the base answers none and the candidate *n_right*.
    """

    def outcome(right):
        return {
            "correct": right,
            "stopped": True,
            "loss": 1.0 if right else 9.0,
            "n_tokens": 4,
            "exact": right,
            "score": float(right),
            "timed_out": False,
            "answer": "a",
        }

    def subject(n, version=None, same_as=None):
        score = {
            "n_items": n_items,
            "n_asked": n_items,
            "n_correct": n,
            "n_exact": n,
            "accuracy": n / n_items,
            "loss": 1.0,
            "loss_tokens": 4 * n_items,
            "complete": True,
            "stop_rate": 1.0,
            "n_timed_out": 0,
        }
        suites = {} if same_as else {f"heldout-{'a' * 16}": score}
        return {"version": version, "same_as": same_as, "suites": suites}

    return {
        "run_id": EVALUATION,
        "suites": [
            {
                "name": f"heldout-{'a' * 16}",
                "origin": "new",
                "title": "a.jsonl",
                "n_items": n_items,
                "required": True,
                "problem": None,
            }
        ],
        "items": [
            {
                "suite": f"heldout-{'a' * 16}",
                "id": str(i),
                "cluster": str(i),
                "outcomes": {"base": outcome(False), "candidate": outcome(i < n_right)},
            }
            for i in range(n_items)
        ],
        "subjects": {
            "base": subject(0),
            "incumbent": subject(0, same_as="base"),
            "candidate": subject(n_right),
        },
        "datasets": [{"name": "a.jsonl"}],
        "interpolation": {"chosen": chosen},
    }


def judge(context, job, found):
    folder = context.layout.runs / EVALUATION
    (folder / REPORT).write_bytes(orjson.dumps(found))
    conclude(context, context.journal.jobs.get(job), folder)


def test_the_confidence_map_of_a_report_is_sealed_into_the_version(context, job):
    """
    It is fitted on the answers of these weights, so it goes wherever they go, and its hash is
    looked at before they are served.
    """
    judge(context, job, {**report(), "confidence": make_confidence()})
    layout = context.layout
    manifest = verify_folder(layout.versions / "v0001", "v0001")
    assert CONFIDENCE in manifest.bytes_by_file
    for folder in (layout.versions / "v0001", layout.backups / "v0001"):
        kept = read_map(folder)
        assert kept is not None
        assert ("v0001", 240) == (kept.version, kept.map.n)


def test_a_version_without_evidence_of_its_confidence_has_no_map(context, job):
    """
    Too few answers, or a report of an earlier release: it is served uncalibrated.
    """
    judge(context, job, {**report(), "confidence": make_confidence(10)})
    assert read_map(context.layout.versions / "v0001") is None


def test_a_better_candidate_becomes_the_version_in_use(context, job):
    """
    In the registry, the journal, current_model and the backup, with report and configuration.
    """
    judge(context, job, report())
    layout, found = context.layout, context.journal.jobs.get(job)
    folder = layout.versions / "v0001"
    kept = orjson.loads((folder / REPORT).read_bytes())

    assert (JobState.PROMOTED, "v0001") == (found.state, found.version)
    assert ("v0001", "v0001") == (incumbent(layout), context.journal.promotions.incumbent())
    assert (layout.backups / "v0001" / "manifest.json").is_file()
    assert ("v0001", True) == (kept["version"], kept["verdict"]["promoted"])
    assert "v0001" == kept["forgetting"]["matrix"]["rows"][-1]["version"]
    assert context.config.as_dict() == orjson.loads((folder / RESOLVED_CONFIG).read_bytes())
    manifest = read_version(layout, "v0001").manifest
    assert ("promoted", EVALUATION, 2) == (
        manifest.verdict,
        manifest.eval_run_id,
        manifest.job_steps,
    )
    assert [1.0] == [score.accuracy for score in context.journal.scores.of_version("v0001")]


def test_a_candidate_without_a_gain_is_the_head_and_not_in_use(context, job):
    """
    Training goes on from it; the status says which rule it failed.
    """
    judge(context, job, report(n_right=0))
    said, layout = context.board.fields["last_verdict"], context.layout

    assert JobState.HELD is context.journal.jobs.get(job).state
    assert "held" == read_version(layout, "v0001").manifest.verdict
    assert (None, "v0001") == (incumbent(layout), linked_head(layout))
    assert ("v0001", "held", False, job) == (
        said["version"],
        said["outcome"],
        said["promoted"],
        said["job_id"],
    )
    assert [False] == [rule["passed"] for rule in said["rules"] if rule["name"] == "gain"]
    shown = context.board.fields
    assert ("v0001", 1) == (shown["head"], shown["beyond_release"]["versions"])


def test_a_candidate_that_is_shown_to_be_worse_is_kept_and_no_head(context, job):
    """
    A person may promote it; training goes on from where it was.
    """
    found = report(n_right=40)
    for item in found["items"]:
        outcomes = item["outcomes"]
        outcomes["base"], outcomes["candidate"] = outcomes["candidate"], outcomes["base"]
    judge(context, job, found)

    assert JobState.REJECTED is context.journal.jobs.get(job).state
    assert "rejected" == read_version(context.layout, "v0001").manifest.verdict
    assert (None, None) == (incumbent(context.layout), linked_head(context.layout))
    assert context.journal.heads.last() is None


@pytest.mark.parametrize(
    ("parent", "outcome"), [("v0001", "promoted"), ("v0002", "held"), (None, "held")]
)
def test_the_merge_of_a_head_that_is_held_is_held(context, parent, outcome):
    """
    A merge shows no gain: what it merged must be the release already.
    """
    better = Verdict((Rule("merge", True, "", RuleKind.HARM),))
    job_id = context.journal.jobs.add(Priority.LOW, (), kind=JobKind.CONSOLIDATION)
    job = context.journal.jobs.begin(job_id, config=context.config, parent=parent)

    assert outcome == outcome_of(better, job, "v0001")


def forgetful():
    """
    A report of which the candidate is better on the new rows, and lost an older suite.
    """
    found = report()
    older = f"heldout-{'c' * 16}"
    found["suites"].append(found["suites"][0] | {"name": older, "origin": "old"})
    for item in [dict(item) for item in found["items"]]:
        outcomes = item["outcomes"]
        swapped = {"base": outcomes["candidate"], "candidate": outcomes["base"]}
        found["items"].append(item | {"suite": older, "outcomes": swapped})
    for subject in ("base", "candidate"):
        suites = found["subjects"][subject]["suites"]
        suites[older] = dict(next(iter(suites.values())))
    return found


def test_a_candidate_that_only_forgot_is_tried_once_more_with_more_rehearsal(context, job):
    """
    No version is made of it, and the journal remembers: the second time it is rejected.
    """
    journal, run = context.journal, context.layout.runs / TRAINING
    run.rename(run.with_name("kept"))
    release(journal, commit(context.layout, run_id="r-earlier"), PromotionCause.GATE)
    shutil.rmtree(run)
    run.with_name("kept").rename(run)
    journal.jobs.begin(job, config=context.config, parent="v0001")
    judge(context, job, forgetful())
    found = journal.jobs.get(job)
    assert (JobState.QUEUED, True, None) == (found.state, found.second_try, found.parent)
    assert found.reason.startswith("old_accuracy")
    assert ["v0001"] == list_versions(context.layout)

    more = with_more_rehearsal(context.config)
    assert 1200 == more.training.replay_presentations
    journal.jobs.begin(job, config=more, parent="v0001")
    for event in TO_EVALUATING:
        journal.jobs.move(job, event)
    judge(context, job, forgetful())
    assert JobState.REJECTED is journal.jobs.get(job).state
    assert "v0001" == journal.heads.version()


@pytest.mark.parametrize(
    ("values", "parent"),
    [({"replay_presentations": 0}, "v0001"), ({"replay_rows": 0}, "v0001"), ({}, None)],
)
def test_without_anything_to_rehearse_there_is_no_second_try(context, job, values, parent):
    """
    More of nothing would end the same way.
    """
    configure(context, "training", **values)
    begun = context.journal.jobs.begin(job, config=context.config, parent=parent)
    lost = Verdict((Rule("old_loss", False, "", RuleKind.HARM),))

    assert not deserves_second_try(lost, begun, context.config)


def test_every_judgement_against_one_release_is_counted_once(context, job):
    """
    With the trials between parent and candidate; a report that is judged again is one look.
    """
    journal = context.journal
    found = report(n_right=0)
    found["interpolation"] = {"tried": [{"a": 0.5}, {"a": 0.3}], "chosen": None}
    assert (1, 1) == (journal.next_look(EVALUATION), journal.next_look("r000009"))
    judge(context, job, found)
    assert (1, 4) == (journal.next_look(EVALUATION), journal.next_look("r000009"))
    journal.note_look(EVALUATION, 3)
    assert 4 == journal.next_look("r000009")
    journal.put_in_use("v0001", PromotionCause.PROMOTE)
    assert 1 == journal.next_look("r000009")
    assert [0, 2] == [chosen_trial(found), chosen_trial(found | {"interpolation": TRIED})]


def test_a_look_without_a_verdict_is_not_counted(context, job, monkeypatch):
    """
    Killed in between, the candidate is evaluated again: the same rows, the same chance.
    """

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conclude_module, "_commit", killed)
        with pytest.raises(KeyboardInterrupt):
            judge(context, job, report())
    assert 1 == context.journal.next_look("r000009")


@pytest.mark.parametrize("what", ["head", "release"])
def test_an_order_that_comes_while_a_verdict_is_recorded_is_obeyed(context, job, monkeypatch, what):
    """
    Else the candidate would be put in use again on top of what a person has just left.
    """
    journal, whole = context.journal, conclude_module._commit

    def overtaken(*arguments):
        version = whole(*arguments)
        if what == "head":
            journal.heads.add("v0000", HeadCause.ROLLBACK)
        else:
            journal.put_in_use("v0000", PromotionCause.PROMOTE)
        return version

    with monkeypatch.context() as patch:
        patch.setattr(conclude_module, "_commit", overtaken)
        judge(context, job, report())
    found = journal.jobs.get(job)
    assert (JobState.TRAINED, None) == (found.state, found.version)
    assert found.reason.startswith("head or release were changed")
    assert ([], 1) == (journal.versions.all(), journal.next_look("r000009"))
    last = journal.heads.last() if what == "head" else journal.promotions.last()
    assert "v0000" == last.version


def test_a_release_that_comes_back_goes_on_with_its_count(context, job):
    """
    Else a roll-back to what is in use, or a watch that takes a version back, buys new chances.
    """
    journal = context.journal
    judge(context, job, report(n_right=0))
    journal.put_in_use(None, PromotionCause.ROLLBACK)
    assert 2 == journal.next_look("r000009")
    journal.put_in_use("v0001", PromotionCause.PROMOTE)
    journal.note_look("r000003", 3)
    journal.put_in_use("v0001", PromotionCause.ROLLBACK)
    assert 4 == journal.next_look("r000009")
    journal.put_in_use(None, PromotionCause.WATCH)
    assert 2 == journal.next_look("r000009")


def test_a_report_without_the_required_suite_is_no_evidence(context, job):
    """
    However good the rest of it is.
    """
    found = report()
    found["suites"][0]["name"] = "another"
    judge(context, job, found)

    assert JobState.HELD is context.journal.jobs.get(job).state


def test_a_worker_cannot_claim_to_be_a_merge(context, job):
    """
    A merge may be promoted without a gain; what kind of job it was is on record.
    """
    folder = context.layout.runs / TRAINING / "candidate"
    shutil.rmtree(folder)
    candidate(folder, merge={"difference": 0.0, "tolerance": 0.001, "n_positions": 64})
    judge(context, job, report(n_right=0) | {"job_kind": "consolidation"})

    assert JobState.HELD is context.journal.jobs.get(job).state


def test_a_crash_between_the_steps_makes_no_second_version(context, job, monkeypatch):
    """
    The version was committed, the journal did not know: the same one is found.
    """

    def refuse(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(context.journal.scores, "add", refuse)
        with pytest.raises(OSError, match="disk full"):
            judge(context, job, report())
    assert JobState.EVALUATING is context.journal.jobs.get(job).state
    judge(context, job, report())

    assert ["v0001"] == list_versions(context.layout)
    assert JobState.PROMOTED is context.journal.jobs.get(job).state


def test_a_version_of_a_verdict_that_was_never_recorded_is_not_taken_for_another(
    context, job, monkeypatch
):
    """
    Killed after the commit, the candidate is judged on other rows: what its manifest says counts.
    """
    candidate_dir = context.layout.runs / TRAINING / "candidate"
    shutil.rmtree(candidate_dir)
    candidate(candidate_dir, job_id=job)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conclude_module, "conclude_job", killed)
        with pytest.raises(KeyboardInterrupt):
            judge(context, job, report())
    judge(context, job, report(n_right=0))
    layout = context.layout
    assert ["v0002"] == list_versions(layout)
    assert "held" == read_version(layout, "v0002").manifest.verdict
    assert ["v0001"] == [name.partition("-")[0] for name in list_trash(layout)]
    assert ("v0002", "v0002") == (linked_head(layout), context.journal.heads.version())


@pytest.mark.parametrize("n_right", [40, 0])
@pytest.mark.parametrize("step", ["_commit", "conclude_job", "follow_journal"])
@pytest.mark.parametrize("after", [False, True])
def test_a_verdict_that_ends_between_two_steps_moves_head_and_release_once(
    context, job, monkeypatch, n_right, step, after
):
    """
    Killed before or after a step: the next start evaluates again, or follows the journal.
    """
    whole = getattr(conclude_module, step)

    def killed(*arguments, **more):
        if after:
            whole(*arguments, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conclude_module, step, killed)
        with pytest.raises(KeyboardInterrupt):
            judge(context, job, report(n_right=n_right))
    journal, layout = context.journal, context.layout
    if journal.jobs.get(job).state is JobState.EVALUATING:
        journal.jobs.move(job, JobEvent.INTERRUPT)
        journal.jobs.move(job, JobEvent.START)
        judge(context, job, report(n_right=n_right))
    follow_journal(context)

    assert ["v0001"] == list_versions(layout)
    last, released = journal.heads.last(), "v0001" if n_right else None
    assert (1, "v0001", job) == (last.seq, last.version, last.job_id)
    assert ("v0001", released) == (linked_head(layout), incumbent(layout))
    assert released == journal.promotions.incumbent()
    assert (1 if n_right else 2) == journal.next_look("r000009")  # a new release is looked at anew


def test_damaged_scores_make_no_version(context, job):
    """
    A version whose manifest nobody can read would be lost with the next journal.
    """
    found = report()
    del found["subjects"]["candidate"]["suites"][f"heldout-{'a' * 16}"]["n_asked"]
    with pytest.raises(ModelError, match="its scores are damaged"):
        judge(context, job, found)

    assert [] == list_versions(context.layout)


def test_weights_between_incumbent_and_candidate_are_taken_if_they_were_chosen(context, job):
    """
    They lie in the run of the evaluation.
    """
    candidate(context.layout.runs / EVALUATION / "candidate-0.5")
    judge(context, job, report(chosen=0.5))
    weights = context.layout.versions / "v0001" / "adapter_model.safetensors"

    assert "adapter_model.safetensors of candidate-0.5" == weights.read_text()
    assert 0.5 == context.board.fields["last_verdict"]["interpolated"]


def test_the_accuracy_shown_is_that_of_the_model_in_use(context, job):
    """
    In percent of the new rows, with its direction.
    """
    context.board.update(fixed_eval_em=50.0)
    judge(context, job, report(n_right=30))

    assert (75.0, "improving", 1.0) == tuple(
        context.board.fields[f"fixed_eval_{name}"] for name in ("em", "trend", "ce")
    )


def test_required_suites_are_those_that_must_not_be_left_out(context, job):
    """
    Own held-out rows, named benchmarks, and with * those that the release was asked.
    """
    scores = [
        Score("candidate", None, name, origin, name, 1, 1, 1, 1, 0.5, True, 1.0, 0)
        for name, origin in (("infra", "benchmark"), ("canaries", "canary"), ("x", "old"))
    ]
    context.journal.scores.add(job, EVALUATION, scores)
    context.journal.conclude(job, JobEvent.ACCEPT, version="v0001", parent=None, reason="")
    own = [f"heldout-{'b' * 16}"]
    journal = context.journal

    def required(suites, parent):
        configure(context, "evaluation", suites=suites)
        row = context.journal.jobs.begin(second, config=context.config, parent=parent)
        return required_suites(context, row, context.config)

    second = add_job(context.journal, "d00000002", "b" * 16)
    assert own == required("", "v0001")
    assert ["mine", "other", *own] == required("mine, other", "v0001")
    journal.put_in_use(None, PromotionCause.ROLLBACK)
    assert own == required("*", "v0001")
    journal.put_in_use("v0001", PromotionCause.PROMOTE)
    assert ["mine", "canaries", "infra", *own] == required("*, mine", "v0001")


def test_of_very_many_files_none_is_required(context):
    """
    Not every one of them is asked, as the rows of an evaluation are limited.
    """
    journal = context.journal
    for key, letter in (("d00000002", "b"), ("d00000003", "c")):
        add_accepted(journal, key, letter * 16)
    job_id = journal.jobs.add(Priority.NORMAL, ["d00000002", "d00000003"])
    row = journal.jobs.begin(job_id, config=context.config, parent=None)
    configure(context, "evaluation", suites="", final_max_rows=4)
    both = [f"heldout-{letter * 16}" for letter in "bc"]
    assert both == required_suites(context, row, context.config)
    configure(context, "evaluation", final_max_rows=3)

    assert [] == required_suites(context, row, context.config)


def test_a_verdict_for_a_lost_canary_says_what_was_answered_and_what_to_do(context, job):
    """
    In the reason and in the status: which canary, both answers, and where the choices are.
    """
    found, right = report(), {**report()["items"][0]["outcomes"]["candidate"], "answer": "Hello."}
    lost = {"base": right, "candidate": {**right, "correct": False, "answer": "{}"}}
    suite = {**found["suites"][0], "name": "canaries", "origin": "canary", "n_items": 1}
    found["suites"].append(suite)
    found["items"].append(
        {"suite": "canaries", "id": "motd", "cluster": "motd", "prompt": "Hi!", "outcomes": lost}
    )
    for scores in found["subjects"].values():
        if scores["suites"]:
            scores["suites"]["canaries"] = next(iter(scores["suites"].values()))
    judge(context, job, found)
    said = context.board.fields["last_verdict"]
    kept = orjson.loads((context.layout.versions / "v0001" / REPORT).read_bytes())

    assert JobState.HELD is context.journal.jobs.get(job).state
    assert said["reason"].startswith("canaries: 0 of 1 that the release passed; failed: motd; motd")
    assert 'was answered "Hello." by the release, "{}" by the candidate' in said["reason"]
    assert said["reason"] == kept["verdict"]["reason"]
    assert [("motd", "Hello.", "{}", "release")] == [
        (c["id"], c["before"], c["now"], c["against"]) for c in said["lost_canaries"]
    ]


def test_a_verdict_for_anything_else_says_nothing_of_canaries(context, job):
    """
    The reason is the gate's own.
    """
    judge(context, job, report(n_right=0))
    said = context.board.fields["last_verdict"]

    assert [] == said["lost_canaries"]
    assert "finetuned report" not in said["reason"]
