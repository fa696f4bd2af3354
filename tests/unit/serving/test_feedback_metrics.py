"""
What /metrics says of recorded answers.
"""

from __future__ import annotations

from pathlib import Path

from finetuned.files.feedback import FeedbackFile
from finetuned.serving.gateway.feedback_metrics import FeedbackSource
from finetuned.serving.gateway.recorder import Bounds, Recorder
from support.feedback import exchange, make_root


def test_the_review_queue_is_counted_as_it_is_now(tmp_path: Path) -> None:
    """
    Of what is recorded, what waits, what was removed unseen and what was left out; a file that
    cannot be read has no counts, and that is said.
    """
    layout = make_root(tmp_path)
    recorder = Recorder(layout.feedback, Bounds(confidence=0.9, days=30, max_bytes=1 << 30))
    source = FeedbackSource(layout, recorder)

    def shown() -> dict[tuple[str, ...], float]:
        return {(s.metric.name, *s.labels): s.value for s in source.samples()}

    assert 0 == shown()[("finetuned_review_answers", "waiting")]
    for number in range(3):
        recorder.add(exchange(number, confidence=0.95 if number else 0.1))
    recorder.leave_out()
    recorder.close()
    before = shown()
    file = FeedbackFile(layout.feedback)
    file.remove_old(before="2027-01-01T00:00:00.000Z", max_bytes=1 << 30)
    file.close()
    after = shown()
    layout.feedback.write_bytes(b"no database")

    assert (3, 1, 1, 1) == (
        before[("finetuned_answers_recorded",)],
        before[("finetuned_review_answers", "waiting")],
        before[("finetuned_answers_left_out_total",)],
        before[("finetuned_review_readable",)],
    )
    assert (0, 1, 2) == (
        after[("finetuned_review_answers", "waiting")],
        after[("finetuned_answers_removed_total", "yes")],
        after[("finetuned_answers_removed_total", "no")],
    )
    assert {("finetuned_answers_left_out_total",): 1, ("finetuned_review_readable",): 0} == shown()
