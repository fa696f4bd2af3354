"""
models/serving/feedback.sqlite3: nothing is lost between its two writers, and it stays bounded.
"""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from finetuned.core.review import Entry, Feedback, Reason, ReviewState, Thumbs
from finetuned.errors import ConfigError
from finetuned.files.feedback import FeedbackFile, review_counts
from finetuned.files.feedback_schema import TABLES
from finetuned.files.review import Batch, ReviewQueue
from support.feedback import exchange, rule

OF_USERS = """
id timestamp appliance_id customer_id query query_hash parsed_intent confidence llm_model
llm_tokens_used llm_duration_ms playbook_yaml playbook_hash execution_status
execution_duration_seconds tasks_executed tasks_ok tasks_changed tasks_failed execution_output
execution_errors user_feedback user_comment is_training_data human_verified correct_intent
"""
"""The columns of ai_decisions that queries of users name."""

ALL = 0.9


def same(entry: Entry) -> Entry:
    return entry


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[ReviewQueue]:
    found = ReviewQueue(tmp_path / "feedback.sqlite3")
    yield found
    found.close()


def say(queue: FeedbackFile, number: int, **said: object) -> Entry | None:
    feedback = Feedback(request_id=f"chatcmpl-{number}", key_id="k1")
    return queue.say(replace(feedback, **said), threshold=ALL, clean=same)  # type: ignore[arg-type]


def test_the_table_has_the_columns_that_users_queries_name(queue: ReviewQueue) -> None:
    """
    And those that are made from others have their values.
    """
    queue.record([exchange(1, answer='{"action": "none"}')], threshold=ALL)
    say(queue, 1, correction='{"action": "clarify"}')
    row = queue.db.execute("SELECT * FROM ai_decisions").fetchone()
    columns = [column[1] for column in queue.db.execute("PRAGMA table_xinfo(ai_decisions)")]

    assert OF_USERS.split() == columns[: len(OF_USERS.split())]
    assert ("question 1", '{"action":"none"}') == (row["query"], row["parsed_intent"])
    assert '{"action":"clarify"}' == row["correct_intent"]
    assert (0, 0) == (row["is_training_data"], row["human_verified"])
    assert 64 == len(row["query_hash"])


def test_only_its_owner_may_read_it(queue: ReviewQueue) -> None:
    """
    Nor the files that SQLite keeps beside it.
    """
    queue.record([exchange()], threshold=ALL)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in queue.path.parent.iterdir()}

    assert {"feedback.sqlite3", "feedback.sqlite3-wal", "feedback.sqlite3-shm"} == found.keys()
    assert {0o600} == set(found.values())


def test_what_users_say_brings_an_answer_into_the_queue(queue: ReviewQueue) -> None:
    """
    A thumbs down, a correction or a low confidence; and a thumbs up takes a thumbs down back.
    """
    queue.record([exchange(n, confidence=0.95) for n in (1, 2, 3)], threshold=ALL)
    queue.record([exchange(4)], threshold=ALL)
    say(queue, 1, thumbs=Thumbs.DOWN, comment="no")
    say(queue, 2, correction="right")
    say(queue, 3, thumbs=Thumbs.UP)

    assert ["chatcmpl-2", "chatcmpl-1", "chatcmpl-4"] == [e.exchange.id for e in queue.waiting()]
    assert [(Reason.CORRECTED,), (Reason.DISLIKED,), (Reason.UNSURE,)] == [
        entry.reasons for entry in queue.waiting()
    ]
    taken_back = say(queue, 1, thumbs=Thumbs.UP)
    assert taken_back is not None
    assert (ReviewState.NONE, "no") == (taken_back.review, taken_back.comment)


def test_an_unsure_answer_is_queued_once_word_for_word(queue: ReviewQueue) -> None:
    """
    The same question asked a thousand times does not make a thousand rows to look at.
    """
    queue.record([exchange(1), exchange(1, id="b"), exchange(2)], threshold=ALL)
    queue.record([exchange(1, id="c")], threshold=ALL)

    assert ["chatcmpl-1", "chatcmpl-2"] == [e.exchange.id for e in queue.waiting()]


def test_another_key_can_say_nothing_of_an_answer(queue: ReviewQueue) -> None:
    """
    It is told what one is told of an answer that there never was.
    """
    queue.record([exchange()], threshold=ALL)

    assert say(queue, 1, key_id="k2", thumbs=Thumbs.DOWN) is None
    assert say(queue, 9, thumbs=Thumbs.DOWN) is None
    assert queue.entries("")[0].thumbs is None


def test_a_decision_on_what_has_changed_is_not_recorded(queue: ReviewQueue) -> None:
    """
    The user corrected the answer while the reviewer read it: both are seen before one is made.
    """
    queue.record([exchange()], threshold=ALL)
    (seen,) = queue.waiting()
    say(queue, 1, correction="right")

    assert not rule(queue, seen, "answer 1")
    (again,) = queue.waiting()
    assert "right" == again.proposed
    assert rule(queue, again, "right")
    assert not rule(queue, again, "right")


def test_a_rejected_answer_is_looked_at_again_only_if_it_is_corrected(queue: ReviewQueue) -> None:
    """
    What was decided stays decided otherwise.
    """
    queue.record([exchange()], threshold=ALL)
    assert rule(queue, queue.waiting()[0], None)
    say(queue, 1, thumbs=Thumbs.DOWN)
    assert [] == queue.waiting()
    say(queue, 1, correction="right")
    assert 1 == len(queue.waiting())


def test_two_writers_lose_no_row(queue: ReviewQueue) -> None:
    """
    One adds while the other decides, each in transactions of its own.
    """

    def add() -> None:
        file = FeedbackFile(queue.path)
        for number in range(40):
            file.record([exchange(number)], threshold=ALL)
        file.close()

    writer = threading.Thread(target=add)
    writer.start()
    decided = 0
    while decided < 40:
        entry = queue.next()
        decided += entry is not None and rule(queue, entry, None)
    writer.join()

    found = review_counts(queue.path)
    assert found is not None
    assert (40, 0, 40) == (found.recorded, found.waiting, found.rejected)


def test_old_rows_go_and_are_counted(queue: ReviewQueue) -> None:
    """
    All but those that are approved and in no file yet.
    """
    queue.record([exchange(n) for n in (1, 2, 3)], threshold=ALL)
    assert rule(queue, queue.waiting()[0], "yes")

    gone = queue.remove_old(before="2026-11-29T02:00:03.000Z", max_bytes=1 << 30)

    assert {ReviewState.WAITING: 1} == gone
    assert ["chatcmpl-1", "chatcmpl-3"] == [e.exchange.id for e in queue.entries("ORDER BY id")]
    found = review_counts(queue.path)
    assert found is not None
    assert (1, 1, 1, 1) == (found.waiting, found.approved, found.removed, found.removed_waiting)


def test_what_waits_for_review_goes_last(queue: ReviewQueue) -> None:
    """
    Rows that nobody need look at make room first, the oldest first.
    """
    text = "x" * 1000
    unsure = [exchange(n, answer=f"{n} {text}") for n in (1, 2)]
    sure = [exchange(n, answer=f"{n} {text}", confidence=1.0) for n in (3, 4, 5)]
    queue.record([*unsure, *sure], threshold=ALL)
    one = unsure[0].n_bytes

    queue.remove_old(before="", max_bytes=5 * one)
    assert 5 == len(queue.entries(""))
    queue.remove_old(before="", max_bytes=4 * one)
    assert ["chatcmpl-1", "chatcmpl-2", "chatcmpl-5"] == [
        entry.exchange.id for entry in queue.entries("ORDER BY id")
    ]


def test_a_batch_takes_all_of_its_rows_or_none(queue: ReviewQueue) -> None:
    """
    A row that is not approved any more undoes it.
    """
    queue.record([exchange(1)], threshold=ALL)
    rule(queue, queue.waiting()[0], "yes")
    batch = Batch("review.jsonl", "0" * 64, 2, "", b"{}\n")

    with pytest.raises(ValueError, match="1 entries"):
        queue.begin_batch(batch, ["chatcmpl-1", "chatcmpl-2"])
    assert ([], 1) == (queue.unfinished(), len(queue.approved()))


def test_a_file_of_a_later_program_is_left_alone(tmp_path: Path) -> None:
    """
    And the message names both numbers.
    """
    path = tmp_path / "feedback.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 7")
    db.close()

    with pytest.raises(ConfigError, match="schema 7, known here 3"):
        FeedbackFile(path)


def test_counts_without_a_file_are_zero_and_of_a_damaged_one_none(tmp_path: Path) -> None:
    """
    A page shows that it does not know, and goes on.
    """
    path = tmp_path / "feedback.sqlite3"
    found = review_counts(path)
    assert found is not None
    assert 0 == found.waiting
    path.write_bytes(b"no database" * 100)
    assert review_counts(path) is None


def test_two_that_open_a_new_file_at_once_both_have_it(tmp_path: Path) -> None:
    """
    The gateway and finetuned review may be the first ones together.
    """
    for number in range(10):
        path, start, failed = tmp_path / f"{number}.sqlite3", threading.Barrier(4), []

        def open_it(path: Path = path, start: threading.Barrier = start) -> None:
            start.wait(10)
            try:
                FeedbackFile(path).close()
            except sqlite3.Error as error:
                failed.append(error)  # noqa: B023 - the threads end within the turn

        threads = [threading.Thread(target=open_it) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [] == failed


def test_an_invented_value_is_a_reason_to_look_however_sure_the_model_was(
    queue: ReviewQueue,
) -> None:
    """
    Before answers that are merely unsure, and with the place of the value.
    """
    queue.record([exchange(1), exchange(2, confidence=1.0, invented=("$.zone",))], threshold=ALL)
    first, second = queue.waiting()

    assert ((Reason.INVENTED,), ("$.zone",)) == (first.reasons, first.exchange.invented)
    assert ((Reason.UNSURE,), ()) == (second.reasons, second.exchange.invented)
    queue.record([exchange(2, id="again", confidence=1.0, invented=("$.zone",))], threshold=ALL)
    assert 2 == len(queue.waiting())


def test_what_its_user_says_does_not_make_a_value_less_invented(queue: ReviewQueue) -> None:
    """
    A thumbs up is no proof that the name is right.
    """
    queue.record([exchange(1, confidence=1.0, invented=("$.zone",))], threshold=ALL)
    entry = say(queue, 1, thumbs=Thumbs.UP)

    assert entry is not None
    assert (ReviewState.WAITING, (Reason.INVENTED,)) == (entry.review, entry.reasons)


@pytest.mark.parametrize(("version", "lacks"), [(1, ("invented", "origin")), (2, ("origin",))])
def test_a_file_of_an_earlier_version_is_opened_with_all_that_is_in_it(
    tmp_path: Path, version: int, lacks: tuple[str, ...]
) -> None:
    """
    Nothing is known of invented values, or of where a row was found, before.
    """
    path = tmp_path / "older.sqlite3"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(TABLES)
        for column in lacks:
            db.execute(f"ALTER TABLE ai_decisions DROP COLUMN {column}")
        db.execute(f"PRAGMA user_version = {version}")
    with closing(FeedbackFile(path)) as file:
        file.record([exchange(1, invented=("$.a",), origin="{}")], threshold=ALL)
    with closing(ReviewQueue(path)) as again:
        (entry,) = again.waiting()
    assert (("$.a",), "{}") == (entry.exchange.invented, entry.exchange.origin)
