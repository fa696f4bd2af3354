"""
The review queue on a terminal: one answer after another, then the file for inbox/.

Everything that users and models wrote is shown with control characters spelled out.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import orjson
import structlog

from finetuned.cli.session import DONE
from finetuned.cli.terminal import complain
from finetuned.core.review import Entry, ReviewCounts, ReviewState
from finetuned.core.text import printable, visible
from finetuned.data.redacted_exchange import cleaned
from finetuned.errors import MalformedExample
from finetuned.files.feedback import review_counts
from finetuned.files.review import ReviewQueue
from finetuned.files.run import utc_now
from finetuned.layout import Layout
from finetuned.sources.approved import check, deliver

log = structlog.get_logger()

SHOWN_CHARACTERS = 4000
KEYS = "a accept   e edit   r reject   s skip   q quit"


def count(layout: Layout, *, as_json: bool) -> int:
    """
    Print how many answers are where; return the exit status.
    """
    found = _counts((layout.feedback, layout.imported))
    if as_json:
        print(orjson.dumps({"waiting": [], "counts": asdict(found)}).decode())
        return DONE
    print(
        f"{found.waiting} wait for review, {found.approved} approved and not in inbox/ yet, "
        f"{found.delivered} delivered, {found.rejected} rejected; {found.recorded} answers are "
        f"recorded, {found.removed} were removed for age or space ({found.removed_waiting} of "
        "them unseen)"
    )
    return DONE


def _counts(paths: Iterable[Path]) -> ReviewCounts:
    """Return the counts of several files together."""
    total = ReviewCounts()
    for path in paths:
        found = review_counts(path)
        if found is None:
            raise OSError(f"{path} cannot be read now; try again")
        total = ReviewCounts(**{k: n + getattr(found, k) for k, n in asdict(total).items()})
    return total


def listing(queues: Sequence[ReviewQueue]) -> None:
    """
    Print what waits as one JSON object.
    """
    waiting = [
        {
            "request_id": entry.exchange.id,
            "at": entry.exchange.at,
            "version": entry.exchange.model,
            "key_id": entry.exchange.key_id,
            "confidence": entry.confidence,
            "origin": None
            if entry.exchange.origin is None
            else orjson.loads(entry.exchange.origin),
            "reasons": list(entry.reasons),
            "messages": orjson.loads(entry.exchange.messages),
            "answer": entry.exchange.answer,
            "invented": list(entry.exchange.invented),
            "thumbs": entry.thumbs,
            "correction": entry.correction,
            "comment": entry.comment,
        }
        for queue in queues
        for entry in queue.waiting()
    ]
    # In ASCII: it may be read on a terminal.
    print(
        json.dumps({"waiting": waiting, "counts": asdict(_counts(queue.path for queue in queues))})
    )


def review(layout: Layout, queues: Sequence[ReviewQueue], reviewer: str) -> None:
    """
    Show one answer after another until there is none or the person quits; then deliver.

    Args:
        layout: The root.
        queues: Of its feedback and of its imports, in the order in which they are shown.
        reviewer: Name of the person's user, written with each decision.
    """
    _deliver(layout, queues)  # what an earlier session left behind
    skipped: set[str] = set()
    try:
        if not any(_quits(layout, queue, queues, skipped, reviewer) for queue in queues):
            print("nothing else waits for review" if skipped else "nothing waits for review")
    finally:
        _deliver(layout, queues)


def _quits(
    layout: Layout,
    queue: ReviewQueue,
    queues: Sequence[ReviewQueue],
    skipped: set[str],
    reviewer: str,
) -> bool:
    """Show what waits in one queue; return whether the person quits."""
    while (entry := queue.next(skipped)) is not None:
        _show(entry, left=_counts(q.path for q in queues).waiting - len(skipped))
        word = _asked(layout, queue, entry, reviewer)
        if word == "q":
            return True
        if word == "s":
            skipped.add(entry.exchange.id)
    return False


def _deliver(layout: Layout, queues: Sequence[ReviewQueue]) -> None:
    for file in (file for queue in queues for file in deliver(layout, queue, now=utc_now())):
        log.info("review_delivered", name=file.name, rows=file.n_rows, finished=file.finished)
        rows = "1 row" if file.n_rows == 1 else f"{file.n_rows} rows"
        print(f"{rows} put into inbox/{file.name}")


def _show(entry: Entry, *, left: int) -> None:
    exchange = entry.exchange
    key = f"   key {exchange.key_id}" if exchange.key_id else ""
    print(f"\n--- {left} waiting   {printable(exchange.id)}   {exchange.at}")
    sure = "unknown" if entry.confidence is None else f"{entry.confidence:.2f}"
    print(
        f"    {printable(exchange.model)}   confidence {sure}{printable(key)}   "
        f"{', '.join(entry.reasons)}"
    )
    if exchange.origin is not None:
        print(f"    imported from {printable(_found_at(exchange.origin))}")
    for turn in orjson.loads(exchange.messages):
        _part(str(turn.get("role", "?")), _content(turn))
    _part("answer", exchange.answer + (f"\n{exchange.tool_calls}" if exchange.tool_calls else ""))
    if exchange.invented:
        _part("not in the question, so invented", "\n".join(exchange.invented))
    if entry.correction is not None:
        _part("its user's correction", entry.correction)
    if entry.comment is not None:
        _part("its user's comment", entry.comment)


def _found_at(origin: str) -> str:
    """Return where an import found a row: file, line, and what part of it."""
    found = orjson.loads(origin)
    part = f" ({found['part']})" if found.get("part") else ""
    return f"{found.get('file')}:{found.get('line')}{part}"


def _content(turn: dict[str, object]) -> str:
    content, calls = turn.get("content"), turn.get("tool_calls")
    return f"{content}\n{orjson.dumps(calls).decode()}" if calls else str(content)


def _part(name: str, text: str) -> None:
    more = len(text) - SHOWN_CHARACTERS
    cut = f"\n[and {more} more characters]" if more > 0 else ""
    shown = visible(text[:SHOWN_CHARACTERS])
    print(f"{printable(name)}:\n  " + shown.replace("\n", "\n  ") + cut)


def _asked(layout: Layout, queue: ReviewQueue, entry: Entry, reviewer: str) -> str:
    """Ask until something was done with *entry*; return the letter."""
    while True:
        word = _line(f"[{KEYS}] ")
        match word:
            case "a":
                if _approve(queue, entry, entry.proposed, reviewer):
                    return word
            case "e":
                answer = _edited(layout, entry.proposed)
                if answer is not None and _approve(queue, entry, answer, reviewer):
                    return word
            case "r":
                _reject(queue, entry, reviewer)
                return word
            case "s" | "q":
                return word
            case _:
                print(f"type one letter and Enter: {KEYS}")


def _line(question: str) -> str:
    print(question, end="", flush=True)
    line = sys.stdin.readline()
    if not line:
        print()
        return "q"
    return line.strip().lower()


def _approve(queue: ReviewQueue, entry: Entry, answer: str, reviewer: str) -> bool:
    """Record *answer* as the right one, unless inbox/ would refuse it."""
    decided = replace(
        entry,
        review=ReviewState.APPROVED,
        approved=answer,
        decided_by=reviewer,
        decided_at=utc_now(),
    )
    accepted = cleaned(decided)
    try:
        check(accepted)
    except MalformedExample as error:
        print(f"not accepted, since training would refuse the row: {printable(str(error))}")
        return False
    if _is_json(entry.exchange.answer) and not _is_json(answer):
        print("note: the model's answer is JSON and the accepted one is not")
    _decide(queue, accepted)
    return True


def _reject(queue: ReviewQueue, entry: Entry, reviewer: str) -> None:
    at = utc_now()
    _decide(
        queue,
        replace(entry, review=ReviewState.REJECTED, decided_by=reviewer, decided_at=at),
    )


def _decide(queue: ReviewQueue, entry: Entry) -> None:
    if queue.decide(entry):
        log.info(
            "review_decided",
            request_id=entry.exchange.id,
            review=entry.review,
            reviewer=entry.decided_by,
        )
    else:
        print("its user said more just now, or somebody else decided: nothing was recorded")


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _edited(layout: Layout, text: str) -> str | None:
    """Return *text* as the person leaves it in an editor; None if nothing is to be done."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    # In the service's own folder, which nobody else may read.
    fd, name = tempfile.mkstemp(dir=layout.serving, prefix=".review-", suffix=".txt")
    path = Path(name)
    try:
        with open(fd, "wb") as file:
            file.write(text.encode())
        try:
            status = subprocess.run([*editor, name], check=False).returncode
        except OSError as error:
            complain("review", f"{editor[0]}: {error.strerror}; set $EDITOR to your editor")
            return None
        edited = path.read_bytes().decode("utf-8", "strict")
    except UnicodeDecodeError:
        complain("review", "the edited answer is not UTF-8; nothing was recorded")
        return None
    finally:
        path.unlink(missing_ok=True)
    if status != 0:
        complain("review", f"{editor[0]} ended with status {status}; nothing was recorded")
        return None
    edited = edited if text.endswith("\n") else edited.removesuffix("\n")
    if not edited.strip():
        print("the answer is empty; nothing was recorded")
        return None
    _part("accepted answer", edited)
    return edited if edited == text or _line("accept this? [y/n] ") in ("y", "yes") else None
