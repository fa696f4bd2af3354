"""
Notices in the journal: what a person may be told at once, and which message told it.

They are recorded in the transaction of what they tell, so that a crash loses none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import orjson

from finetuned.core.digest import Digest, from_text, to_text
from finetuned.core.notice import NoticeKind
from finetuned.files.database import Database
from finetuned.files.message_rows import NoticeRow
from finetuned.files.run import utc_now

MOST_DETAIL = 500
"""Characters of a reason that are kept."""

NOBODY_ASKED = 0
"""The message of a notice of a kind that nobody asked for."""

_DIGEST = "notice_digest"


class Notices:
    """
    The table ``notices``, and what is remembered of the messages that told them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        kind: NoticeKind,
        detail: str,
        *,
        job_id: str | None = None,
        version: str | None = None,
    ) -> None:
        """
        Record a notice; belongs into the transaction of what it tells.
        """
        self._database.change(
            "INSERT INTO notices (kind, at, job_id, version, detail) VALUES (?, ?, ?, ?, ?)",
            (kind, utc_now(), job_id, version, detail[:MOST_DETAIL]),
        )

    def untold(self) -> list[NoticeRow]:
        """
        Return the notices that wait, the oldest first.
        """
        return self._database.read(
            NoticeRow, "SELECT * FROM notices WHERE message IS NULL ORDER BY id"
        )

    def leave_out(self, notices: Sequence[NoticeRow], wanted: Collection[NoticeKind]) -> None:
        """
        Let those of *notices* wait no more whose kind is not *wanted*.
        """
        self.note_told([n for n in notices if n.kind not in wanted], NOBODY_ASKED)

    def note_told(self, notices: Sequence[NoticeRow], message: int) -> None:
        """
        Record which message tells *notices*; belongs into the transaction that writes it.
        """
        if not notices:
            return
        with self._database.write() as db:
            db.executemany(
                "UPDATE notices SET message = ? WHERE id = ?", [(message, n.id) for n in notices]
            )

    def digest(self) -> Digest:
        """
        Return what is remembered of earlier messages.
        """
        text = self._database.setting(_DIGEST)
        try:
            return from_text(orjson.loads(text or "{}"))
        except orjson.JSONDecodeError:
            return Digest()

    def note_digest(self, digest: Digest) -> None:
        """
        Remember *digest*; belongs into the transaction that writes the message.
        """
        self._database.set_setting(_DIGEST, orjson.dumps(to_text(digest)).decode())
