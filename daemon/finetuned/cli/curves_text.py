"""
What a person or a program reads after finetuned curves.
"""

from __future__ import annotations

from collections.abc import Sequence

from finetuned.core.curves.finding import Advice, Finding, Kind, Reading
from finetuned.core.curves.series import Series
from finetuned.core.text import printable
from finetuned.files.job_curves import JobRecord

Jobs = Sequence[tuple[JobRecord, Reading]]

_LEAST_P = 0.001
"""Least p-value that simulated noise can show; a smaller one is not told apart."""

GOOD = frozenset({Kind.FALLING})
BAD = frozenset(
    {Kind.OVERFITTING, Kind.DIVERGENCE, Kind.SPIKES, Kind.RATE_TOO_HIGH, Kind.NOTHING_LEARNT}
)


def as_text(jobs: Jobs, *, many: bool) -> str:
    """
    Return each job in full, or one line for each if there are *many*.
    """
    if many:
        return "\n".join(_line(record, reading) for record, reading in jobs)
    return "\n\n".join("\n".join(_job(record, reading)) for record, reading in jobs)


def title(record: JobRecord) -> str:
    """
    Return a job and what it was made of in one line.
    """
    parts = [record.job, record.version or "", record.state, ", ".join(record.datasets[:3])]
    more = len(record.datasets) - 3
    return printable("  ".join(filter(None, parts)) + (f" and {more} more" if more > 0 else ""))


def steps(record: JobRecord) -> str:
    """
    Return how far a job came.
    """
    curves = record.curves
    planned = curves.planned_steps
    of = f" of {planned:,}" if planned else ""
    still = "; it is being trained, these are the figures so far" if record.running else ""
    return f"{curves.last_step:,}{of} steps{still}"


def measured(record: JobRecord) -> list[tuple[str, str]]:
    """
    Return what was measured, as name and figures; only what is known.
    """
    curves = record.curves
    held_out = "held-out loss" + ("" if curves.held_out_fixed else " (some rows at each look)")
    rows = [
        ("training loss", curves.loss, ".3f"),
        (held_out, curves.held_out, ".3f"),
        ("right answers", curves.accuracy, ".0%"),
        ("gradient norm", curves.grad_norm, ".2f"),
        ("learning rate", curves.learning_rate, ".3g"),
        ("KL to the start", curves.kl, ".3f"),
        ("tokens a second", curves.tokens_per_second, ",.0f"),
    ]
    return [(name, _range(series, form)) for name, series, form in rows if len(series)]


def _range(series: Series, form: str) -> str:
    first, last = format(series.level(0.1), form), format(series.level(-0.1), form)
    once = f"{first}, measured once" if len(series) == 1 else f"{first} -> {last}"
    return once if len(series) == 1 else f"{once}  ({len(series):,} points)"


def evidence(finding: Finding) -> str:
    """
    Return the p-value of a finding, in words.
    """
    if finding.p is None:
        return ""
    return "(p <= 0.001)" if finding.p <= _LEAST_P else f"(p = {finding.p:.2g})"


def _job(record: JobRecord, reading: Reading) -> list[str]:
    lines = [title(record), f"  {steps(record)}"]
    lines += [f"  {name:<30} {figures}" for name, figures in measured(record)]
    if not len(record.curves.loss) and not len(record.curves.held_out):
        return [*lines, "  no step is on record yet"]
    lines.append("")
    if not reading.findings:
        lines.append("  The curves show nothing that a test confirms.")
    lines += [f"  {_mark(f.kind)} {f.sentence} {evidence(f)}".rstrip() for f in reading.findings]
    lines += [f"  -> {a.sentence} [{a.rule}]" for a in reading.advice]
    return lines


def _mark(kind: Kind) -> str:
    return "+" if kind in GOOD else "x" if kind in BAD else "!"


def _line(record: JobRecord, reading: Reading) -> str:
    curves = record.curves
    best = curves.held_out if len(curves.held_out) else curves.loss
    loss = f"{best.level(0.1):.3f} -> {best.level(-0.1):.3f}" if len(best) else "-"
    kinds = ", ".join(dict.fromkeys(f.kind for f in reading.findings)) or "-"
    name = printable(", ".join(record.datasets[:1]))
    return (
        f"{record.job}  {record.version or '-':<6} {curves.last_step:>6,} steps  {loss:<16}  "
        f"{name:<24.24}  {kinds}"
    )


def as_json(jobs: Jobs, unread_lines: int) -> dict[str, object]:
    """
    Return all of it as one JSON object.
    """
    return {
        "jobs": [
            {
                "job": record.job,
                "state": record.state,
                "version": record.version,
                "datasets": list(record.datasets),
                "running": record.running,
                "steps": record.curves.last_step,
                "planned_steps": record.curves.planned_steps,
                "findings": [_finding(f) for f in reading.findings],
                "advice": [_advice(a) for a in reading.advice],
                "curves": {
                    "loss": _points(record.curves.loss),
                    "held_out_loss": _points(record.curves.held_out),
                    "accuracy": _points(record.curves.accuracy),
                    "grad_norm": _points(record.curves.grad_norm),
                    "learning_rate": _points(record.curves.learning_rate),
                    "kl": _points(record.curves.kl),
                    "tokens_per_second": _points(record.curves.tokens_per_second),
                },
            }
            for record, reading in jobs
        ],
        "unread_lines": unread_lines,
    }


def _points(series: Series) -> list[list[float]]:
    return [[s, v] for s, v in zip(series.steps, series.values, strict=True)]


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "kind": finding.kind,
        "sentence": finding.sentence,
        "step": finding.step,
        "p": finding.p,
        "numbers": dict(finding.numbers),
    }


def _advice(advice: Advice) -> dict[str, object]:
    return {
        "rule": advice.rule,
        "sentence": advice.sentence,
        "because": list(advice.because),
        "numbers": dict(advice.numbers),
    }
