"""
What a user says of an answer, sent to the service that gave it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from finetuned.core.review import ReviewState, Thumbs
from finetuned.errors import EXIT_SOFTWARE, NoAnswer
from finetuned.serving.client.connection import posted
from finetuned.serving.client.find import RunningService

PATH = "/v1/feedback"


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """
    What is said of one answer; at least one of its fields.
    """

    thumbs: Thumbs | None = None
    correction: str | None = None
    """What the answer should have been."""
    comment: str | None = None


def send_feedback(service: RunningService, request_id: str, opinion: Opinion) -> ReviewState:
    """
    Have the service record *opinion* of an answer that this machine's commands asked for.

    Returns:
        Where the answer is now: WAITING if a person should look at it. It is on disk.

    Raises:
        NoAnswer: The service refused, is gone, or cannot write; nothing was recorded, or it is
            not known whether it was.
    """
    body: dict[str, object] = {"request_id": request_id}
    if opinion.thumbs is not None:
        body["thumbs"] = opinion.thumbs.removeprefix("thumbs_")
    if opinion.correction is not None:
        body["correct_answer"] = opinion.correction
    if opinion.comment is not None:
        body["comment"] = opinion.comment
    with posted(service, PATH, json.dumps(body).encode()) as response:
        said = response.read(1 << 16)
    try:
        return ReviewState(json.loads(said)["review"])
    except (ValueError, KeyError, TypeError):
        raise NoAnswer(
            "the service acknowledged the feedback in a way this program does not know; is it of "
            "this program's version?",
            exit_status=EXIT_SOFTWARE,
        ) from None
