"""
The status of one root as a screen of text: what it does, how far, what waits, what to do.

Pure: status document in, lines out. Knows words; does not know terminals, files or clocks.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from finetuned.cli.advice import keys_unused, lost_of, next_steps
from finetuned.core.text import printable
from finetuned.files.status_file import STRANGE, DaemonState, Presence, StatusDocument
from finetuned.reports.activity import BETWEEN_WORKERS, PHASES, duration, on_the_way
from finetuned.reports.attention import UNREADABLE, attention
from finetuned.reports.lost_canaries import answers

BAR_CELLS = 30
LABEL_CELLS = 10
MAX_WAITING = 3
"""Files in the inbox that are shown with what they wait for."""
MAX_RULES = 5
"""Failed rules that are shown; the report page has all of them."""


class Tone(StrEnum):
    """
    How a line is coloured.
    """

    PLAIN = "plain"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


TONES = {"promoted": Tone.GOOD, "held": Tone.PLAIN, "rejected": Tone.WARN}
"""How the outcome of a verdict is coloured."""


@dataclass(frozen=True, slots=True)
class Line:
    """
    One entry of the screen; a terminal may wrap it.
    """

    label: str
    """What it is about, empty to go on with the entry before."""
    text: str
    tone: Tone = Tone.PLAIN


def screen(
    root: Path, status: dict[str, Any] | None, seen: Presence, program: str = "finetuned"
) -> list[Line]:
    """
    Return what a person wants to know of a root, most important first.

    Args:
        root: Absolute; used in the commands that are proposed.
        status: The status document, None if there is none.
        seen: Whether its daemon is alive.
        program: How the person starts finetuned, quoted for a shell.
    """
    lines = [_daemon(root, seen)]
    if status is not None:
        alive = seen.state.alive
        parts: list[Callable[[], Iterable[Line]]] = [
            lambda: _now(status) if alive else (),
            lambda: [_queue(status)],
            lambda: _waiting(status) if alive else (),
            lambda: _books(status),
            lambda: _versions(status, alive=alive),
            lambda: _trouble(status),
            lambda: [Line("order", text) for text in _order(status)],
        ]
        lines += [line for part in parts for line in _as_far_as_possible(part)]
    for number, step in enumerate(next_steps(root, status, seen, program)):
        lines.append(Line("" if number else "to do", step))
    return lines


def _as_far_as_possible(part: Callable[[], Iterable[Line]]) -> Iterator[Line]:
    """Yield the lines of a part of the screen, up to a value that no such line can be made of."""
    try:
        yield from part()
    except STRANGE:
        yield Line("", UNREADABLE, Tone.BAD)


def render(lines: list[Line], width: int, *, cut_words: bool) -> list[tuple[str, Tone]]:
    """
    Return rows of at most *width* characters, labels in a column of their own.

    Args:
        lines: Of the screen.
        width: Of the terminal in characters, > LABEL_CELLS.
        cut_words: Whether a path that is longer than a row is cut. If not, the terminal
            wraps it, and it can be copied.
    """
    rows: list[tuple[str, Tone]] = []
    for line in lines:
        pieces = textwrap.wrap(
            printable(str(line.text)),
            max(20, width - LABEL_CELLS),
            break_long_words=cut_words,
            break_on_hyphens=False,
        )
        for number, piece in enumerate(pieces or [""]):
            label = "" if number else line.label
            rows.append((f"{label:<{LABEL_CELLS}}{piece}", line.tone))
    return rows


def _daemon(root: Path, seen: Presence) -> Line:
    ago = "" if seen.age_seconds is None else f" {duration(seen.age_seconds)} ago"
    tone, text = {
        DaemonState.RUNNING: (Tone.GOOD, f"running, pid {seen.pid}"),
        DaemonState.SILENT: (Tone.BAD, f"pid {seen.pid} lives; its last sign of life was{ago}"),
        DaemonState.STOPPED: (Tone.WARN, f"not running: it was stopped{ago}"),
        DaemonState.DIED: (Tone.BAD, f"not running: it died, last sign of life{ago}"),
        DaemonState.NEVER: (Tone.WARN, "not running: it never ran here"),
    }[seen.state]
    return Line("daemon", f"{text} ({root})", tone)


def _now(status: dict[str, Any]) -> Iterator[Line]:
    phase = str(status["phase"] or "unknown")
    word, _, detail = phase.partition(" ")  # as in "stopping (pause)"
    text = PHASES.get(word, word.replace("_", " ")) + (f" {detail}" if detail else "")
    text += on_the_way(StatusDocument(status), word)
    if status["paused_reason"]:
        text += f": {status['paused_reason']}"
    if job := status["job"]:
        more = job["n_datasets"] - 3
        names = ", ".join(job["datasets"][:3]) + (f" and {more} more" if more > 0 else "")
        text += f" ({job['id']}: {names})" if names else f" ({job['id']})"
        if job["attempts"]:
            text += f", after {job['attempts']} failed attempts"
    if word == "recovering" and status["waiting_reason"]:
        text += f": {status['waiting_reason']}"
    yield Line("now", text, Tone.WARN if word in ("paused", "waiting") else Tone.PLAIN)
    if reading := status["validating"]:
        yield Line("", _validating(reading))
    if status["job"] and status["evaluation_total"]:
        done, total = status["evaluation_done"] or 0, status["evaluation_total"]
        yield Line("", _progress(done, total, "answer", status["eta_seconds"]))
        if left_out := status["evaluation_left_out"]:
            limits = "evaluation.max_minutes and evaluation.max_training_share"
            yield Line("", f"a sample is asked, without {left_out} questions: see {limits}")
    elif status["job"] and status["batch_total_steps"] and word not in BETWEEN_WORKERS:
        done, total = status["batch_step"] or 0, status["batch_total_steps"]
        yield Line("", _progress(done, total, "step", status["eta_seconds"]))
        yield Line("", _learning(status))


def _progress(done: int, total: int, what: str, eta: float | None) -> str:
    full = BAR_CELLS * min(done, total) // total
    left = "" if eta is None or eta < 1 else f", about {duration(eta)} left"
    return f"[{'#' * full}{'.' * (BAR_CELLS - full)}] {what} {done} of {total}{left}"


def _learning(status: dict[str, Any]) -> str:
    loss = status["loss"]
    parts = ["loss is not finite" if loss is None else f"loss {loss:.3f}"]
    if status["tokens_per_second"]:
        parts.append(f"{status['tokens_per_second']:.0f} tokens/s")
    if status["total_evals"]:
        right, asked = status["total_correct"], status["total_evals"]
        parts.append(f"held-out rows answered right so far: {right} of {asked}")
    return ", ".join(parts)


def _validating(reading: dict[str, Any]) -> str:
    text = f"{reading.get('file') or 'reading'}: {reading.get('rows') or 0} rows"
    if reading.get("bytes_total"):
        text += f", {100 * (reading.get('bytes') or 0) // reading['bytes_total']}%"
    return text


def _queue(status: dict[str, Any]) -> Line:
    counts = status["queue"] or {}
    words = (
        ("inbox", "in the inbox"),
        ("claimed", "being validated"),
        ("accepted", "validated"),
        ("queued", "to be trained"),
        ("trained", "to be evaluated"),
    )
    waiting = [f"{counts[name]} {text}" for name, text in words if counts.get(name)]
    ends = ("promoted", "held", "rejected", "skipped", "failed")
    jobs = [f"{counts[name]} {name}" for name in ends if counts.get(name)]
    files = (("quarantined", "set aside"), ("duplicate", "dropped before"))
    aside = [f"{counts[name]} {text}" for name, text in files if counts.get(name)]
    text = ", ".join(waiting) or "nothing waits"
    text += f"; jobs so far: {', '.join(jobs)}" if jobs else ""
    return Line("queue", text + (f"; files: {', '.join(aside)}" if aside else ""))


def _waiting(status: dict[str, Any]) -> Iterator[Line]:
    for file in (status["inbox_waiting"] or [])[:MAX_WAITING]:
        tone = Tone.PLAIN if file["command"] is None else Tone.WARN
        yield Line("", f"inbox/{file['name']} is not read yet: {file['reason']}", tone)


def _books(status: dict[str, Any]) -> Iterator[Line]:
    books = status["books"] or {}
    if not books.get("dropped"):
        return
    words = ("learnt", "held_out", "refused", "not_learnt", "duplicate", "waiting")
    counts = [f"{books[word]:,} {word.replace('_', ' ')}" for word in words if books[word]]
    tone = Tone.WARN if books["not_learnt"] or not books["balanced"] else Tone.PLAIN
    yield Line("rows", f"{books['dropped']:,} dropped: {', '.join(counts)}", tone)


def _versions(status: dict[str, Any], *, alive: bool) -> Iterator[Line]:
    in_use = status["version"]
    yield Line("in use", in_use or "the base model; no version was promoted yet")
    if (watch := status["watch"]) and alive:
        since = f"for {watch['minutes']:g} min after its promotion"
        yield Line("", f"{watch['version']} is watched {since}: it is taken back if it fails")
    yield from _head(status)
    verdict = status["last_verdict"] or {}
    if verdict.get("version") is None:
        return
    word = verdict.get("outcome") or ("promoted" if verdict["promoted"] else "rejected")
    tone = TONES.get(word, Tone.WARN)
    yield Line("verdict", f"{verdict['version']} was {word}: {verdict['reason']}", tone)
    for number, text in enumerate(answers(lost_of(verdict))):
        yield Line("" if number else "canaries", text, tone)
    failed = [
        rule
        for rule in verdict["rules"]
        if not rule["passed"] and rule["detail"] not in verdict["reason"]
    ]
    for rule in failed[:MAX_RULES]:
        yield Line("", f"not met, {rule['name']}: {rule['detail']}", tone)
    if len(failed) > MAX_RULES:
        yield Line("", f"and {len(failed) - MAX_RULES} more rules are not met", tone)


def _head(status: dict[str, Any]) -> Iterator[Line]:
    """Yield what training goes on from, if that is another version than the one in use."""
    head, beyond = status.get("head"), status.get("beyond_release") or {}
    if head == status["version"] or "head" not in status:
        return
    text = f"{head or 'the base model'}: training goes on from it"
    if beyond.get("n_datasets"):
        files = "file" if beyond["n_datasets"] == 1 else "files"
        text += f"; it has learnt {beyond['n_datasets']} {files} more than the version in use"
    yield Line("head", text)


def _trouble(status: dict[str, Any]) -> Iterator[Line]:
    for number, text in enumerate(attention(status)):
        yield Line("" if number else "problem", text, Tone.BAD)
    for number, text in enumerate(keys_unused(status.get("unused_keys") or [])):
        yield Line("" if number else "unused", f"keys of {text}", Tone.WARN)
    if status["error_message"]:
        text = f"{status['error_type']}: {status['error_message']}"
        yield Line("last error", text, Tone.BAD)
    if incident := status["last_incident"]:
        back = incident["back_to"] or "the base model"
        text = f"{incident['version']} was taken back to {back}: {incident['reason']}"
        yield Line("incident", f"{text} ({incident['file']})", Tone.WARN)


def _order(status: dict[str, Any]) -> Iterator[str]:
    if order := status["last_command"]:
        reason = f" ({order['reason']})" if order.get("reason") else ""
        yield f"{order['command']}{reason}: {order['outcome']}"
