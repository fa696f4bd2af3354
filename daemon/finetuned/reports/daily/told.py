"""
Notices as one message, however many they are. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from finetuned.core.notice import NoticeKind
from finetuned.core.text import visible
from finetuned.reports.daily.message import Message
from finetuned.reports.daily.written import plain
from finetuned.reports.wording import moment, shorten

MOST_NAMED: Final = 10
"""Notices of one kind that are told one by one; the others are counted."""

FILE_CHARS = 60
DETAIL_CHARS = 300

WORDS: Final = {
    NoticeKind.TAKEN_BACK: "taken back",
    NoticeKind.FAILED: "failed",
    NoticeKind.DISK_LOW: "disk low",
    NoticeKind.WAITING: "waiting for a person",
    NoticeKind.REJECTED: "rejected",
    NoticeKind.HELD: "held",
    NoticeKind.PROMOTED: "promoted",
}
"""In the order in which they are told."""


@dataclass(frozen=True, slots=True)
class Told:
    """
    A notice, with what is known of its job.
    """

    kind: NoticeKind
    at: str
    """RFC 3339 UTC."""
    detail: str
    version: str | None = None
    job: str | None = None
    files: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """What it is about, in a few words; empty if nothing more is known."""
        named = [name for name in (self.version, self.job if not self.version else None) if name]
        if self.files:
            more = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
            named.append(f"{shorten(self.files[0], FILE_CHARS)}{more}")
        return ", ".join(named)


def message_of(notices: Sequence[Told], root: str) -> tuple[str, Message]:
    """
    Return the subject and the message that tells *notices*.

    Args:
        notices: At least one, the oldest first.
        root: Name of the root's folder.
    """
    numbers = Counter(notice.kind for notice in notices)
    counted = ", ".join(f"{numbers[kind]} {WORDS[kind]}" for kind in WORDS if numbers[kind])
    if len(notices) == 1:
        about = notices[0].about
        counted = WORDS[notices[0].kind] + (f": {about}" if about else "")
    subject = f"finetuned {visible(root)}: {counted}"
    text, markdown = [subject, ""], [f"**{plain(subject)}**", ""]
    for kind in WORDS:
        told = [notice for notice in notices if notice.kind is kind]
        for notice in told[:MOST_NAMED]:
            about = f" {notice.about}" if notice.about else ""
            detail = shorten(notice.detail, DETAIL_CHARS)
            end = f"{about}: {detail}" if detail else about
            text.append(f"- {moment(notice.at)} {WORDS[kind]}{end}")
            markdown.append(f"- {moment(notice.at)} **{WORDS[kind]}**{plain(end)}")
        if (more := len(told) - MOST_NAMED) > 0:
            text.append(f"- {more} more {WORDS[kind]}")
            markdown.append(f"- {more} more {WORDS[kind]}")
    short = "\n".join(text)[:MOST_SHORT]
    body = "\n".join(text) + "\n"
    return subject, Message(text=body, markdown="\n".join(markdown) + "\n", short=short)


MOST_SHORT: Final = 1000
"""Characters of the form for services that take only few."""
