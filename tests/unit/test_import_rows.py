"""
An import as a whole: what is written, what waits, what is counted, and that nothing is half done.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from finetuned.core.masking import MASK, masked_in_prose
from finetuned.core.review import Reason, Thumbs
from finetuned.errors import CannotImport
from finetuned.files.review import ReviewQueue
from finetuned.sources.imports import KINDS, Report, Settings, import_rows
from finetuned.sources.imports.found import FoundRow, Place
from finetuned.sources.imports.judge import reasons_to_look
from finetuned.sources.imports.secrets import without_secrets

KIND = {kind.name: kind for kind in KINDS}
TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def asked(question: str, answer: str = "yes", **more: object) -> dict[str, object]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **more}


def imported(
    folder: Path, text: str, kind: str = "openai", *, verified_by: str | None = None
) -> Report:
    source = folder / "given.jsonl"
    source.write_text(text)
    return import_rows(
        KIND[kind],
        source,
        folder / "rows.jsonl",
        queue=folder / "models" / "serving" / "imported.sqlite3",
        settings=Settings(
            threshold=0.9, max_bytes=4096, now="2026-11-29T00:00:00Z", verified_by=verified_by
        ),
    )


def written(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def waiting(folder: Path) -> list[tuple[str, tuple[Reason, ...]]]:
    with closing(ReviewQueue(folder / "models" / "serving" / "imported.sqlite3")) as queue:
        return [(entry.exchange.answer, entry.reasons) for entry in queue.waiting()]


GIVEN = lines(
    asked("a", confidence=0.95),
    asked("b", verified=True),
    asked("c", confidence=0.5),
    asked("d"),
    asked("a", confidence=0.95),
    {"messages": TURNS[:1]},
    {"text": "learn this"},
    {"chosen": "x", "rejected": "y"},
    [1],
    asked("e", "x" * 5000),
)


def test_every_row_is_written_or_waits_or_is_refused_with_its_place(tmp_path: Path) -> None:
    """
    The counts add up to what was found.
    """
    report = imported(tmp_path, GIVEN)

    assert (10, 2, 2, 6) == (
        report.rows_found,
        report.rows_written,
        report.rows_to_review,
        report.rows_refused,
    )
    assert {"repeated": 5, "no_assistant": 6, "text_row": 7, "preference_row": 8, "bad_row": 9} == {
        reason: refused.examples[0].place.line
        for reason, refused in report.refused.items()
        if reason != "line_too_long"
    }
    assert {Reason.UNSURE: 1, Reason.UNVERIFIED: 1} == dict(report.reasons)
    assert [("yes", (Reason.UNVERIFIED,)), ("yes", (Reason.UNSURE,))] == waiting(tmp_path)


def test_a_row_says_where_it_comes_from(tmp_path: Path) -> None:
    """
    And who vouched for it, if somebody had to.
    """
    imported(tmp_path, lines(asked("a"), asked("b", metadata={"topic": "dns"})), verified_by="ada")
    first, second = (row["metadata"] for row in written(tmp_path))

    assert {
        "source": "import",
        "import": {
            "kind": "openai", "file": "given.jsonl", "line": 1,
            "confidence": None, "verified": False, "vouched_by": "ada",
        },
    } == first  # fmt: skip
    assert "dns" == second["topic"]  # type: ignore[index]


def test_the_same_import_again_changes_nothing(tmp_path: Path) -> None:
    """
    The same bytes, and no answer waits twice; another file is never overwritten.
    """
    imported(tmp_path, GIVEN)
    before = (tmp_path / "rows.jsonl").read_bytes()
    again = imported(tmp_path, GIVEN)

    assert (True, 0, 2) == (again.unchanged, again.answers_queued, again.answers_known)
    assert before == (tmp_path / "rows.jsonl").read_bytes()
    with pytest.raises(FileExistsError, match="not overwritten"):
        imported(tmp_path, lines(asked("other", confidence=1), asked("new")))
    assert before == (tmp_path / "rows.jsonl").read_bytes()
    assert 2 == len(waiting(tmp_path))


def test_a_source_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """
    Neither a file nor a queue, not even a folder for one.
    """
    with pytest.raises(CannotImport, match="breaks off"):
        imported(tmp_path, GIVEN + '{"messages": [')
    assert ["given.jsonl"] == [path.name for path in tmp_path.iterdir()]


def test_a_source_that_is_still_written_is_refused(tmp_path: Path) -> None:
    """
    Half of a dump is no dump.
    """
    source = tmp_path / "given.jsonl"
    source.write_text(lines(*(asked(str(n), confidence=1) for n in range(600))))

    def write_on(_n: int) -> None:
        source.write_text(source.read_text() + lines(asked("late", confidence=1)))

    with pytest.raises(CannotImport, match="changed while it was read"):
        import_rows(
            KIND["openai"],
            source,
            tmp_path / "rows.jsonl",
            queue=tmp_path / "q.sqlite3",
            settings=Settings(threshold=0.9, max_bytes=4096, now="2026-11-29T00:00:00Z"),
            on_progress=write_on,
        )
    assert ["given.jsonl"] == [path.name for path in tmp_path.iterdir()]


def test_a_queue_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    """
    The file is the sign that all of the import is done, so it comes last.
    """
    (tmp_path / "models" / "serving" / "imported.sqlite3").mkdir(parents=True)
    with pytest.raises((OSError, sqlite3.Error)):
        imported(tmp_path, GIVEN)
    assert {"given.jsonl", "models"} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("reached", [1, 2, 3])
def test_killed_while_it_reads_it_leaves_nothing_and_the_next_one_finishes(
    tmp_path: Path, reached: int
) -> None:
    """
    No part of a file, no temporary one, and no queue.
    """
    given = lines(*(asked(str(n), confidence=n % 2) for n in range(1000)))
    source = tmp_path / "given.jsonl"
    source.write_text(given)
    looks = []

    def die(n: int) -> None:
        looks.append(n)
        if len(looks) == reached:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        settings = Settings(threshold=0.9, max_bytes=4096, now="2026-11-29T00:00:00Z")
        target, queue = tmp_path / "rows.jsonl", tmp_path / "models" / "serving" / "q.sqlite3"
        import_rows(KIND["openai"], source, target, queue=queue, settings=settings, on_progress=die)
        os._exit(0)
    assert signal.SIGKILL == os.waitpid(child, 0)[1]
    assert ["given.jsonl"] == [path.name for path in tmp_path.iterdir()]

    report = imported(tmp_path, given)
    assert (500, 500) == (report.rows_written, report.answers_queued)


def test_each_answer_of_a_conversation_waits_with_what_came_before(tmp_path: Path) -> None:
    """
    But not one that is marked not to be trained.
    """
    more = [{"role": "user", "content": "and?"}, {"role": "assistant", "content": "bye"}]
    unmarked = {"messages": [*TURNS, *more]}
    marked = {"messages": [TURNS[0], {**TURNS[1], "weight": 0}, *more]}
    report = imported(tmp_path, lines(unmarked, marked))

    assert (2, 2, 1) == (report.rows_to_review, report.answers_queued, report.answers_known)
    with closing(ReviewQueue(tmp_path / "models" / "serving" / "imported.sqlite3")) as queue:
        entries = queue.waiting()
    assert [("hello", 1), ("bye", 3)] == [
        (entry.exchange.answer, len(json.loads(entry.exchange.messages))) for entry in entries
    ]
    assert entries[0].confidence is None
    assert '"line":1' in str(entries[0].exchange.origin)


def test_no_secret_is_written_or_waits(tmp_path: Path) -> None:
    """
    Named by a key of an answer, by a sentence, or by its form.
    """
    answer = json.dumps({"user": "x", "db_password": "hunter22"})
    report = imported(
        tmp_path,
        lines(
            asked("use hunter22 for x", answer, confidence=1),
            asked("the password is s3cret9", "Bearer abcdefgh12345678"),
            asked("reset the password for bob", confidence=1),
        ),
    )
    assert 2 == report.secrets_replaced
    kept = (tmp_path / "rows.jsonl").read_text() + str(waiting(tmp_path))
    database = b"".join(path.read_bytes() for path in (tmp_path / "models" / "serving").iterdir())
    assert not any(s in kept for s in ("hunter22", "s3cret9", "abcdefgh12345678"))
    assert b"s3cret9" not in database
    assert "use secret://db_password for x" in kept
    assert "reset the password for bob" in kept


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Create user john with password abc", f"Create user john with password {MASK}"),
        ("set bob's password to winter", f"set bob's password to {MASK}"),
        ("password 'x y z', then", f"password {MASK}, then"),
        ("db_password=abc; host=x", f"db_password={MASK}; host=x"),
        ("api-key: A1b2", f"api-key: {MASK}"),
        ("reset the password for bob", None),
        ("with password secret://bob now", None),
        ("the password is required", None),
        ("change the password policy to 12 characters", None),
        ("with password {{ vault_pw }}", None),
        ("max_tokens=5 and token ring", None),
    ],
)
def test_a_sentence_about_secrets_keeps_its_meaning(text: str, clean: str | None) -> None:
    """
    Only what is one is replaced.
    """
    assert (clean or text) == masked_in_prose(text)


def test_a_short_secret_does_not_tear_words(tmp_path: Path) -> None:
    """
    It is replaced where its key holds it, and as a whole word.
    """
    row = {"a": "sam asks samba", "b": json.dumps({"username": "sam", "password": "sam"})}
    clean = without_secrets(row)
    assert "secret://sam asks samba" == clean["a"]
    assert {"username": "secret://sam", "password": "secret://sam"} == json.loads(str(clean["b"]))
    assert {"p": {"pwd": "secret://pwd"}} == without_secrets({"p": {"pwd": "ab"}})


@pytest.mark.parametrize(
    ("values", "vouched", "expected"),
    [
        ({"confidence": 0.9}, False, ()),
        ({"confidence": 0.8, "thumbs": Thumbs.UP}, False, (Reason.UNSURE,)),
        ({"confidence": 0.81, "thumbs": Thumbs.UP}, False, ()),
        ({"confidence": 0.5}, True, (Reason.UNSURE,)),
        ({}, False, (Reason.UNVERIFIED,)),
        ({}, True, ()),
        ({"reasons": (Reason.FAILED,)}, True, (Reason.FAILED,)),
        ({"reasons": (Reason.FAILED,), "verified": True}, False, ()),
    ],
)
def test_who_vouches_speaks_for_what_is_unknown_only(
    values: dict[str, object], vouched: bool, expected: tuple[Reason, ...]
) -> None:
    """
    A confidence that is known to be low, and a failure, still go to a person.
    """
    found = FoundRow(place=Place("f", 1), row={}, **values)  # type: ignore[arg-type]
    assert expected == reasons_to_look(found, threshold=0.9, vouched=vouched)
