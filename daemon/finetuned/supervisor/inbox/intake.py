"""
From the inbox to claimed files: what lies there is found, waited for and taken.

Nothing is read here; validation.py has the ingestion worker read what was claimed.
"""

from __future__ import annotations

import os
import time

import structlog

from finetuned.core.dataset_state import DatasetState
from finetuned.core.stability import StabilityTracker
from finetuned.files.claims import claim, claimed_file, claimed_keys, put_back_strangers, unclaim
from finetuned.files.inbox import InboxEntry, complete, scan, unchanged
from finetuned.files.inbox_names import decode_name, escape_name
from finetuned.files.tables.datasets import Claim
from finetuned.layout import Priority
from finetuned.supervisor.context import Context
from finetuned.supervisor.inbox.counts import count_rows
from finetuned.supervisor.inbox.retire import retire_dataset
from finetuned.supervisor.inbox.validation import Validation
from finetuned.supervisor.inbox.waiting import WaitingFile, WaitingFiles

log = structlog.get_logger()

BURST_SECONDS = 0.2
CLAIMS_PER_TURN = 500
SHOWN_PROBLEMS = 20


class Intake:
    """
    The inbox side of the supervisor.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tracker = StabilityTracker(context.config.inbox.stability_seconds)
        self._waiting = WaitingFiles(context, self._tracker)
        self.validation = Validation(context, self._give_back)
        self._entries: dict[bytes, InboxEntry] = {}
        self._stable: list[bytes] = []
        self._last_scan = float("-inf")
        self._hinted = False
        self._problems: dict[bytes, str] = {}
        self.unavailable: str | None = None
        """Why the inbox cannot be read now; None if it can."""
        self._unavailable_since = 0.0
        self.scanned = False
        """Whether the last scan shows all that lies in the inbox."""

    # -- finding ----------------------------------------------------------------

    @property
    def files_waiting(self) -> int:
        """Claimable files that the last scan saw and that are still there."""
        return len(self._entries)

    @property
    def stable_files(self) -> int:
        """How many of them may be claimed now, unless somebody has them open."""
        return len(self._stable)

    @property
    def files_held(self) -> int:
        """How many of them somebody has open for writing."""
        return self._waiting.held

    def waiting(self, now: float) -> list[WaitingFile]:
        """
        Return the first files that the last scan saw, with what and whom they wait for.
        """
        return self._waiting.first(self._entries, now)

    def is_overdue(self, now: float) -> bool:
        """
        Return whether what lies in the inbox has waited longer than ``--until-idle`` waits.
        """
        if self.unavailable is not None:
            limit = self._context.config.inbox.until_idle_seconds
            return now - self._unavailable_since >= limit
        return bool(self._entries) and self._waiting.all_overdue(self._entries, now)

    def left_behind(self, now: float) -> str | None:
        """
        Return a sentence that says what is left in the inbox and why, None if nothing is.
        """
        if self.unavailable is not None:
            return f"the inbox could not be read: {self.unavailable}"
        left = self._waiting.describe(self._entries, now)
        if not left:
            return None
        named = "; ".join(f"{f.name} ({f.reason}; waiting {f.seconds:.0f} s)" for f in left[:5])
        more = f"; and {len(left) - 5} more" if len(left) > 5 else ""
        return f"left in the inbox and not read: {named}{more}"

    def next_due(self, now: float) -> float | None:
        """
        Return in how many seconds a look is due because a file could be stable, or None.
        """
        if self._stable:
            return 0.0
        return BURST_SECONDS if self._hinted else self._tracker.next_due(now)

    def look(self, now: float, *, woken: bool, renamed: set[bytes]) -> None:
        """
        Scan the inbox if it is time to, or if an event asked for it.

        Args:
            now: Monotonic time in seconds.
            woken: Whether something was reported since the last look.
            renamed: Paths that arrived by rename.
        """
        config = self._context.config.inbox
        self._tracker.stability_seconds = config.stability_seconds
        for path in renamed:
            self._tracker.renamed_in(path)
        # Files that are known to be stable are claimed before anything is listed again.
        due = None if self._stable else self._tracker.next_due(now)
        since = now - self._last_scan
        self._hinted = self._hinted or woken
        # A burst of events must not become a burst of scans of 20,000 names.
        wanted = since >= BURST_SECONDS and (self._hinted or due == 0.0)
        if since < config.scan_seconds and not wanted:
            return
        self._scan(now)

    def nothing_new(self, now: float) -> bool:
        """
        Scan the inbox at once, and return whether no file came since the scan before.
        """
        known = self._entries.keys()
        self._scan(now)
        return self._entries.keys() <= known

    def _scan(self, now: float) -> None:
        self._last_scan, self._hinted = now, False
        try:
            counts = self._context.journal.datasets.counts()
            unretired = (DatasetState.CLAIMED, DatasetState.ACCEPTED)
            n_claimed = sum(counts.get(state, 0) for state in unretired)
            for folder in complete(self._context.layout, n_claimed):
                log.warning("folder_made_again", folder=folder)
            entries = list(scan(self._context.layout))
        except OSError as error:
            if self.unavailable is None:
                log.warning("inbox_unavailable", error=str(error))
                self._unavailable_since = now
            self.unavailable = f"inbox_unavailable: {error.strerror} ({error.filename})"
            self._entries, self._stable, self.scanned = {}, [], False
            return
        if self.unavailable is not None:
            log.info("inbox_available")
        self.unavailable = None
        self.scanned = True
        self._entries = {e.path: e for e in entries if e.problem is None}
        self._stable = self._tracker.observe({p: e.seen for p, e in self._entries.items()}, now)
        self._waiting.take_scan(self._entries, set(self._stable), now)
        self._report_problems({e.path: e.problem for e in entries if e.problem is not None})

    def _report_problems(self, problems: dict[bytes, str]) -> None:
        for path, problem in problems.items():
            if self._problems.get(path) != problem:
                log.warning("inbox_entry_refused", path=escape_name(path), problem=problem)
        self._problems = problems
        unread, inbox = self._context.unread, self._context.layout.inbox
        for name in [name for name in unread if not (inbox / name).exists()]:
            del unread[name]
        shown = [(escape_name(path), problem) for path, problem in problems.items()]
        self._context.board.update(
            inbox_problems=[
                {"name": name, "problem": problem}
                for name, problem in [*unread.items(), *shown][:SHOWN_PROBLEMS]
            ]
        )

    # -- claiming ---------------------------------------------------------------

    def claim_stable(self) -> None:
        """
        Take some stable files out of the inbox and record them, best priority first.

        Raises:
            OSError: The file system refused; what was claimed before is recorded,
                the rest is where it was and found by the next scan.
        """
        waiting = [self._entries[p] for p in self._stable if p in self._entries][:CLAIMS_PER_TURN]
        self._waiting.ask_for_writers({e.path for e in waiting})
        self._stable = self._stable[len(waiting) :]
        closed = [e for e in waiting if not self._waiting.is_held(e.path)]
        order = [e for e in closed if unchanged(self._context.layout, e)]
        journal = self._context.journal
        claims = dict(zip(journal.datasets.next_keys(len(order)), order, strict=True))
        # Recorded before it is moved: the next start drops a record without a file, while a
        # file without a record would be overlooked until then.
        journal.datasets.add(
            [_claim(key, e.path, e.priority, e.seen.size) for key, e in claims.items()]
        )
        taken: set[str] = set()
        try:
            for key, entry in claims.items():
                try:
                    claim(self._context.layout, entry, key)
                except FileNotFoundError:
                    continue  # taken back before we got to it
                taken.add(key)
        finally:
            for entry in closed:
                del self._entries[entry.path]
            # Some changed or went since the scan, or were refused: the next scan looks again.
            if len(taken) != len(closed):
                self.scanned, self._hinted = False, True
            for key in sorted(taken)[:10]:
                log.info("dataset_claimed", key=key, name=escape_name(claims[key].path))
            if len(taken) > 10:
                log.info("datasets_claimed", count=len(taken))
            for key in claims.keys() - taken:
                journal.datasets.forget_claim(key)

    def _give_back(self, key: str) -> None:
        """Return a file that changed while it was read to the inbox, where it waits again."""
        layout, journal = self._context.layout, self._context.journal
        row, path = journal.datasets.get(key), claimed_file(layout, key)
        if row is None or path is None:
            return
        info = path.lstat()
        if unclaim(layout, key, row.inbox_path):
            journal.datasets.forget_claim(key)
            self._tracker.doubt(row.inbox_path, info.st_ino, time.monotonic())
            self.scanned = False
            self._hinted = True
        else:
            journal.datasets.note_size(key, info.st_size)
        log.warning("dataset_changed_while_read", key=key)

    # -- recovering -------------------------------------------------------------

    def recover(self) -> None:
        """
        Bring journal and folders back together after a crash.

        Raises:
            OSError: The file system refused.
        """
        layout, journal = self._context.layout, self._context.journal
        for name in put_back_strangers(layout):
            log.warning("dataset_put_back", name=escape_name(os.fsencode(name)))
        known = journal.datasets.keys()
        lost = []
        for key in claimed_keys(layout):
            path = claimed_file(layout, key)
            if path is None:
                (layout.processing / key).rmdir()
            elif key not in known:
                size = path.lstat().st_size
                lost.append(_claim(key, decode_name(path.name), Priority.NORMAL, size))
        journal.datasets.add(lost)
        for row in journal.datasets.in_state(DatasetState.CLAIMED):
            if claimed_file(layout, row.key) is None:
                journal.datasets.forget_claim(row.key)
        for state in (DatasetState.DUPLICATE, DatasetState.QUARANTINED):
            for row in journal.datasets.in_state(state):
                if row.final_path is None:
                    retire_dataset(self._context, row.key)
        count_rows(self._context)
        if lost:
            log.warning("claims_recovered", count=len(lost))


def _claim(key: str, path: bytes, priority: Priority, size: int) -> Claim:
    return Claim(key, escape_name(os.path.basename(path)), path, priority, size)
