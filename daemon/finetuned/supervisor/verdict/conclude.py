"""
From an eval report to a version: gate, registry, journal, current_model, backup.

Every step can be repeated: a crash between two of them is finished by doing it
again, and the journal decides what current_model has to be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import structlog

from finetuned.config import Config
from finetuned.core.evidence import evidence_of, together
from finetuned.core.gate.judge import judge
from finetuned.core.gate.verdict import CANARY_RULES, Verdict
from finetuned.core.job import JobEvent, JobKind
from finetuned.core.lost_canaries import LostCanary, lost_canaries
from finetuned.core.promotion import VersionVerdict
from finetuned.core.record import to_json
from finetuned.core.retention import version_number
from finetuned.core.suite_origin import HELD_OUT
from finetuned.files.confidence_map import CONFIDENCE, map_bytes
from finetuned.files.journal import Judgement
from finetuned.files.model_manifest import read_model_manifest
from finetuned.files.rows import JobRow
from finetuned.files.run import CANDIDATE, REPORT, interpolated_candidate, read_json
from finetuned.files.tables.scores import scores_of_report
from finetuned.registry.commit import commit_version
from finetuned.registry.trash import withdraw
from finetuned.reports.lost_canaries import in_short
from finetuned.supervisor.context import Context
from finetuned.supervisor.job_moves import conclude_job, try_again
from finetuned.supervisor.learnt import learnt_since
from finetuned.supervisor.verdict.follow import follow_journal
from finetuned.supervisor.verdict.history import (
    add_history,
    named,
    note_verdict,
    report_bytes,
    rules_of,
)

log = structlog.get_logger()

EVENTS = {
    VersionVerdict.PROMOTED: JobEvent.ACCEPT,
    VersionVerdict.HELD: JobEvent.HOLD,
    VersionVerdict.REJECTED: JobEvent.REJECT,
}
"""What happens to a job by the verdict on its candidate."""

RESOLVED_CONFIG = "finetuned_config.json"

MAX_LOST = 10
"""Lost canaries that the status tells of; the eval report has all answers."""


def conclude(context: Context, job: JobRow, run_dir: Path) -> None:
    """
    Judge the candidate of *job* by the report in *run_dir* and act on the verdict.

    Raises:
        ModelError: The candidate is not intact, or the report is damaged.
        OSError: The file system refused. The job is evaluated again later, and
            what was done already is found and not done twice.
    """
    report = read_json(run_dir / REPORT) or {}
    config = job.resolved_config()
    candidate = _candidate_folder(context, job, run_dir, report)
    made = read_model_manifest(candidate).document
    required = required_suites(context, job, config)
    report["job_kind"] = (
        job.kind
    )  # a merge may be promoted without a gain, and the worker must not claim to be one
    scores = scores_of_report(
        report.get("suites", []), report.get("subjects", {}), source=str(run_dir / REPORT)
    )
    release = context.journal.promotions.incumbent()
    evidence = evidence_of(
        report, required=required, head=job.parent != release, merge=made.get("merge")
    )
    first_look = context.journal.next_look(run_dir.name)
    verdict = judge(evidence, config.gate, look=first_look + chosen_trial(report))
    looked = any(rule.name == "gain" for rule in verdict.rules)
    judged = Judgement(run_dir.name, release, 1 + len(_trials_of(report)) if looked else 0)
    if deserves_second_try(verdict, job, config):
        try_again(context.journal, job.id, verdict.reason, judged)
        log.info("second_try", job_id=job.id, reason=verdict.reason)
        return
    outcome = outcome_of(verdict, job, release)
    lost = lost_canaries(report)
    reason = reason_of(verdict, outcome, lost)
    note_verdict(report, verdict, outcome, reason)
    add_history(context, job, report)
    _withdraw_earlier(context, job, made, outcome)
    version = _commit(context, candidate, made, report, config)
    context.journal.scores.add(job.id, run_dir.name, scores)
    if not conclude_job(
        context.journal,
        job.id,
        EVENTS[outcome],
        version=version,
        parent=job.parent,
        reason=reason,
        judged=judged,
    ):
        return
    context.pages.ask(version)
    log.info(
        "candidate_judged",
        job_id=job.id,
        version=version,
        outcome=outcome,
        reason=reason,
    )
    context.board.update(
        last_verdict={
            "job_id": job.id,
            "version": version,
            "outcome": outcome,
            "promoted": outcome is VersionVerdict.PROMOTED,
            "reason": reason,
            "rules": rules_of(verdict),
            "lost_canaries": to_json(lost[:MAX_LOST]),
            "interpolated": (report.get("interpolation") or {}).get("chosen"),
        }
    )
    promoted = outcome is VersionVerdict.PROMOTED
    _show_fixed_eval(context, report, "candidate" if promoted else "incumbent")
    follow_journal(context)


def reason_of(verdict: Verdict, outcome: VersionVerdict, lost: Sequence[LostCanary]) -> str:
    """
    Return why a candidate was judged so; if canaries decided it, also what became of the first.
    """
    by_canaries = bool(verdict.failed) and verdict.failed[0].name in CANARY_RULES
    if outcome is VersionVerdict.PROMOTED or not by_canaries or not lost:
        return verdict.reason
    return f"{verdict.reason}; {in_short(lost)}"


def outcome_of(verdict: Verdict, job: JobRow, release: str | None) -> VersionVerdict:
    """
    Return what becomes of a candidate that the gate judged.

    A merge shows no gain of its own. What it merged is released only if that is the release
    already: the merge of a head that is held is held as well.
    """
    merged_head = job.kind is JobKind.CONSOLIDATION and job.parent != release
    if merged_head and verdict.outcome is VersionVerdict.PROMOTED:
        return VersionVerdict.HELD
    return verdict.outcome


def deserves_second_try(verdict: Verdict, job: JobRow, config: Config) -> bool:
    """
    Return whether the job is trained once more, with more rehearsal, instead of being rejected.

    Once, if what was forgotten is all that is against its candidate and there is something
    to rehearse.
    """
    training = config.training
    return (
        verdict.outcome is VersionVerdict.REJECTED
        and verdict.forgot
        and job.kind is JobKind.TRAINING
        and job.parent is not None
        and not job.second_try
        and training.replay_presentations > 0
        and training.replay_rows > 0
    )


def _trials_of(report: Mapping[str, Any]) -> list[float]:
    """
    Return the shares of the candidate that were tried, in order.
    """
    tried = (report.get("interpolation") or {}).get("tried") or []
    return [trial["a"] for trial in tried]


def chosen_trial(report: Mapping[str, Any]) -> int:
    """
    Return which trial became the candidate, from 1; 0 is the whole candidate.
    """
    chosen, shares = (report.get("interpolation") or {}).get("chosen"), _trials_of(report)
    return shares.index(chosen) + 1 if chosen in shares else 0


def required_suites(context: Context, job: JobRow, config: Config) -> list[str]:
    """
    Return the suites that a report must contain to be accepted as evidence.

    The held-out rows of the datasets learnt since the release, benchmarks that the
    configuration names, and with "*" those that the release was asked.
    """
    wanted = [n.strip() for n in config.evaluation.suites.split(",") if n.strip()]
    names = [name for name in wanted if name != "*"]
    release = context.journal.promotions.incumbent()
    if "*" in wanted and release is not None:
        names += context.journal.scores.benchmarks_of(release)
    new = learnt_since(context, job, release)
    if len(new) <= config.evaluation.final_max_rows // 2:  # else some are not asked at all
        with_rows = context.journal.datasets.with_held_out_rows()
        names += [f"{HELD_OUT}{d.dataset_id}" for d in new if d.dataset_id in with_rows]
    return names


def _candidate_folder(context: Context, job: JobRow, run_dir: Path, report: dict[str, Any]) -> Path:
    """Return the folder that was judged: the candidate, or weights between it and its parent."""
    chosen = (report.get("interpolation") or {}).get("chosen")
    if chosen is None:
        return context.layout.runs / str(job.candidate_run) / CANDIDATE
    return run_dir / interpolated_candidate(chosen)


def _withdraw_earlier(
    context: Context, job: JobRow, made: Mapping[str, Any], outcome: VersionVerdict
) -> None:
    """
    Take back a version that an earlier judgement of *job* committed and did not record.

    Unless it has the same weights and says the same: then it is found, and not made again.
    """
    known = {version.id for version in context.journal.versions.all()}
    same = (made.get("run_id"), outcome)
    withdraw(
        context.layout,
        known,
        lambda found: found.job_id == job.id and (found.run_id, found.verdict) != same,
    )


def _commit(
    context: Context,
    candidate: Path,
    made: Mapping[str, Any],
    report: dict[str, Any],
    config: Config,
) -> str:
    def documents(name: str) -> dict[str, bytes]:
        found = (report.get("confidence") or {}).get("map")
        return {
            REPORT: report_bytes(named(report, name)),
            RESOLVED_CONFIG: orjson.dumps(config.as_dict(), option=orjson.OPT_INDENT_2),
            **({} if found is None else {CONFIDENCE: map_bytes(name, found)}),
        }

    known = [version_number(v.id) or 0 for v in context.journal.versions.all()]
    return commit_version(
        context.layout,
        candidate,
        {
            **{k: v for k, v in made.items() if k not in ("files", "kind", "schema_version")},
            "kind": "version",
            "verdict": report["verdict"]["outcome"],
            "reason": report["verdict"]["reason"],
            "release": context.journal.promotions.incumbent(),
            "eval_report": REPORT,
            "suites": [
                {
                    **{key: suite[key] for key in ("name", "origin", "title")},
                    "n_unasked": suite.get("n_unasked", 0),
                    "n_left_out": suite.get("n_left_out", 0),
                }
                for suite in report.get("suites", [])
            ],
            "scores": report.get("subjects", {}),
            "eval_run_id": report.get("run_id"),
            "config": config.as_dict(),
        },
        documents=documents,
        floor=max(known, default=0),
    )


def _show_fixed_eval(context: Context, report: dict[str, Any], subject: str) -> None:
    score = together(report, subject, "new")
    if score is None:
        return
    before = context.board.fields["fixed_eval_em"]
    asked = score["n_asked"]
    now = round(100 * score["n_correct"] / asked, 2) if asked else None
    direction = None
    if before is not None and now is not None:
        direction = "improving" if now > before else "degrading" if now < before else "stable"
    context.board.update(
        fixed_eval_em=now, fixed_eval_ce=score["loss"], fixed_eval_trend=direction or "stable"
    )
