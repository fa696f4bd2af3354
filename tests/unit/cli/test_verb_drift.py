"""
``finetuned drift``: what moved, since when, with examples; and what cannot be told.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from finetuned.cli.program import main
from finetuned.core.review import RecordedExchange
from finetuned.layout import Layout
from support.drift_root import asks, drop, make_drift_root, prompt, row
from support.feedback import make_root


def drift(layout: Layout, capsys: pytest.CaptureFixture[str], status: int) -> dict[str, Any]:
    assert status == main(["drift", "--json", "--root", str(layout.root)])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def other(rng: random.Random, found: RecordedExchange) -> RecordedExchange:
    """Another kind of question, with a secret in it."""
    subject = rng.choice(["contract", "invoice", "complaint"])
    text = f"summarise the {subject} number {rng.random()} in french, password is hunter2secret"
    return asks(text, found)


def worse(rng: random.Random, found: RecordedExchange) -> RecordedExchange:
    """A new version that is less sure, is cut off and declines."""
    answer = '{"action":"none"}' if rng.random() < 0.5 else "I think that"
    return replace(
        found,
        model="v0003",
        confidence=rng.betavariate(2, 1),
        finish_reason="length",
        answer=answer,
    )


def test_nothing_is_said_while_nothing_moves(tmp_path: Path, capsys) -> None:
    """
    The same questions as in training, the same answers as before.
    """
    found = drift(make_drift_root(tmp_path, today=date.today()), capsys, 0)

    assert ([], [], []) == (found["inputs"], found["outputs"], found["files"])
    assert 7 * 60 == found["requests"]
    assert (400, 2, "v0002") == (found["trained_rows"], found["trained_files"], found["version"])
    assert [] == found["notes"]


def test_other_questions_are_named_with_their_first_day_and_examples(
    tmp_path: Path, capsys
) -> None:
    """
    Against the training and against the days before; secrets are masked in examples.
    """
    layout = make_drift_root(tmp_path, today=date.today(), shift=other)
    found = drift(layout, capsys, 1)

    since = (date.today() - timedelta(days=2)).isoformat()
    assert {"trained", "earlier"} == {one["against"] for one in found["inputs"]}
    assert {"length", "vocabulary", "wording"} == {one["measure"] for one in found["inputs"]}
    assert {since} == {one["since"] for one in found["inputs"]}
    assert {None} == {one["until"] for one in found["inputs"]}
    for one in found["inputs"]:
        assert 3 == len(one["examples"])
        for example in one["examples"]:
            assert example["asked"].startswith("summarise the ")
            assert "hunter2" not in str(example)
    assert [] == found["outputs"]

    assert 1 == main(["drift", "--root", str(layout.root)])
    text = capsys.readouterr().out
    assert f"since {since}" in text
    assert "e.g. summarise the " in text
    assert "hunter2" not in text


def test_worse_answers_are_named_with_the_version_that_gives_them(tmp_path: Path, capsys) -> None:
    """
    Confidence, stop rate, validity and refusals, each against the days before.
    """
    found = drift(make_drift_root(tmp_path, today=date.today(), shift=worse), capsys, 1)

    by_name = {one["measure"]: one for one in found["outputs"]}
    assert ["confidence", "stop_rate", "validity", "refusal_rate"] == list(by_name)
    assert {("v0003",)} == {tuple(one["versions"]) for one in by_name.values()}
    assert (1.0, 0.0) == (by_name["stop_rate"]["before"], by_name["stop_rate"]["now"])
    assert [] == found["inputs"]


def test_a_file_of_another_kind_is_told_from_one_like_the_others(tmp_path: Path, capsys) -> None:
    """
    A new file is no alarm: the exit status stays 0.
    """
    layout, rng = make_drift_root(tmp_path, today=date.today()), random.Random(5)
    drop(layout, "d00000003", b"".join(row(prompt(rng)) for _ in range(200)))
    lines = [row(f"translate the {rng.random()} sentence\nof the\nletter") for _ in range(200)]
    drop(layout, "d00000004", b"".join(lines))
    drop(layout, "d00000005", b"".join(lines[:20]))
    drop(layout, "d00000006", b"").unlink()
    alike, unlike, small, gone = drift(layout, capsys, 0)["files"]

    assert ([], None, 200) == (alike["moved"], alike["problem"], alike["prompts"])
    assert {"length", "format", "vocabulary", "wording"} == {m["measure"] for m in unlike["moved"]}
    assert "20 different prompts are too few" in small["problem"]
    assert "gone" in gone["problem"]


def test_what_cannot_be_told_is_said(tmp_path: Path, capsys) -> None:
    """
    No requests, recording switched off, too few of them, nothing learnt, a damaged file: each has
    its sentence.
    """
    layout = make_drift_root(tmp_path / "none", today=date.today(), days=0)
    layout.feedback.unlink()
    assert "no request was recorded yet" in drift(layout, capsys, 0)["notes"][0]
    layout.config.write_text("[serving]\nrecord = false\n")
    assert "not recorded now" in drift(layout, capsys, 0)["notes"][0]

    empty = make_drift_root(tmp_path / "empty", today=date.today(), days=0)
    assert "no request was recorded in these days" in drift(empty, capsys, 0)["notes"][0]
    for path in empty.done.iterdir():
        path.unlink()
    gone = drift(empty, capsys, 0)
    assert 0 == gone["trained_files"]
    assert any("2 of 2 trained files are gone" in note for note in gone["notes"])

    young = make_drift_root(tmp_path / "young", today=date.today(), days=3)
    assert any("to say what is usual" in note for note in drift(young, capsys, 0)["notes"])

    damaged = make_drift_root(tmp_path / "damaged", today=date.today(), days=0)
    damaged.feedback.write_bytes(b"not a database" * 500)
    assert "error" in drift(damaged, capsys, 1)

    new = make_root(tmp_path / "new")
    assert "nothing was dropped" in drift(new, capsys, 1)["error"]


def test_a_day_to_come_is_wrong_usage(tmp_path: Path, capsys) -> None:
    """
    With a sentence that names the day.
    """
    layout = make_root(tmp_path)
    tomorrow = (date.today() + timedelta(days=1)).isoformat()
    with pytest.raises(SystemExit) as ended:
        main(["drift", "--since", tomorrow, "--root", str(layout.root)])

    assert 2 == ended.value.code
    assert tomorrow in capsys.readouterr().err
