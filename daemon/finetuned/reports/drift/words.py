"""
What moved in words: a sentence for each alert, the same in a terminal and in a report.
"""

from __future__ import annotations

from finetuned.core.drift.measure import KINDS, RATES, Against, Alert, Measure
from finetuned.reports.drift.found import Drift, Moved
from finetuned.reports.wording import count, percent

NAMES = {
    Measure.LENGTH: "length of prompts",
    Measure.FORMAT: "format of prompts",
    Measure.VOCABULARY: "unseen words",
    Measure.WORDING: "wording of prompts",
    Measure.CONFIDENCE: "confidence of answers",
    Measure.STOPPED: "answers that end by themselves",
    Measure.VALID: "answers of a trained form",
    Measure.REFUSED: "refusals",
}

OF = {Against.TRAINED: "in training", Against.EARLIER: "before"}


def sentence(alert: Alert) -> str:
    """
    Return what moved, from what to what: ``refusals: 31% of answers, 4% before``.
    """
    found, reference = alert.difference, OF[alert.against]
    name = NAMES[alert.measure]
    match alert.measure:
        case Measure.LENGTH:
            median = f"median {found.now:.0f} characters"
            return f"{name}: {median}, {found.before:.0f} {reference}"
        case Measure.VOCABULARY:
            share = f"{percent(found.now)} of the words of a median prompt"
            return f"{name}: {share}, {percent(found.before)} {reference}"
        case Measure.WORDING:
            return (
                f"{name}: median distance {found.now:.2f} to the nearest known prompt, "
                f"{found.before:.2f} {reference}"
            )
        case Measure.CONFIDENCE:
            return f"{name}: median {found.now:.3f}, {found.before:.3f} {reference}"
    if alert.measure in RATES:
        return f"{name}: {percent(found.now)} of answers, {percent(found.before)} {reference}"
    shares = f"{percent(found.now)}, {percent(found.before)} {reference}"
    return f'{name}: "{found.kind}" {shares}'


def evidence(alert: Alert) -> str:
    """
    Return the size of the difference and its p-value.
    """
    size = "" if alert.measure in RATES else f"stability index {alert.difference.effect:.2f}, "
    return f"{size}corrected p {'<= 1e-9' if alert.p <= 1e-9 else f'= {alert.p:.1e}'}"


def when(moved: Moved) -> str:
    """
    Return since when, until when, and which versions answer since then.
    """
    alert = moved.alert
    text = f"since {alert.since}"
    if alert.noticed != alert.since:
        text += f" or some day until {alert.noticed}"
    if alert.until is not None:
        text = f"from {alert.since} to {alert.until}"
    return text + (
        f"; answered by {', '.join(moved.versions)} since then" if moved.versions else ""
    )


def as_text(drift: Drift) -> str:
    """
    Return everything that a look found, for a terminal; nothing in it is made printable yet.
    """
    reference = drift.version or "no version"
    lines = [
        f"{drift.first} to {drift.last}: {count(drift.requests, 'recorded request')}, "
        f"{count(drift.prompts, 'different prompt')} looked at",
        f"compared with {count(drift.trained_rows, 'row')} of "
        f"{count(drift.trained_files, 'file')} that {reference} learnt, and with "
        f"{count(drift.earlier, 'request')} of the days before",
    ]
    for title, found in (("inputs", drift.inputs), ("outputs", drift.outputs)):
        lines += [title, *_alerts(found)] if found else []
    if drift.prompts and not drift.inputs and not drift.outputs:
        lines.append("nothing moved")
    for file in drift.files:
        lines.append(f"{file.name} ({file.key})")
        if file.problem is not None:
            lines.append(f"  - {file.problem}")
        elif not file.moved:
            lines.append(f"  like what was trained before: {count(file.rows, 'prompt')}")
        lines += _alerts(file.moved, of_file=True)
    return "\n".join([*lines, *(f"- {note}" for note in drift.notes)])


def _alerts(found: tuple[Moved, ...], *, of_file: bool = False) -> list[str]:
    lines = []
    for one in found:
        lines.append(f"  x {sentence(one.alert)}")
        lines.append(f"    {evidence(one.alert)}" + ("" if of_file else f"; {when(one)}"))
        for example in one.examples:
            answer = "" if example.answer is None else f"  ->  {example.answer}"
            lines.append(f"      e.g. {example.asked}{answer}")
    return lines


def as_json(drift: Drift) -> dict[str, object]:
    """
    Return everything that a look found, for programs.
    """
    return {
        "first": drift.first.isoformat(),
        "last": drift.last.isoformat(),
        "version": drift.version,
        "trained_rows": drift.trained_rows,
        "trained_files": drift.trained_files,
        "requests": drift.requests,
        "prompts": drift.prompts,
        "earlier": drift.earlier,
        "inputs": [_json(one) for one in drift.inputs],
        "outputs": [_json(one) for one in drift.outputs],
        "files": [
            {
                "key": file.key,
                "name": file.name,
                "prompts": file.rows,
                "moved": [_json(one) for one in file.moved],
                "problem": file.problem,
            }
            for file in drift.files
        ],
        "notes": list(drift.notes),
    }


def _json(moved: Moved) -> dict[str, object]:
    alert = moved.alert
    return {
        "measure": alert.measure,
        "against": alert.against,
        "since": alert.since.isoformat(),
        "noticed": alert.noticed.isoformat(),
        "until": None if alert.until is None else alert.until.isoformat(),
        "text": sentence(alert),
        "kind": alert.difference.kind if alert.measure in KINDS - RATES else None,
        "now": alert.difference.now,
        "before": alert.difference.before,
        "effect": alert.difference.effect,
        "p": alert.p,
        "versions": list(moved.versions),
        "examples": [{"asked": e.asked, "answer": e.answer} for e in moved.examples],
    }
