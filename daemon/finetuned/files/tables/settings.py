"""
Settings that outlive a restart: the pause in force, and where daily and watched work stands.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from finetuned.files.database import Database

_PAUSED = "paused"
_LAST_CONSOLIDATION = "last_consolidation"
_FILLED = "filled"


class WatchMark(StrEnum):
    """
    The steps of a promotion's watch; each remembers the last promotion that passed it.
    """

    ASKED = "asked_promotion"  # its canaries were asked again
    DONE = "watched_promotion"  # its watch is over


class Settings:
    """
    The table ``settings``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_filled(self) -> bool:
        """
        Return whether a new journal was filled from the manifests of versions, to the end.
        """
        return self._database.setting(_FILLED) is not None

    def note_filled(self) -> None:
        """
        Record that it was; belongs into the transaction that fills it.
        """
        self._database.set_setting(_FILLED, "1")

    def paused(self) -> str | None:
        """
        Return the reason of the pause in force ("" if none was given), or None without a pause.
        """
        return self._database.setting(_PAUSED)

    def pause(self, reason: str) -> None:
        """
        Begin a pause.
        """
        self._database.set_setting(_PAUSED, reason)

    def resume(self) -> None:
        """
        End the pause.
        """
        self._database.change("DELETE FROM settings WHERE key = ?", (_PAUSED,))

    def last_consolidation(self) -> date | None:
        """
        Return the local date of the last nightly look for a merge, or None.
        """
        value = self._database.setting(_LAST_CONSOLIDATION)
        return None if value is None else date.fromisoformat(value)

    def note_consolidation(self, day: date) -> None:
        """
        Record that the nightly look of *day* was taken.
        """
        self._database.set_setting(_LAST_CONSOLIDATION, day.isoformat())

    def watch_mark(self, mark: WatchMark) -> int:
        """
        Return the number of the last promotion that passed *mark*, 0 for none.
        """
        return int(self._database.setting(mark) or 0)

    def pass_watch_mark(self, mark: WatchMark, promotion: int) -> None:
        """
        Record that promotion number *promotion* passed *mark*; an earlier one changes nothing.
        """
        with self._database.write():
            if self.watch_mark(mark) < promotion:
                self._database.set_setting(mark, str(promotion))
