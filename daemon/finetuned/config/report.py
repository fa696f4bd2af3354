"""
Knobs of the daily report, and of the messages that are sent at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time
from typing import Final

from finetuned.config.checks import check, ranges, words

KINDS: Final = ("promoted", "held", "rejected", "taken_back", "failed", "waiting", "disk_low")
"""What a message at once may be about; core/notice.py says what each word means."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,30}\Z")
_QUIET = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    daily_at: str = ""
    """
    Local time of day, such as "03:00", after which the report of the day before is made and
    sent; "" makes none. After downtime one report covers the days that were missed.
    """

    to: tuple[str, ...] = ()
    """
    Names of those who get the report and the messages at once, such as ["mail", "team"]. The
    address of each is a secret and stands elsewhere: in the variable FINETUNED_REPORT_MAIL, or
    in the systemd credential report-mail. Without a name the report is only written, to
    models/reports/daily/.
    """

    at_once: tuple[str, ...] = ()
    """
    What is told at once, of "promoted", "held", "rejected", "taken_back", "failed", "waiting"
    (for a person) and "disk_low". Needs report.to. Things that happen together are one message.
    """

    quiet: str = ""
    """
    Local hours, such as "22:00-07:00", in which nothing is sent at once; what happens then is
    one message at their end. "" has no such hours. The daily report keeps its time of day.
    """

    gather_seconds: float = 30.0
    """
    How long a message waits for more of what it could tell, in seconds, 0 to 3600.
    """

    again_seconds: float = 900.0
    """
    Least time between two messages for the same kind of thing, in seconds, 0 to 86400. It
    doubles with each further message, up to 8 hours, and falls back after twice that time
    without one. Another kind is told without waiting for it.
    """

    sent_by: str = "daemon"
    """
    "daemon": a child process of the daemon sends. "timer": the systemd unit
    finetuned-report.timer sends; the daemon's own unit has no network.
    """

    def __post_init__(self) -> None:
        words("report", self, sent_by=("daemon", "timer"))
        ranges("report", self, gather_seconds=(0, 3600), again_seconds=(0, 86400))
        if self.daily_at:
            check(_is_local(self.daily_at), "report.daily_at", _LIKE, self.daily_at)
        for name in self.to:
            allowed = "words of 31 small letters, digits and _ at most"
            check(_NAME.match(name) is not None, "report.to", allowed, name)
        check(len(set(self.to)) == len(self.to), "report.to", "different names", self.to)
        for kind in self.at_once:
            check(kind in KINDS, "report.at_once", f"some of {KINDS}", kind)
        needs = 'empty unless report.to names somebody, such as ["mail"]'
        check(bool(self.to) or not self.at_once, "report.at_once", needs, self.at_once)
        if self.quiet:
            found = _QUIET.match(self.quiet)
            fine = found is not None and all(map(_is_local, found.groups()))
            fine = fine and found is not None and found[1] != found[2]
            check(fine, "report.quiet", "two different times like 22:00-07:00", self.quiet)

    def quiet_hours(self) -> tuple[time, time] | None:
        """
        Return the begin and the end of the quiet hours, None if there are none.
        """
        if not self.quiet:
            return None
        begin, end = self.quiet.split("-")
        return time.fromisoformat(begin), time.fromisoformat(end)


_LIKE = "a local time like 03:00"


def _is_local(text: str) -> bool:
    try:
        return time.fromisoformat(text).tzinfo is None
    except ValueError:
        return False
