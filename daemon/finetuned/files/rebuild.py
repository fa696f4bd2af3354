"""
What a version's manifest says, put back into a journal that was lost.
"""

from __future__ import annotations

from collections.abc import Mapping

from finetuned.core.job import JobKind, JobState
from finetuned.core.promotion import VersionVerdict
from finetuned.files.journal import Journal
from finetuned.files.model_manifest import ModelManifest
from finetuned.files.run import utc_now
from finetuned.files.tables.scores import Trained, scores_of_report


def restore_version(journal: Journal, version: str, manifest: ModelManifest) -> None:
    """
    Record a version, its job, its datasets and its scores, in one transaction.

    What is recorded already is left alone. A job or an evaluation that the manifest
    does not name gets a name made from the version's.

    Raises:
        ModelError: The scores of the manifest are damaged; nothing was recorded.
    """
    job_id = manifest.job_id or f"job-of-{version}"
    at = manifest.created_at or utc_now()
    verdict = verdict_of(manifest)
    document = manifest.document
    scores = scores_of_report(
        document.get("suites") or [],
        document.get("scores") or {},
        source=f"manifest of {version}",
    )
    with journal.together():
        journal.versions.add(
            version,
            verdict,
            parent=manifest.parent,
            job_id=job_id,
            run_id=manifest.run_id,
            created_at=at,
        )
        journal.jobs.restore(
            job_id,
            kind=JobKind.CONSOLIDATION if manifest.consolidates else JobKind.TRAINING,
            state=JobState(verdict),
            version=version,
            parent=manifest.parent,
            candidate_run=manifest.run_id,
            reason=manifest.reason,
            at=at,
        )
        _restore_datasets(journal, version, manifest, job_id=job_id, at=at)
        evaluation = manifest.eval_run_id or f"evaluation-of-{version}"
        journal.scores.add(job_id, evaluation, scores)
        journal.jobs.reserve_ids(_number(job_id))
        journal.runs.reserve_ids(_number(manifest.run_id or ""))


def bridge_gaps(journal: Journal, manifests: Mapping[str, ModelManifest]) -> None:
    """
    Record parents of which nothing is left, so that no lineage ends at them.

    An old head that was removed by hand was trained on top of the release of its child's time,
    as was the child: the lineage goes on there. What it learnt is not known: it has no job.
    """
    for manifest in manifests.values():
        parent, release = manifest.parent, manifest.way_back
        if None not in (parent, release) and parent != release and parent not in manifests:
            journal.versions.add(str(parent), VersionVerdict.HELD, parent=release)


def verdict_of(manifest: ModelManifest) -> VersionVerdict:
    """
    Return the gate's verdict in a manifest: promoted if it holds none, rejected if a strange one.
    """
    try:
        return VersionVerdict(manifest.verdict or VersionVerdict.PROMOTED)
    except ValueError:
        return VersionVerdict.REJECTED


def _restore_datasets(
    journal: Journal, version: str, manifest: ModelManifest, *, job_id: str, at: str
) -> None:
    trained = [
        Trained(
            d.dataset_id,
            d.n_examples,
            d.n_supervised_tokens,
            manifest.job_steps,
            d.unseen,
            d.unseen_because,
        )
        for d in manifest.datasets
    ]
    journal.scores.add_trained(job_id, manifest.run_id or "", trained, at=at)
    for i, dataset in enumerate(manifest.datasets):
        journal.datasets.restore(
            f"{version}-{i:06d}",
            name=dataset.name,
            dataset_id=dataset.dataset_id,
            sha256=dataset.sha256,
            job_id=job_id,
            at=at,
        )


def _number(name: str) -> int:
    """Return the number in an id such as ``j000012``, 0 if it has none."""
    return int(name[1:]) if name[1:].isdecimal() else 0
