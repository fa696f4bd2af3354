"""
Answer formats: by which name they are known, which questions are asked under them, what is said.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from finetuned.config import EvaluationConfig
from finetuned.core.answer_format import FREE, make_format
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.answer_formats import answer_format, configured_format, resolved_format
from finetuned.data.reader import ReadRow, read_line, to_example
from finetuned.data.suite import Question, Suite, load_suite, with_format
from finetuned.errors import ConfigError, MalformedExample, SuiteError
from finetuned.evaluation.asked import Asked
from finetuned.evaluation.examiner import Examiner
from finetuned.evaluation.measured import Measured, score
from finetuned.files.answers import AnswerFile, KeptAnswer
from finetuned.inference.outcome import mark
from finetuned.reports.suite_tables import suite_rows
from support.eval_reports import make_report
from support.outcomes import RAW

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"zone": {"type": "string", "x-copied": "host"}},
    "required": ["zone"],
    "additionalProperties": False,
}
RIGHT = '{"zone":"a.b"}'


def row(**more: Any) -> bytes:
    return orjson.dumps({"prompt": "remove a.b", "completion": RIGHT, **more})


def question(**more: Any) -> Question:
    found = Question(
        "1",
        to_example(orjson.loads(row())),
        "",
        "remove a.b",
        RIGHT,
        answer_format=make_format("zones", SCHEMA),
    )
    return replace(found, **more)


@pytest.mark.parametrize("where", ["row", "metadata"])
@pytest.mark.parametrize("value", [SCHEMA, "none"])
def test_a_row_names_its_format_in_itself_or_in_its_metadata(where, value):
    """
    It is kept with the row, and no unknown key.
    """
    given = {"answer_format": value}
    read = read_line(row(**(given if where == "row" else {"metadata": given})))

    assert isinstance(read, ReadRow)
    assert () == read.unused
    assert value == read.example.metadata["answer_format"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("markdown", "one of intents, none; found 'markdown'"),
        (7, "found '7'"),
        ({"type": "no such type"}, "not a JSON Schema"),
        ({"type": "array", "uniqueItems": True}, "cannot be held"),
        ({"type": "string", "x-copyed": True}, "unknown keyword #/x-copyed"),
        ({"type": "string", "x-copied": "exactly"}, "x-copied must be true"),
        ({"type": "array"}, "does not fit the answer_format of its row"),
        ("intents", "does not fit the answer_format of its row (intents)"),
    ],
    ids=str,
)
def test_a_row_with_a_format_that_helps_nobody_is_refused(value, reason):
    """
    One that cannot be used, or that makes the row's own answer impossible.
    """
    for given in ({"answer_format": value}, {"metadata": {"answer_format": value}}):
        error = read_line(row(**given))

        assert isinstance(error, MalformedExample)
        assert "bad_answer_format" == error.code
        assert reason in error.reason


def test_a_suite_says_which_item_has_a_wrong_format(tmp_path: Path):
    """
    An item that has no real answer may have a format, and "none" is said of one.
    """
    lines = [
        {"prompt": "q", "expected": "a", "scorer": "contains", "answer_format": SCHEMA},
        {"prompt": "r", "completion": "free", "metadata": {"answer_format": "none"}},
        {"prompt": "s", "completion": RIGHT, "answer_format": SCHEMA},
        {"prompt": "t", "completion": "free"},
    ]
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    found = [q.answer_format for q in load_suite(path).questions]

    assert [False, True, False, False] == [f is FREE for f in found]
    assert ["own", "none", "own", None] == [f and f.name for f in found]
    lines[3]["answer_format"] = SCHEMA
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    with pytest.raises(SuiteError, match=r"s\.jsonl:4: the expected answer does not fit"):
        load_suite(path)


def test_the_default_is_for_questions_that_say_nothing_and_that_it_allows():
    """
    A suite of chats beside one of commands is still asked freely.
    """
    default = make_format("default", SCHEMA)
    silent = question(answer_format=None)

    assert default is with_format(silent, default, held=True).answer_format
    assert None is with_format(silent, None, held=True).answer_format
    for free in (
        replace(silent, golden="Hello!"),
        replace(silent, scored=False),
        question(answer_format=FREE),
    ):
        found = with_format(free, default, held=True).answer_format
        assert (free.golden, None) == (free.golden, found and found.name)
    own = question()
    assert own.answer_format is with_format(own, default, held=True).answer_format
    assert None is with_format(own, default, held=False).held_to
    live = mark(question(answer_format=FREE), replace(RAW, text=RIGHT))  # as a live eval asks it
    assert (None, {}) == (live.question.held_to, live.grade and live.grade.detail)


def test_the_configuration_names_a_format_or_a_file_of_the_root(tmp_path: Path):
    """
    What cannot be used is said at the start, with the file.
    """
    (tmp_path / "zones.json").write_bytes(orjson.dumps(SCHEMA))
    (tmp_path / "wrong.json").write_bytes(b'{"type": "string", "x-copied": "host", "x-a": 1}')

    assert None is configured_format("", tmp_path)
    assert None is configured_format("none", tmp_path)
    assert answer_format("intents") is configured_format("intents", tmp_path)
    found = configured_format("zones.json", tmp_path)
    assert found is not None
    assert ("zones.json", SCHEMA) == (found.name, found.schema)
    resolved = resolved_format("zones.json", tmp_path)
    assert found is configured_format(resolved, Path("/"))
    assert ["intents", ""] == [resolved_format(t, tmp_path) for t in ("intents", "")]
    for text, reason in (("zone.json", "No such file"), ("wrong.json", "unknown keyword #/x-a")):
        with pytest.raises(ConfigError, match=reason):
            configured_format(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "correct", "said"),
    [
        (RIGHT, True, {"fits": True, "copied": True, "invented": []}),
        (
            '{"zone":"a.c"}',
            False,
            {"fits": True, "copied": False, "invented": [{"path": "$.zone", "value": "a.c"}]},
        ),
        ('{"name":"a.b"}', False, {"fits": False}),
        ("I cannot", False, {"fits": False}),
    ],
)
def test_the_detail_of_an_answer_says_what_its_format_did(text, correct, said):
    """
    Held or free; the scorer alone decides what is right.
    """
    for held in (True, False):
        raw = replace(RAW, text=text, n_refused=2 if held else 0)
        grade = mark(question(is_held=held), raw).grade

        assert grade is not None
        assert correct == grade.correct
        assert {"format": "zones", "held": held, "changed": held, **said} == grade.detail


def test_a_score_counts_answers_with_a_format_held_and_free():
    """
    Questions without one are left out, and so are answers that a time limit cut.
    """
    asked = [replace(question(), id=str(i)) for i in range(4)]
    texts = [RIGHT, '{"zone":"a.c"}', RIGHT, "Hello"]
    raws = [replace(RAW, text=text, n_refused=i) for i, text in enumerate(texts)]
    outcomes = {q.id: mark(q, raw) for q, raw in zip(asked, raws, strict=True)}
    plain = replace(question(answer_format=None), id="plain")
    late = replace(question(), id="late")
    outcomes |= {"plain": mark(plain, RAW), "late": mark(late, replace(RAW, timed_out=True))}
    suite = Suite("s", SuiteOrigin.BENCHMARK, "s", "", (*asked, plain, late))
    free = {q.id: mark(replace(q, is_held=False), RAW) for q in asked[:2]}
    counts = score(Measured(suite, outcomes, 0, 1.0, free=free)).format

    assert counts is not None
    assert (4, 2, 3, 3, 1) == (
        counts.n_asked,
        counts.n_correct,
        counts.n_fit,
        counts.n_checked,
        counts.n_invented,
    )
    assert (4, 3) == (counts.n_held, counts.n_changed)
    assert counts.free is not None
    assert (2, 0, 0) == (counts.free.n_asked, counts.free.n_correct, counts.free.n_fit)
    whole = Suite("s", SuiteOrigin.BENCHMARK, "s", "", (plain,))
    assert None is score(Measured(whole, {"plain": outcomes["plain"]}, 0, 1.0)).format


class NotAsked:
    """
    A renderer that nobody may need.
    """


def test_held_answers_alone_are_what_is_asked_unless_more_is_wanted():
    """
    The default costs no second answer.
    """
    suite = Suite("s", SuiteOrigin.BENCHMARK, "s", "", (question(),))
    found = Measured(suite, {"1": mark(question(), replace(RAW, n_refused=3))}, 0, 1.0)
    renderer: Any = NotAsked()
    examiner = Examiner(renderer, EvaluationConfig())

    def load() -> Any:
        raise AssertionError("nothing is to be asked")

    assert found is examiner.measure_free(Asked(load, "m"), found, deadline=0.0)
    unchanged = Measured(suite, {"1": mark(question(), replace(RAW, text=RIGHT))}, 0, 1.0)
    both = replace(examiner, config=EvaluationConfig(format_mode="both"))
    free = both.measure_free(Asked(load, "m"), unchanged, deadline=0.0).free
    assert free is not None
    assert [(RIGHT, False)] == [(o.answer, o.question.is_held) for o in free.values()]


def test_a_file_of_answers_made_before_there_were_formats_is_used(tmp_path: Path):
    """
    Its answers are kept, and none of them was changed by a format.
    """
    path = tmp_path / "answers.sqlite3"
    db = sqlite3.connect(path)
    db.executescript(
        "CREATE TABLE answers (model TEXT NOT NULL, question TEXT NOT NULL, text TEXT,"
        " loss REAL NOT NULL, n_tokens INTEGER NOT NULL, golden_tokens INTEGER NOT NULL,"
        " answer_tokens INTEGER NOT NULL, stopped INTEGER NOT NULL, seconds REAL NOT NULL,"
        " choices TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (model, question)) WITHOUT ROWID;"
        "INSERT INTO answers VALUES ('m', 'old', 'ok', 1.5, 3, 3, 2, 1, 0.1, '[]', 'now')"
    )
    db.close()
    new = KeptAnswer("a", 1.0, 1, 1, 1, stopped=True, seconds=0.1, choices=(), n_refused=4)
    for _ in range(2):
        file = AnswerFile(path)
        file.add("m", {"new": new})
        found = file.find("m", ["old", "new"])
        file.close()

        assert ("ok", 0) == (found["old"].text, found["old"].n_refused)
        assert new == found["new"]


def test_the_page_of_a_version_shows_answers_with_a_format():
    """
    Beside the other facts of a suite, of each model that has them.
    """
    report = make_report()
    counts = {"n_asked": 9, "n_correct": 8, "n_fit": 9, "n_checked": 9, "n_invented": 1}
    score = report["subjects"]["candidate"]["suites"]["json_commands"]
    score["format"] = {**counts, "n_held": 9, "n_changed": 2, "free": None}
    (row,) = [row for row in suite_rows(report) if row["name"] == "json_commands"]
    facts = {cell["subject"]: cell["facts"] for cell in row["cells"] if cell["text"]}

    assert "which changed 2: 8 of 9 right, 9 of the format, invented values in 1 of 9" in (
        facts.pop("candidate")
    )
    assert facts
    assert not any("format" in text for text in facts.values())
