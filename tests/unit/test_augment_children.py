"""
Children of rows: counted to the last, the same for a seed, and never what is kept out.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.data.examples import Example, prompt_hash
from finetuned.data.reader import to_example
from finetuned.data.row_family import family_of
from finetuned.errors import DatasetError
from finetuned.sources import intents
from finetuned.sources.augment import ChildMaker, FileFacts, KeptOut, Known, chosen
from finetuned.sources.augment.exchange import exchange_of
from finetuned.sources.augment.file import augment

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
CALL = {"type": "function", "function": {"name": "f", "arguments": {}}}
UNFIT: list[tuple[str, dict[str, Any]]] = [
    ("text_row", {"text": "only a text"}),
    (
        "tool_call",
        {
            "tools": TOOLS,
            "messages": [
                {"role": "user", "content": "call it"},
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
            ],
        },
    ),
    (
        "several_answers",
        {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "c"},
                {"role": "assistant", "content": "d"},
            ]
        },
    ),
    (
        "is_child",
        {
            "prompt": "please go",
            "completion": "y",
            "metadata": {"augmentation": {"family": "0" * 16}},
        },
    ),
]
"""Rows that cannot have children, with what is counted."""


def maker(rows: list[Example], *, times: int = 2, seed: int = 0, **more: Any) -> ChildMaker:
    """Return what makes children of *rows*."""
    facts, known = FileFacts(), Known()
    for row in rows:
        known.add(prompt_hash(row))
        exchange = exchange_of(row)
        if not isinstance(exchange, str):
            facts.add(exchange)
    kept_out = more.pop("kept_out", KeptOut())
    only = more.pop("only", None)
    return ChildMaker(facts, kept_out, known, chosen(only), times, seed, "rows.jsonl", **more)


@cache
def _commands() -> tuple[Example, ...]:
    return tuple(to_example(row) for row in intents.training_rows(0, 60))


def commands(n: int) -> list[Example]:
    """Return rows of commands."""
    return list(_commands()[:n])


def made(rows: list[Example], making: ChildMaker) -> list[Example]:
    """Return all children."""
    return [c.example for i, row in enumerate(rows, 1) for c in making.children(row, i)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(UNFIT), max_size=6), st.integers(1, 12), st.integers(2, 4))
def test_every_child_that_was_wanted_is_made_or_has_a_reason(
    unfit: list[tuple[str, dict[str, Any]]], n: int, times: int
) -> None:
    """
    Rows of kinds that cannot have any are counted as such, and nothing is skipped silently.
    """
    rows = [*(to_example(row) for _, row in unfit), *commands(n)]
    making = maker(rows, times=times)
    children = made(rows, making)
    counts = making.counts
    assert (times - 1) * len(rows) == counts.wanted == counts.made + counts.dropped.total()
    assert len(children) == counts.made
    assert sum(counts.by_transform.values()) >= counts.made
    for reason in {reason for reason, _ in unfit}:
        n_unfit = sum(reason == other for other, _ in unfit)
        assert counts.dropped[reason] >= (times - 1) * n_unfit


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 20), st.integers(0, 5))
def test_children_are_the_same_for_a_seed_and_of_their_parents_family(n: int, seed: int) -> None:
    """
    They say where they come from, and no two rows of the file say the same.
    """
    rows = commands(n)
    children = made(rows, maker(rows, times=3, seed=seed))
    assert children == made(rows, maker(rows, times=3, seed=seed))
    families = {prompt_hash(row) for row in rows}
    assert {family_of(child) for child in children} <= families
    assert not families & {prompt_hash(child) for child in children}
    assert len({prompt_hash(child) for child in children}) == len(children)
    for child in children:
        assert seed == child.metadata["augmentation"]["seed"]
        assert "rows.jsonl" == child.metadata["augmentation"]["source"]


def test_system_prompt_and_earlier_turns_stay() -> None:
    """
    An earlier answer of a child is not trained again, and the shared beginning stays shared.
    """
    row = to_example(
        {
            "messages": [
                {"role": "system", "content": "You are terse."},
                {"role": "user", "content": "hello there"},
                {"role": "assistant", "content": "Hi.", "weight": 0},
                {"role": "user", "content": "Show the list of hosts"},
                {"role": "assistant", "content": "web, mail"},
            ]
        }
    )
    (child,) = made([row], maker([row], only=["phrasing"]))
    assert row.messages[:3] == child.messages[:3]
    assert row.messages[-1] == child.messages[-1]
    assert (2,) == child.untrained


def test_a_child_that_says_what_is_kept_out_is_dropped() -> None:
    """
    All children that a seed would make are refused if they are questions of a suite.
    """
    rows = commands(20)
    children = made(rows, maker(rows))
    kept_out = KeptOut()
    kept_out.add(children)
    making = maker(rows, kept_out=kept_out)
    again = made(rows, making)
    assert not {prompt_hash(c) for c in again} & {prompt_hash(c) for c in children}
    assert all(kept_out.holds(child) is None for child in again)


def test_a_row_that_is_kept_out_has_no_children() -> None:
    """
    A held-out row of an earlier file that was dropped again stays alone.
    """
    rows = commands(5)
    kept_out = KeptOut()
    kept_out.add(rows[:2])
    making = maker(rows, kept_out=kept_out)
    families = {family_of(child) for child in made(rows, making)}
    assert not families & {prompt_hash(row) for row in rows[:2]}
    assert 2 == making.counts.dropped["held_out"]


def test_a_row_that_no_transform_can_change_is_counted() -> None:
    """
    A command is no puzzle.
    """
    rows = commands(3)
    making = maker(rows, only=["clues", "tiles"])
    assert [] == made(rows, making)
    assert {"nothing_to_change": 3} == dict(making.counts.dropped)


def test_a_child_that_cannot_be_trained_is_dropped_with_the_reason() -> None:
    """
    One that is too long for the base, for instance.
    """
    rows = commands(5)
    making = maker(rows, accepts=lambda _: "too_long")
    assert [] == made(rows, making)
    assert making.counts.dropped["too_long"] > 0


def _augmented(folder: Path, lines: list[str], **more: Any) -> list[str]:
    source, target = folder / "rows.jsonl", folder / "out.jsonl"
    source.write_text("\n".join(lines) + "\n")
    settings = {"kept_out": KeptOut(), "transforms": chosen(None), "times": 2, "seed": 0}
    augment(source, target, **{**settings, "max_bytes": 2**16, **more})
    return target.read_text().splitlines()


def test_a_file_keeps_its_rows_as_they_stand(tmp_path: Path) -> None:
    """
    Also those that cannot be read, which finetuned check explains; each child can be read.
    """
    lines = [json.dumps(row, indent=None) for row in intents.training_rows(0, 60)[:20]]
    lines.insert(3, '{"broken": ')
    found = _augmented(tmp_path, lines)
    assert lines == [line for line in found if '"augmentation"' not in line]
    children = [line for line in found if '"augmentation"' in line]
    assert len(children) >= 15
    families = {family_of(to_example(json.loads(line))) for line in children}
    assert families <= {
        prompt_hash(to_example(json.loads(line))) for line in lines if "broken" not in line
    }
    assert ["out.jsonl", "rows.jsonl"] == sorted(os.listdir(tmp_path))


@pytest.mark.parametrize(
    ("lines", "more", "says"),
    [
        (["{"], {}, "no row that can be trained"),
        ([""], {}, "no row that can be trained"),
        (['{"prompt": "a", "completion": "b"}', "x" * 300], {"max_bytes": 200}, "line 2 has"),
    ],
)
def test_a_file_without_rows_makes_no_file(
    tmp_path: Path, lines: list[str], more: dict[str, Any], says: str
) -> None:
    """
    One clear message, and nothing is left behind.
    """
    with pytest.raises(DatasetError, match=says):
        _augmented(tmp_path, lines, **more)
    assert ["rows.jsonl"] == os.listdir(tmp_path)


def test_no_file_is_overwritten_and_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """
    An existing file is refused; whatever happens in the middle, no half file is there.
    """
    (tmp_path / "out.jsonl").write_text("mine")
    with pytest.raises(DatasetError, match="exists already"):
        _augmented(tmp_path, ['{"prompt": "show a", "completion": "b"}'])
    assert "mine" == (tmp_path / "out.jsonl").read_text()
    (tmp_path / "out.jsonl").unlink()

    class Full(KeptOut):
        def holds(self, example: Example) -> str | None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        _augmented(tmp_path, ['{"prompt": "show a", "completion": "b"}'], kept_out=Full())
    assert ["rows.jsonl"] == os.listdir(tmp_path)
