"""
From an eval report to a version: gate, registry, journal, current_model, backup.

Every step can be repeated: a crash between two of them is finished by doing it
again, and the journal decides what current_model has to be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import structlog

from finetuned.config import config_from_dict
from finetuned.core.gate import Evidence, Score, Verdict, judge
from finetuned.core.job import JobEvent, JobState
from finetuned.core.retention import version_number
from finetuned.errors import ModelError
from finetuned.files.atomic import write_atomic
from finetuned.files.run import CANDIDATE, REPORT, read_json
from finetuned.layout import MANIFEST
from finetuned.registry.backup import backup
from finetuned.registry.versions import commit_version, incumbent, promote, rollback
from finetuned.supervisor.context import Context

log = structlog.get_logger()

RESOLVED_CONFIG = "finetuned_config.json"


def read_score(report: dict[str, Any], subject: str, suite: str) -> Score | None:
    """
    Return one score of an eval report; None when it is not there or not a score.
    """
    try:
        found = report["subjects"][subject][suite]
        return Score(
            n_rows=int(found["n_rows"]),
            n_asked=int(found["n_asked"]),
            n_exact=int(found["n_exact"]),
            loss=None if found["loss"] is None else float(found["loss"]),
            complete=found["complete"] is True,
        )
    except (KeyError, TypeError, ValueError):
        return None


def evidence_of(report: dict[str, Any]) -> Evidence:
    """
    Return what an eval report proves.
    """
    return Evidence(
        candidate_new=read_score(report, "candidate", "new"),
        incumbent_new=read_score(report, "incumbent", "new"),
        candidate_old=read_score(report, "candidate", "old"),
        incumbent_old=read_score(report, "incumbent", "old"),
        old_rows_expected=int(report.get("old_rows_expected") or 0),
    )


def conclude(context: Context, job: dict[str, Any], run_dir: Path) -> None:
    """
    Judge the candidate of *job* by the report in *run_dir* and act on the verdict.

    Raises:
        ModelError: The candidate is not intact.
        OSError: The file system refused. The job is evaluated again later, and
            what was done already is found and not done twice.
    """
    report = read_json(run_dir / REPORT) or {}
    config = orjson.loads(job["config"])
    verdict = judge(evidence_of(report), config_from_dict(config).gate)
    event = JobEvent.ACCEPT if verdict.promote else JobEvent.REJECT
    version = _commit(context, job, run_dir, report, config, verdict)
    context.journal.add_evals(job["id"], run_dir.name, _eval_rows(report))
    context.journal.conclude(
        job["id"], event, version=version, parent=job["parent"], reason=verdict.reason
    )
    log.info(
        "job_state_changed",
        job_id=job["id"],
        old=JobState.EVALUATING,
        new=JobState.PROMOTED if verdict.promote else JobState.REJECTED,
        cause=event,
    )
    log.info("candidate_judged", job_id=job["id"], version=version, reason=verdict.reason)
    context.board.update(
        last_verdict={
            "job_id": job["id"],
            "version": version,
            "promoted": verdict.promote,
            "reason": verdict.reason,
            "rules": [
                {"name": r.name, "passed": r.passed, "detail": r.detail} for r in verdict.rules
            ],
        }
    )
    _show_fixed_eval(context, report, "candidate" if verdict.promote else "incumbent")
    follow_journal(context)


def _commit(
    context: Context,
    job: dict[str, Any],
    run_dir: Path,
    report: dict[str, Any],
    config: dict[str, Any],
    verdict: Verdict,
) -> str:
    candidate = context.layout.runs / job["candidate_run"] / CANDIDATE
    made = read_json(candidate / "manifest.json")
    if made is None:
        raise ModelError(f"{candidate}: the candidate has no manifest")
    report["verdict"] = {
        "promoted": verdict.promote,
        "rules": [{"name": r.name, "passed": r.passed, "detail": r.detail} for r in verdict.rules],
    }
    write_atomic(run_dir / REPORT, orjson.dumps(report, option=orjson.OPT_INDENT_2))
    resolved = run_dir / RESOLVED_CONFIG
    write_atomic(resolved, orjson.dumps(config, option=orjson.OPT_INDENT_2))
    known = [version_number(v["id"]) or 0 for v in context.journal.versions()]
    return commit_version(
        context.layout,
        candidate,
        {
            **{k: v for k, v in made.items() if k not in ("files", "kind", "schema_version")},
            "kind": "version",
            "verdict": "promoted" if verdict.promote else "rejected",
            "reason": verdict.reason,
            "eval_report": REPORT,
            "scores": report.get("subjects", {}),
            "config": config,
        },
        extra_files=[run_dir / REPORT, resolved],
        floor=max(known, default=0),
    )


def _eval_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "subject": subject,
            "suite": suite,
            "n_rows": score.n_rows,
            "n_asked": score.n_asked,
            "n_exact": score.n_exact,
            "loss": score.loss,
            "complete": int(score.complete),
        }
        for subject in ("incumbent", "candidate")
        for suite in ("new", "old")
        if (score := read_score(report, subject, suite)) is not None
    ]


def _show_fixed_eval(context: Context, report: dict[str, Any], subject: str) -> None:
    score = read_score(report, subject, "new")
    if score is None:
        return
    before = context.board.fields["fixed_eval_em"]
    now = None if score.accuracy is None else round(100 * score.accuracy, 2)
    direction = None
    if before is not None and now is not None:
        direction = "improving" if now > before else "degrading" if now < before else "stable"
    context.board.update(
        fixed_eval_em=now, fixed_eval_ce=score.loss, fixed_eval_trend=direction or "stable"
    )


def follow_journal(context: Context) -> None:
    """
    Make current_model what the journal says, and see that it has a backup.

    Raises:
        ModelError, RegistryError: The version is not intact; current_model is as before.
        OSError: The file system refused; current_model is as before.
    """
    decided = context.journal.incumbent()
    if not context.journal.has_promotions():
        return
    found = incumbent(context.layout)
    if decided != found:
        if decided is None:
            rollback(context.layout, to_base=True)
        else:
            promote(context.layout, decided)
        log.info("current_model_changed", old=found, new=decided)
    context.board.update(version=decided)
    if (
        decided is not None
        and context.config.registry.backup
        and not (context.layout.backups / decided / MANIFEST).is_file()
    ):
        backup(context.layout, decided)
