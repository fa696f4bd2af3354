"""
How many answers are recorded, wait for review or were left out, as samples for a scrape.

Reads the file of answers and changes nothing. Counts again only if it has changed; the counts
come from an index, so that no text is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from finetuned.core.review import ReviewCounts
from finetuned.files.feedback import review_counts
from finetuned.layout import Layout
from finetuned.serving.gateway import metric_list as m
from finetuned.serving.gateway.metric_list import Sample
from finetuned.serving.gateway.recorder import Recorder

Stamp = tuple[tuple[int, int, int] | None, ...]


class FeedbackSource:
    """
    Samples of one root. One thread at a time.
    """

    def __init__(self, layout: Layout, recorder: Recorder | None) -> None:
        """
        Args:
            layout: Of the root.
            recorder: Of this gateway; None if ``serving.record`` is off.
        """
        self._path = layout.feedback
        self._recorder = recorder
        self._stamp: Stamp = ()
        self._counts: ReviewCounts | None = None

    def samples(self) -> Iterator[Sample]:
        """
        Yield what is known now; counts that cannot be read are left out, and that is said.
        """
        if self._recorder is not None:
            yield Sample(m.ANSWERS_LEFT_OUT, self._recorder.left_out)
        counts = self._count()
        yield Sample(m.REVIEW_READABLE, float(counts is not None))
        if counts is None:
            return
        for state, n in (
            ("waiting", counts.waiting),
            ("approved", counts.approved),
            ("rejected", counts.rejected),
            ("delivered", counts.delivered),
        ):
            yield Sample(m.REVIEW_ANSWERS, n, (state,))
        yield Sample(m.ANSWERS_RECORDED, counts.recorded)
        unseen = counts.removed_waiting
        yield Sample(m.ANSWERS_REMOVED, unseen, ("yes",))
        yield Sample(m.ANSWERS_REMOVED, counts.removed - unseen, ("no",))

    def _count(self) -> ReviewCounts | None:
        stamp = tuple(map(_stamp, (self._path, self._path.with_name(f"{self._path.name}-wal"))))
        if self._counts is None or stamp != self._stamp:
            self._counts = review_counts(self._path)
            self._stamp = stamp
        return self._counts


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
