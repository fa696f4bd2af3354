"""
A journal that was lost is made again from the manifests of its versions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetuned.core.books import Fate
from finetuned.core.dataset_state import DatasetState
from finetuned.core.job import JobKind, JobState
from finetuned.core.promotion import VersionVerdict
from finetuned.errors import ModelError
from finetuned.files.journal import Journal
from finetuned.files.model_manifest import ModelManifest
from finetuned.files.rebuild import restore_version
from finetuned.layout import Priority

SCORE = {
    "n_items": 4,
    "n_asked": 4,
    "n_exact": 1,
    "n_correct": 3,
    "loss": 0.25,
    "complete": True,
    "stop_rate": 1.0,
    "n_timed_out": 0,
}


def dataset(dataset_id: str, name: str) -> dict[str, Any]:
    return {
        "dataset_id": dataset_id,
        "name": name,
        "sha256": dataset_id * 4,
        "n_examples": 8,
        "n_supervised_tokens": 80,
    }


def manifest(**changes: Any) -> ModelManifest:
    document = {
        "version": "v0002",
        "run_id": "r000017",
        "job_id": "j000005",
        "parent": "v0001",
        "base": "micro",
        "verdict": "promoted",
        "created_at": "2026-11-20T09:00:00.123Z",
        "eval_run_id": "r000018",
        "datasets": [dataset("aa", "a.jsonl"), dataset("bb", "b.jsonl")],
        "job_steps": 12,
        "suites": [{"name": "heldout-aa", "origin": "new", "title": "a.jsonl"}],
        "scores": {"candidate": {"version": None, "suites": {"heldout-aa": SCORE}}},
        "files": {},
    }
    kept = {key: value for key, value in (document | changes).items() if value is not None}
    return ModelManifest.from_json(kept, Path("manifest.json"))


@pytest.fixture
def journal() -> Iterator[Journal]:
    journal = Journal(Path(":memory:"))
    yield journal
    journal.close()


def test_a_version_comes_back_with_its_job_datasets_and_scores(journal: Journal) -> None:
    """
    What the gate, a report or a person asks of the past is answered as before.
    """
    restore_version(journal, "v0002", manifest())

    (version,) = journal.versions.all()
    assert ("v0002", "v0001", "j000005", "r000017", VersionVerdict.PROMOTED) == (
        version.id,
        version.parent,
        version.job_id,
        version.run_id,
        version.verdict,
    )
    job = journal.jobs.get("j000005")
    assert (JobKind.TRAINING, JobState.PROMOTED, "v0002", "r000017") == (
        job.kind,
        job.state,
        job.version,
        job.candidate_run,
    )
    datasets = journal.datasets.of_job("j000005")
    assert [("aa", "a.jsonl"), ("bb", "b.jsonl")] == [(d.dataset_id, d.name) for d in datasets]
    assert {DatasetState.RETIRED} == {d.state for d in datasets}
    assert [("aa", 8, 80, 12), ("bb", 8, 80, 12)] == [
        (t.dataset_id, t.n_examples, t.n_supervised_tokens, t.optimizer_steps)
        for t in journal.scores.trained_on("j000005")
    ]
    assert [("heldout-aa", 0.75)] == [
        (score.suite, score.accuracy) for score in journal.scores.of_version("v0002")
    ]
    assert ["aa", "bb"] == [d.dataset_id for d in journal.learnt("v0002")]


def test_nothing_is_left_to_be_done_for_it(journal: Journal) -> None:
    """
    Its originals are where they were; it waits for no worker and no move of files.
    """
    restore_version(journal, "v0002", manifest())

    assert [] == journal.jobs.unretired()
    assert [] == journal.datasets.without_job()
    assert [] == journal.runs.unfinished()
    assert journal.promotions.last() is None  # the link current_model says which is in use


def test_numbers_go_on_after_those_of_the_manifest(journal: Journal) -> None:
    """
    No id is given to another job or run; one restored later and lower changes nothing.
    """
    restore_version(journal, "v0002", manifest())
    earlier = manifest(version="v0001", parent=None, job_id="j000003", run_id="r000009")
    restore_version(journal, "v0001", earlier)

    assert "j000006" == journal.jobs.add(Priority.NORMAL, ())
    assert "r000018" == journal.runs.next_id()


def test_what_is_recorded_already_is_left_alone(journal: Journal) -> None:
    """
    Done twice, it is done once.
    """
    restore_version(journal, "v0002", manifest())
    restore_version(journal, "v0002", manifest(verdict="rejected", datasets=[]))

    assert [VersionVerdict.PROMOTED] == [v.verdict for v in journal.versions.all()]
    assert JobState.PROMOTED is journal.jobs.get("j000005").state
    assert 2 == len(journal.datasets.of_job("j000005"))


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        ("promoted", JobState.PROMOTED),
        ("rejected", JobState.REJECTED),
        (None, JobState.PROMOTED),
        ("unheard of", JobState.REJECTED),
    ],
)
def test_a_verdict_that_is_not_a_promotion_is_a_rejection(
    journal: Journal, verdict: str | None, state: JobState
) -> None:
    """
    The first manifests had none: only promoted versions were kept then.
    """
    restore_version(journal, "v0002", manifest(verdict=verdict))

    assert state is journal.jobs.get("j000005").state


def test_a_merge_comes_back_as_one(journal: Journal) -> None:
    """
    Promotions are counted from it.
    """
    restore_version(journal, "v0002", manifest(consolidates="v0001", datasets=[]))

    assert JobKind.CONSOLIDATION is journal.jobs.get("j000005").kind
    assert 0 == journal.jobs.promotions_since_merge()


def test_a_manifest_that_says_little_is_enough(journal: Journal) -> None:
    """
    A version that a person brought has files and nothing else.
    """
    restore_version(journal, "v0007", ModelManifest.from_json({"files": {}}, Path("m")))

    (version,) = journal.versions.all()
    assert ("v0007", None, "job-of-v0007", None) == (
        version.id,
        version.parent,
        version.job_id,
        version.run_id,
    )
    assert "v0007" == journal.jobs.get("job-of-v0007").version
    assert "j000001" == journal.jobs.add(Priority.NORMAL, ())


@pytest.mark.parametrize(
    "scores",
    [
        {"candidate": {"version": None, "suites": {"heldout-aa": {**SCORE, "n_asked": None}}}},
        {"candidate": {"version": None, "suites": {"heldout-aa": {}}}},
        {"candidate": {"suites": {"heldout-aa": SCORE}}},
        {"candidate": 7},
    ],
)
def test_what_cannot_be_recorded_leaves_nothing(journal: Journal, scores: Any) -> None:
    """
    Damaged scores: the version is not recorded by halves.
    """
    damaged = manifest(scores=scores)
    with pytest.raises(ModelError, match="manifest of v0002: its scores are damaged: "):
        restore_version(journal, "v0002", damaged)

    assert [] == journal.versions.all()
    assert [] == journal.jobs.in_states()


def test_rows_that_two_versions_were_trained_on_are_on_the_books_once(journal: Journal) -> None:
    """
    A retry after a rejection: the file was learnt, and is not queued or dropped again.
    """
    rejected = manifest(version="v0001", job_id="j000003", parent=None, verdict="rejected")
    restore_version(journal, "v0001", rejected)
    restore_version(journal, "v0002", manifest(job_id="j000005", parent=None, verdict="held"))
    fates = [entry.fate for entry in journal.books.entries(["v0002"])]
    copy = journal.datasets.earlier_copy("aa", than="d00000001")

    assert [Fate.DUPLICATE] * 2 + [Fate.LEARNT] * 2 == fates
    assert copy is not None
    assert "v0002-000000" == copy.key
