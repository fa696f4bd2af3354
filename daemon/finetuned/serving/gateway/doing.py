"""
The parts of the live page that the status file alone says.

Pure: the status document in, parts out. A value of a strange type empties its part and is
said in the part before it; it never ends the page.
"""

from __future__ import annotations

from finetuned.files.status_file import DaemonState, Presence, StatusDocument
from finetuned.reports.activity import BETWEEN_WORKERS, PHASES, on_the_way
from finetuned.reports.attention import attention
from finetuned.reports.wording import finite, nats, number
from finetuned.serving.gateway.snapshot import Curve, Example, Line, Now, Tone

MAX_NAMES = 3
MAX_TEXT = 4_000
"""Characters of a prompt or an answer that are shown."""

_HEADLINES = {
    DaemonState.SILENT: "The daemon's process lives, but writes no status",
    DaemonState.STOPPED: "The daemon is not running: it was stopped",
    DaemonState.DIED: "The daemon is gone: its process ended, and not in good order",
}
_ADVICE = {
    DaemonState.SILENT: ("What it did last is at the end of its log:", "logs/supervisor.log"),
    DaemonState.STOPPED: ("Start it:", "finetuned run"),
    DaemonState.DIED: ("Work that was begun goes on once it runs again:", "finetuned run"),
}


def doing(status: StatusDocument | None, seen: Presence, since: str | None) -> Now:
    """
    Return what the daemon does.

    Args:
        status: The status document; None if there is none.
        seen: Whether its daemon is alive.
        since: When the run that goes on began, RFC 3339.
    """
    if status is None:
        return Now()
    problems = _problems(status, seen)
    if seen.state is not DaemonState.RUNNING:
        return _not_running(status, seen.state, problems)
    word, _, detail = str(status["phase"] or "unknown").partition(" ")
    text = PHASES.get(word, word.replace("_", " ")) + (f" {detail}" if detail else "")
    text += on_the_way(status, word)
    if status["paused_reason"]:
        text += f": {status['paused_reason']}"
    job = status["job"] or {}
    done, total, unit = _progress(status, word)
    names = [str(name) for name in job.get("datasets") or ()]
    return Now(
        headline=text[:1].upper() + text[1:],
        tone=Tone.WARN if problems or word in ("paused", "waiting") else Tone.GOOD,
        alive=True,
        busy=bool(job),
        job=job.get("id"),
        files=tuple(names[:MAX_NAMES]),
        n_files=int(job.get("n_datasets") or len(names)),
        since=since if job or status["validating"] else None,
        done=done,
        total=total,
        unit=unit,
        eta_seconds=finite(status["eta_seconds"]),
        facts=_facts(status) if job and word not in BETWEEN_WORKERS else (),
        version=status["version"],
        head=status["head"],
        problems=problems,
        advice="Let it go on:" if word == "paused" else "",
        command="touch control/resume" if word == "paused" else "",
    )


def _not_running(status: StatusDocument, state: DaemonState, problems: tuple[str, ...]) -> Now:
    advice, command = _ADVICE[state]
    return Now(
        headline=_HEADLINES[state],
        tone=Tone.WARN if state is DaemonState.STOPPED else Tone.BAD,
        version=status["version"],
        head=status["head"],
        since=status["heartbeat_at"],
        problems=problems,
        advice=advice,
        command=command,
    )


def _progress(status: StatusDocument, word: str) -> tuple[int, int, str]:
    """Return how many of how many of what are done; a total of 0 is no progress to show."""
    if status["job"] and status["evaluation_total"]:
        return int(status["evaluation_done"] or 0), int(status["evaluation_total"]), "answer"
    if status["job"] and status["batch_total_steps"] and word not in BETWEEN_WORKERS:
        return int(status["batch_step"] or 0), int(status["batch_total_steps"]), "step"
    if (reading := status["validating"]) and reading.get("bytes_total"):
        return int(reading.get("bytes") or 0), int(reading["bytes_total"]), "byte"
    return 0, 0, "step"


def _facts(status: StatusDocument) -> tuple[tuple[str, str], ...]:
    facts: list[tuple[str, str]] = []
    if status["batch_step"]:  # before the first step its loss is 0 and means nothing
        loss = finite(status["loss"])
        facts.append(("loss", "not finite" if loss is None else nats(loss)))
    if finite(status["validation_loss"]) is not None:
        facts.append(("held-out loss", nats(status["validation_loss"])))
    if status["tokens_per_second"]:
        facts.append(("tokens/s", number(status["tokens_per_second"], digits=0)))
    if status["seconds_per_step"]:
        facts.append(("seconds per step", number(status["seconds_per_step"])))
    if status["total_evals"]:
        facts.append(("right answers", f"{status['total_correct']} of {status['total_evals']}"))
    if status["checkpoint_step"]:
        facts.append(("last checkpoint", f"step {status['checkpoint_step']}"))
    if (job := status["job"]) and job.get("attempts"):
        facts.append(("failed attempts", str(job["attempts"])))
    return tuple(facts)


def _problems(status: StatusDocument, seen: Presence) -> tuple[str, ...]:
    found = attention(status) if seen.state.alive else []
    if status["error_message"]:
        found.append(f"last error: {status['error_type']}: {status['error_message']}")
    found += [f"{a.get('name')}: {a.get('detail')}" for a in status["active_alerts"] or ()]
    return tuple(found)


def examples(status: StatusDocument | None) -> tuple[Example, ...]:
    """
    Return the latest answers to held-out questions, the newest first.
    """
    found = (status or StatusDocument()).get("recent_examples") or []
    return tuple(
        Example(
            step=int(e.get("step") or 0),
            file=str(e.get("current_file") or ""),
            prompt=str(e.get("prompt") or "")[:MAX_TEXT],
            golden=str(e.get("golden") or "")[:MAX_TEXT],
            answer=str(e.get("model_output") or "")[:MAX_TEXT],
            right=bool(e.get("matches")),
        )
        for e in reversed(found)
    )


def accuracy_curve(status: StatusDocument | None) -> Curve:
    """
    Return the share of held-out answers that were right, look by look, in percent.
    """
    looks = (status or StatusDocument()).get("accuracy_history") or ()
    history = [finite(value) for value in looks]
    return Curve(
        "Held-out questions answered right, in percent",
        "evaluation",
        tuple(float(n) for n in range(1, len(history) + 1)),
        (Line("right so far", tuple(history)),),
        floor=0,
        ceiling=100,
    )


def host(status: StatusDocument | None) -> tuple[tuple[str, str], ...]:
    """
    Return load, memory and disk, and each GPU.
    """
    known = (status or StatusDocument()).get("host") or {}
    facts = []
    if known:
        facts += [
            ("processor", f"{number(known.get('cpu_pct'), digits=0)}% busy"),
            ("load", number(known.get("load_1m"))),
            ("memory", _of(known.get("memory_used_bytes"), known.get("memory_total_bytes"))),
            ("disk free", _size(known.get("disk_free_bytes"))),
            ("daemon", _size(known.get("rss_bytes"))),
        ]
        if known.get("worker_rss_bytes"):
            facts.append(("worker", _size(known["worker_rss_bytes"])))
    for gpu in (status or StatusDocument()).get("gpus") or ():
        parts = [
            f"{number(gpu.get('utilisation_pct'), digits=0)}% busy",
            _of(gpu.get("memory_used_bytes"), gpu.get("memory_total_bytes")),
            f"{number(gpu.get('temperature_celsius'))} C",
            f"{number(gpu.get('power_watts'), digits=0)} W",
        ]
        facts.append((f"GPU {gpu.get('index')}, {gpu.get('name')}", ", ".join(parts)))
    return tuple(facts)


def _size(n_bytes: object) -> str:
    known = finite(n_bytes)
    if known is None:
        return "-"
    return f"{known / 2**30:.1f} GiB" if known >= 2**30 else f"{known / 2**20:.0f} MiB"


def _of(used: object, total: object) -> str:
    return f"{_size(used)} of {_size(total)}"
