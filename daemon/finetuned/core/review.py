"""
An answer that was given, what its user said of it, and what a person decided.

Pure: knows thumbs, corrections, confidence and states; does not know files, clocks or HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Thumbs(StrEnum):
    """
    What a user thinks of an answer, in the words of the column ``user_feedback``.
    """

    UP = "thumbs_up"
    DOWN = "thumbs_down"


class Reason(StrEnum):
    """
    Why a person should look at an answer.
    """

    CORRECTED = "corrected"  # its user sent the right one
    DISLIKED = "disliked"  # its user gave it a thumbs down
    INVENTED = "invented"  # a value of it should stand in the question and does not
    FAILED = "failed"  # it was imported, and what it says was not carried out with success
    UNVERIFIED = "unverified"  # it was imported, and how surely it is right is not known
    UNSURE = "unsure"  # the model's confidence was below serving.review_confidence


class ReviewState(StrEnum):
    """
    Where an answer is on its way to a training row.
    """

    NONE = "none"  # nobody need look at it
    WAITING = "waiting"  # in the review queue
    REJECTED = "rejected"  # a person decided that nothing is to be learnt from it
    APPROVED = "approved"  # a person accepted an answer, which is in no file of inbox/ yet
    EXPORTING = "exporting"  # it belongs to a file that is being written into inbox/
    DELIVERED = "delivered"  # the file was in inbox/


KEPT_UNTIL_DELIVERED = (ReviewState.APPROVED, ReviewState.EXPORTING)
"""States whose rows are not removed, however old they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedExchange:
    """
    One request with its whole answer: what a training row needs, and where it came from.
    """

    id: str
    """Of the request, as its client was told it."""
    at: str
    """RFC 3339 UTC of its end."""
    key_id: str
    """Of the key that asked; "" if none was needed."""
    route: str
    model: str
    """What answered, such as v0007."""
    messages: str
    """JSON list of the turns before the answer; of a plain text one turn of the user."""
    plain: bool = False
    """Whether the prompt was text that no template was put around."""
    tools: str | None = None
    """JSON list, if tools were offered."""
    answer: str
    tool_calls: str | None = None
    """JSON list, if the answer calls tools."""
    reasoning: str | None = None
    finish_reason: str
    confidence: float
    """
    exp(mean(ln p)) over the answer's tokens, p the probability that the model gave to each: the
    geometric mean, 0 to 1. It is not the probability that the answer is right.
    """
    tokens: int
    """Of prompt and answer together."""
    duration_ms: int
    invented: tuple[str, ...] = ()
    """
    Where in the answer values stand that should have been copied from the question and are not
    in it, such as ``$.steps[0].zone``. The values are in the answer.
    """
    origin: str | None = None
    """JSON object: where an imported exchange was found; None if it was asked here."""

    @property
    def n_bytes(self) -> int:
        """About what it takes on disk."""
        texts = (self.messages, self.answer, self.tools, self.tool_calls, self.reasoning)
        return 512 + sum(len(text.encode("utf-8", "replace")) for text in texts if text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Feedback:
    """
    What a user said of one answer. None leaves what was said before.
    """

    request_id: str
    key_id: str
    thumbs: Thumbs | None = None
    correction: str | None = None
    """What the answer should have been."""
    comment: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """
    A recorded exchange with all that was said and decided since.
    """

    exchange: RecordedExchange
    thumbs: Thumbs | None = None
    correction: str | None = None
    comment: str | None = None
    review: ReviewState = ReviewState.NONE
    reasons: tuple[Reason, ...] = ()
    revision: int = 0
    """Counts what its users said, so that nobody decides on what has changed meanwhile."""
    approved: str | None = None
    """The answer that a person accepted."""
    decided_at: str | None = None
    decided_by: str | None = None

    @property
    def proposed(self) -> str:
        """The answer that accepting takes: its user's correction, else the model's own."""
        return self.exchange.answer if self.correction is None else self.correction

    @property
    def confidence(self) -> float | None:
        """Of the exchange, None if it was imported and nobody knows it."""
        return None if Reason.UNVERIFIED in self.reasons else self.exchange.confidence


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewCounts:
    """
    How many answers are where, and how many were removed for age or space since the file was made.
    """

    recorded: int = 0
    waiting: int = 0
    approved: int = 0
    """Accepted and in no file of inbox/ yet."""
    rejected: int = 0
    delivered: int = 0
    removed: int = 0
    removed_waiting: int = 0
    """Of those removed: how many nobody had looked at."""


def reasons_for(
    exchange: RecordedExchange,
    *,
    thumbs: Thumbs | None = None,
    correction: str | None = None,
    threshold: float,
) -> tuple[Reason, ...]:
    """
    Return why a person should look at an answer; none of it is no reason to.

    Args:
        exchange: What was asked and answered.
        thumbs: Its user's.
        correction: Its user's.
        threshold: ``serving.review_confidence``; a confidence below it is a reason.
    """
    found = []
    if correction is not None:
        found.append(Reason.CORRECTED)
    if thumbs is Thumbs.DOWN:
        found.append(Reason.DISLIKED)
    if exchange.invented:
        found.append(Reason.INVENTED)
    if exchange.confidence < threshold:
        found.append(Reason.UNSURE)
    return tuple(found)


def with_feedback(entry: Entry, feedback: Feedback, *, threshold: float) -> Entry:
    """
    Return *entry* after its user spoke.

    What was decided stays decided, with one exception: a correction of a rejected answer is
    something new, and a person looks again.
    """
    thumbs = feedback.thumbs or entry.thumbs
    correction = entry.correction if feedback.correction is None else feedback.correction
    reasons = reasons_for(entry.exchange, thumbs=thumbs, correction=correction, threshold=threshold)
    corrected = feedback.correction is not None and feedback.correction != entry.correction
    review = entry.review
    if review in (ReviewState.NONE, ReviewState.WAITING):
        review = ReviewState.WAITING if reasons else ReviewState.NONE
    elif review is ReviewState.REJECTED and corrected:
        review = ReviewState.WAITING
    return replace(
        entry,
        thumbs=thumbs,
        correction=correction,
        comment=entry.comment if feedback.comment is None else feedback.comment,
        review=review,
        reasons=reasons,
        revision=entry.revision + 1,
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """
    One stored row, by what decides when it is removed.
    """

    id: str
    review: ReviewState
    n_bytes: int


_FIRST_TO_GO = (
    ReviewState.NONE,
    ReviewState.REJECTED,
    ReviewState.DELIVERED,
    ReviewState.WAITING,
)


def to_remove(rows: Sequence[Kept], *, max_bytes: int) -> list[Kept]:
    """
    Return which rows go so that the others take at most nine tenths of *max_bytes*.

    None, if all of them take no more than *max_bytes*. What nobody need look at goes first and
    what waits for review last, each the oldest first; what is approved and not delivered stays.

    Args:
        rows: All of them, oldest first.
        max_bytes: ``serving.feedback_bytes``.
    """
    excess = sum(row.n_bytes for row in rows)
    if excess <= max_bytes:
        return []
    excess -= max_bytes * 9 // 10
    gone: list[Kept] = []
    for state in _FIRST_TO_GO:
        for row in rows:
            if excess <= 0:
                return gone
            if row.review is state:
                gone.append(row)
                excess -= row.n_bytes
    return gone
