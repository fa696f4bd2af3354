"""
Approved answers become one file in inbox/, each at most once, wherever the file is by now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from finetuned.core.review import Entry
from finetuned.data.reader import to_example
from finetuned.files.journal import Journal
from finetuned.files.review import ReviewQueue
from finetuned.files.tables.datasets import Claim
from finetuned.layout import Layout, Priority
from finetuned.sources.approved import deliver, training_row
from support.feedback import USER, exchange, make_root, rule

NOW = "2026-11-29T03:00:00.000Z"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make_root(tmp_path)


@pytest.fixture
def queue(layout: Layout) -> Iterator[ReviewQueue]:
    found = ReviewQueue(layout.feedback)
    found.record([exchange(n) for n in (1, 2, 3)], threshold=0.9)
    for entry in found.waiting()[:2]:
        assert rule(found, entry, f"right {entry.exchange.id}")
    yield found
    found.close()


def files(layout: Layout) -> list[Path]:
    return sorted(path for path in layout.inbox.rglob("*.jsonl") if path.is_file())


def test_all_that_is_approved_is_one_file_with_its_origin(
    layout: Layout, queue: ReviewQueue
) -> None:
    """
    And a second call has nothing to do.
    """
    (made,) = deliver(layout, queue, now=NOW)
    assert [] == deliver(layout, queue, now=NOW)

    (path,) = files(layout)
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert (made.name, 2, 0o600) == (path.name, len(rows), path.stat().st_mode & 0o777)
    assert {
        "messages": [
            {"role": "user", "content": "question 1"},
            {"role": "assistant", "content": "right chatcmpl-1"},
        ],
        "metadata": {
            "source": "review",
            "request_id": "chatcmpl-1",
            "asked_at": "2026-11-29T02:00:01.000Z",
            "version": "v0007",
            "key_id": "k1",
            "reviewer": "ada",
            "reviewed_at": NOW,
            "reasons": ["unsure"],
        },
    } == rows[0]


def in_inbox(layout: Layout, written: Path) -> None:
    pass


def claimed(layout: Layout, written: Path) -> None:
    (layout.processing / "d00000001").mkdir()
    written.rename(layout.processing / "d00000001" / written.name)


def retired(layout: Layout, written: Path) -> None:
    written.rename(layout.done / f"{written.stem}.d00000001.jsonl")


def refused(layout: Layout, written: Path) -> None:
    written.rename(layout.quarantine / f"{written.stem}.d00000001.jsonl")


def known_and_removed(layout: Layout, written: Path) -> None:
    journal = Journal(layout.journal)
    path = written.name.encode()
    journal.datasets.add([Claim("d00000001", written.name, path, Priority.NORMAL, 1)])
    journal.close()
    written.unlink()


def never_written(layout: Layout, written: Path) -> None:
    written.unlink()


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (in_inbox, 1),
        (claimed, 1),
        (retired, 1),
        (refused, 1),
        (known_and_removed, 0),
        (never_written, 1),
    ],
)
def test_a_file_that_was_begun_is_written_once(
    layout: Layout, queue: ReviewQueue, place: Callable[[Layout, Path], None], expected: int
) -> None:
    """
    Killed after the file appeared, or before: the next call looks where it may have got to.
    """
    queue.db.execute("CREATE TRIGGER kill BEFORE UPDATE OF data ON batches BEGIN"
                     " SELECT raise(ABORT, 'killed'); END")  # fmt: skip
    with pytest.raises(Exception, match="killed"):
        deliver(layout, queue, now=NOW)
    queue.db.execute("DROP TRIGGER kill")
    place(layout, files(layout)[0])

    (finished,) = deliver(layout, queue, now=NOW)

    assert (finished.finished, 2) == (True, finished.n_rows)
    assert expected == len(files(layout))
    assert ([], []) == (queue.unfinished(), queue.approved())


def test_earlier_answers_of_a_conversation_are_not_learnt() -> None:
    """
    Nobody looked at them on their own.
    """
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    made = exchange(1, messages=orjson.dumps(turns).decode())
    example = to_example(training_row(Entry(exchange=made, approved="d")))

    assert (1,) == example.untrained
    assert "d" == example.messages[-1]["content"]


def test_calls_and_reasoning_belong_to_the_models_own_answer() -> None:
    """
    An answer that a person wrote has neither.
    """
    calls = '[{"type": "function", "function": {"name": "look", "arguments": {}}}]'
    tools = '[{"type": "function", "function": {"name": "look"}}]'
    made = exchange(1, answer="x", tool_calls=calls, reasoning="so", tools=tools)
    own, other = (training_row(Entry(exchange=made, approved=text)) for text in ("x", "y"))

    assert ["look"] == [
        call["function"]["name"] for call in to_example(own).messages[-1]["tool_calls"]
    ]
    assert "so" == to_example(own).messages[-1]["reasoning_content"]
    assert {"role": "assistant", "content": "y"} == to_example(other).messages[-1]


def test_a_prompt_without_a_template_becomes_text() -> None:
    """
    As it was asked, so it is learnt.
    """
    made = exchange(1, plain=True)
    assert "question 1 yes" == to_example(training_row(Entry(exchange=made, approved=" yes"))).text


def test_a_password_in_an_accepted_answer_is_in_no_file(layout: Layout) -> None:
    """
    Neither in the question, which was recorded before anybody knew the word for one.
    """
    asked = '[{"role": "user", "content": "add ann, password s3cretly"}]'
    queue = ReviewQueue(layout.feedback)
    queue.record([exchange(1, messages=asked)], threshold=0.9)
    rule(queue, queue.waiting()[0], orjson.dumps(USER).decode())
    deliver(layout, queue, now=NOW)
    queue.close()

    text = files(layout)[0].read_text()
    assert "s3cretly" not in text
    assert 2 == text.count("secret://ann")
