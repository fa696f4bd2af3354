"""
What a chat does with /good, /bad and /correct: the words for a person, and who is told.
"""

from __future__ import annotations

from typing import Final

from finetuned.core.review import ReviewState, Thumbs
from finetuned.errors import NoAnswer
from finetuned.layout import Layout
from finetuned.serving.client.feedback import Opinion, send_feedback
from finetuned.serving.client.find import find_service

NOTHING_YET: Final = "there is no whole answer yet of which that could be said; ask something first"
NOT_RECORDED: Final = (
    "this answer came from a model loaded here, and only answers of a service are recorded; "
    "start finetuned serve and ask again"
)
NO_SERVICE: Final = (
    "the service that gave the answer does not run now, so nothing was recorded; start finetuned "
    "serve and try it again"
)

_AFTER: Final = {
    ReviewState.NONE: "recorded",
    ReviewState.WAITING: "recorded; it waits for finetuned review",
    ReviewState.REJECTED: "recorded; a person had decided that nothing is to be learnt from it",
    ReviewState.APPROVED: "recorded; a person had accepted an answer already",
    ReviewState.EXPORTING: "recorded; an accepted answer is being put into inbox/ already",
    ReviewState.DELIVERED: "recorded; an accepted answer was put into inbox/ already",
}


def tell(layout: Layout, request_id: str | None, opinion: Opinion) -> str:
    """
    Have the running service record *opinion*, and return what a person is told of it.

    The service is looked for again, since it may have been started anew meanwhile.

    Args:
        layout: The root.
        request_id: Of the answer; None if no service gave it.
        opinion: What was typed.

    Raises:
        NoAnswer: It cannot be recorded, and why.
    """
    if request_id is None:
        raise NoAnswer(NOT_RECORDED)
    service = find_service(layout)
    if service is None:
        raise NoAnswer(NO_SERVICE)
    return _AFTER[send_feedback(service, request_id, opinion)]


def thumbs(up: bool, comment: str) -> Opinion:
    """
    Return what ``/good [COMMENT]`` or ``/bad [COMMENT]`` says.
    """
    return Opinion(thumbs=Thumbs.UP if up else Thumbs.DOWN, comment=comment or None)
