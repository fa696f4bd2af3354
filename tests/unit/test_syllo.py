"""
Laws of the puzzles: what a word, a puzzle and an answer are, and what the halves never share.
Also of the other hand-made benchmarks: they parse, and nobody trains on them.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from finetuned.data.examples import prompt_hash
from finetuned.data.intents import dumps, is_intent
from finetuned.data.reader import to_example
from finetuned.errors import DatasetError
from finetuned.sources import intents, syllo
from finetuned.sources.syllo import LEVELS
from finetuned.sources.syllo.forms import FORMS
from finetuned.sources.syllo.puzzle import (
    Puzzle,
    answer_of,
    check,
    prompt_of,
    spellings,
    unused_tiles,
)
from finetuned.sources.syllo.rows import draw_puzzle
from finetuned.sources.syllo.words import Word, words

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "benchmarks" / "examples" / "canaries.jsonl"
BENCHMARKS = [*sorted((ROOT / "benchmarks").glob("*.jsonl")), EXAMPLE]
TRAINING, HELDOUT = words(heldout=False), words(heldout=True)
EVERY = TRAINING + HELDOUT


training_rows = cache(syllo.training_rows)  # what two laws look at is drawn once
benchmark_rows = cache(syllo.test_rows)


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def puzzles(level: str, n: int = 60) -> list[Puzzle]:
    """
    Return puzzles of both halves.
    """
    rng = random.Random(f"laws:{level}")
    drawn = [
        draw_puzzle(rng, half, LEVELS[level], f"p{i}")
        for i in range(n)
        for half in (TRAINING, HELDOUT)
    ]
    found = [puzzle for puzzle in drawn if puzzle is not None]
    assert len(found) > n
    return found


def alike(one: str, other: str) -> bool:
    """
    Tell whether two words look like forms of one stem.
    """
    common = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    inside = min(len(one), len(other)) >= 4 and (one in other or other in one)
    return inside or common >= 5 or (common >= 4 and common >= min(len(one), len(other)) - 1)


def asked(row: dict[str, Any]) -> set[str]:
    """
    Return the words that a row's answer gives.
    """
    return set(re.findall(r"\b[A-Z]{3,}\b", row["messages"][-1]["content"]))


# -- words ----------------------------------------------------------------------


def test_there_are_words_enough_in_both_halves() -> None:
    """
    Hundreds to learn from, and so many held out that 300 puzzles vary.
    """
    assert len(EVERY) >= 420
    assert len(HELDOUT) >= 150
    assert len(TRAINING) > len(HELDOUT)


def test_no_word_and_no_definition_occurs_twice() -> None:
    """
    A definition belongs to one word, so a clue has one answer; and the halves are disjoint.
    """
    assert max(Counter(word.text for word in EVERY).values()) == 1
    assert max(Counter(word.definition.casefold() for word in EVERY).values()) == 1


def test_a_word_is_its_syllables() -> None:
    """
    Two to four syllables, each with a vowel, that join to the word.
    """
    syllable = re.compile("(?=.*[aeiouy])[a-z]+")
    assert [word.text for word in EVERY if "".join(word.syllables) != word.text] == []
    assert {len(word.syllables) for word in EVERY} == {2, 3, 4}
    assert [s for word in EVERY for s in word.syllables if not syllable.fullmatch(s)] == []


def test_a_definition_is_short_and_does_not_say_its_word() -> None:
    """
    No form of the word is in it: the clue describes and does not give away.
    """
    for word in EVERY:
        said = re.findall("[a-z]+", word.definition.casefold())
        assert [(word.text, other) for other in said if alike(word.text, other)] == []
    assert [w for w in EVERY if not 10 <= len(w.definition) <= 80] == []
    assert [w for w in EVERY if w.definition != w.definition.strip()] == []


# -- puzzles --------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_every_golden_answer_solves_its_puzzle(level: str) -> None:
    """
    What is trained and compared breaks no rule, in each form.
    """
    for puzzle in puzzles(level, 20):
        for form in FORMS:
            asked_so = replace(puzzle, form=form)
            assert check(asked_so, answer_of(asked_so)) == []


@pytest.mark.parametrize("level", LEVELS)
def test_a_puzzle_has_one_solution(level: str) -> None:
    """
    The bank is the tiles of the words and the red herrings, and no word can be spelled otherwise.
    """
    for puzzle in puzzles(level):
        tiles = Counter(s for word in puzzle.words for s in word.syllables)
        herrings = unused_tiles(puzzle.bank, puzzle.words)
        assert Counter(puzzle.bank) == tiles + Counter(herrings)
        assert not set(herrings) & set(tiles)
        assert len(set(herrings)) == len(herrings)
        for word in puzzle.words:
            assert spellings(word, puzzle.bank) == {word.syllables}


def test_spellings_finds_every_split_that_the_tiles_allow() -> None:
    """
    Another cut of the same letters is another solution; a tile is used once.
    """
    word = Word("banana", ("ba", "nan", "a"), "fruit")

    assert spellings(word, ["a", "nan", "ba", "na", "na"]) == {
        ("ba", "nan", "a"),
        ("ba", "na", "na"),
    }
    assert spellings(word, ["ba", "na", "x"]) == set()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.name)
def test_a_wrong_answer_is_complained_about(level: str, form: Any) -> None:
    """
    Another word, other tiles, a clue less, a wrong rest, other keys, prose: none of them passes.
    """
    puzzle = replace(puzzles(level, 3)[0], form=form)
    first, second, *rest = puzzle.words
    swapped = replace(puzzle, words=(second, first, *rest))
    fewer = replace(puzzle, words=puzzle.words[1:])
    joined = Word(first.text, (first.text,), first.definition)
    cut = replace(puzzle, words=(joined, second, *rest))
    stranger = next(
        w for w in EVERY if w not in puzzle.words and len(w.syllables) == len(first.syllables)
    )
    other = replace(puzzle, words=(stranger, second, *rest))
    padded = replace(puzzle, bank=(*puzzle.bank, "zz"))
    golden = answer_of(puzzle)
    wrong = [
        *map(answer_of, (swapped, fewer, cut, other, padded)),
        golden + "!",
        f"The answer is {golden}",
        f"[{golden}]",
        orjson.dumps(golden).decode(),
        orjson.dumps(orjson.loads(golden) | {"note": "done"}).decode(),
        golden.lower(),
        "{}",
        "",
    ]
    assert [text for text in wrong if not check(puzzle, text)] == []


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.name)
def test_any_json_is_judged_and_none_is_an_error(form: Any) -> None:
    """
    A model may answer anything: each value of the right answer replaced by another type.
    """
    puzzle = replace(puzzles("medium", 3)[0], form=form)

    def damaged(value: Any) -> list[Any]:
        others: list[Any] = [x for x in (None, 1.5, "x", [], {}, [[]]) if x != value]
        if isinstance(value, dict):
            others += [{**value, k: d} for k, v in value.items() for d in damaged(v)]
        if isinstance(value, list):
            others += [
                [*value[:i], d, *value[i + 1 :]] for i, v in enumerate(value) for d in damaged(v)
            ]
        return others

    answers = damaged(orjson.loads(answer_of(puzzle)))
    assert len(answers) > 6
    assert all(check(puzzle, orjson.dumps(answer).decode()) for answer in answers)


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.name)
def test_spacing_and_the_order_of_keys_do_not_matter(form: Any) -> None:
    """
    The rules speak about JSON and not about bytes.
    """
    puzzle = replace(puzzles("hard", 3)[0], form=form)
    option = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    spaced = orjson.dumps(orjson.loads(answer_of(puzzle)), option=option).decode()

    assert check(puzzle, spaced) == []


def test_the_puzzle_says_all_that_its_answer_needs() -> None:
    """
    Every tile, every definition, the number of red herrings and each key of the JSON.
    """

    def keys(value: Any) -> set[str]:
        inner = value.values() if isinstance(value, dict) else value
        nested = set().union(*map(keys, inner)) if isinstance(value, dict | list) else set()
        return nested | {k for k in value if not k.isdigit()} if isinstance(value, dict) else nested

    for level in LEVELS:
        for puzzle in puzzles(level, 10):
            text, herrings = prompt_of(puzzle), unused_tiles(puzzle.bank, puzzle.words)
            assert " | ".join(puzzle.bank) in text.splitlines()
            assert all(f"— {word.definition}\n" in text for word in puzzle.words)
            assert text.count("___") == len(puzzle.bank) - len(herrings)
            assert bool(herrings) == ("herring" in text)
            assert not herrings or f"Note: {len(herrings)} tile" in text
            assert {
                k for k in keys(orjson.loads(answer_of(puzzle))) if f"`{k}`" not in text
            } == set()


def test_a_harder_puzzle_has_more_of_everything() -> None:
    """
    Words, red herrings and repeated tiles: the least of a level is no less than the
    most of the one before it, and drawn puzzles keep to their level's ranges.
    """
    levels = list(LEVELS.values())
    for before, after in pairwise(levels):
        for field in ("words", "herrings", "repeats"):
            assert getattr(before, field)[1] <= getattr(after, field)[0]
            assert getattr(before, field) != getattr(after, field)
    for level in levels:
        seen: dict[str, set[int]] = {"words": set(), "herrings": set(), "repeats": set()}
        for puzzle in puzzles(level.name):
            tiles = [s for word in puzzle.words for s in word.syllables]
            seen["words"].add(len(puzzle.words))
            seen["herrings"].add(len(puzzle.bank) - len(tiles))
            seen["repeats"].add(len(tiles) - len(set(tiles)))
        for field, values in seen.items():
            low, high = getattr(level, field)
            assert low == min(values)
            assert max(values) <= high


# -- rows -----------------------------------------------------------------------


def test_a_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    """
    A dataset can be made again from its seed.
    """
    assert syllo.to_jsonl(training_rows(3, 60)) == syllo.to_jsonl(syllo.training_rows(3, 60))
    assert training_rows(3, 60) != training_rows(4, 60)
    assert training_rows(3, 60)[:30] == training_rows(3, 30)


def test_training_rows_are_unique_and_of_all_kinds() -> None:
    """
    2000 prompts and sets of words, a third of each difficulty, every form, all words used.
    """
    rows = training_rows()
    assert len({row["messages"][1]["content"] for row in rows}) == 2000
    assert len({frozenset(asked(row)) for row in rows}) == 2000
    assert len({row["metadata"]["puzzle_id"] for row in rows}) == 2000
    levels = Counter(row["metadata"]["difficulty"] for row in rows)
    assert set(levels) == set(LEVELS)
    assert max(levels.values()) - min(levels.values()) <= 1
    forms = Counter(row["metadata"]["format"] for row in rows)
    assert len(forms) == len(FORMS)
    assert min(forms.values()) > 400
    assert set().union(*map(asked, rows)) == {word.text.upper() for word in TRAINING}


def test_training_and_benchmarks_share_no_word() -> None:
    """
    A benchmark asks for words that no training row has as an answer, whatever its seed.
    """
    known = set().union(*map(asked, [*training_rows(), *training_rows(1, 300)]))
    unknown = set().union(*(asked(row) for level in LEVELS for row in benchmark_rows(level)))
    assert len(unknown) >= 150
    assert known & unknown == set()


@pytest.mark.parametrize("level", LEVELS)
def test_one_difficulty_can_be_asked_for(level: str) -> None:
    """
    All rows are of it, and a dataset of puzzles is one the daemon accepts.
    """
    rows = training_rows(1, 30, level)
    assert {row["metadata"]["difficulty"] for row in rows} == {level}
    for row in rows:
        assert to_example(row).messages == row["messages"]


def test_what_cannot_be_made_is_an_error() -> None:
    """
    An unknown difficulty or too few puzzles end the generation with a reason.
    """
    with pytest.raises(ValueError, match="no difficulty 'brutal'; there are easy, medium, hard"):
        training_rows(difficulty="brutal")
    with pytest.raises(DatasetError, match="easy: 0 draws gave no puzzle after 0"):
        training_rows(n=1, tries=0)


def test_the_tool_drops_a_dataset_into_an_inbox(tmp_path: Path) -> None:
    """
    What the command writes is what the function makes.
    """
    tool = [sys.executable, ROOT / "tools" / "make_syllo.py", "--rows", "4", "--seed", "5"]
    options = ["--difficulty", "hard", "--inbox", tmp_path]
    done = subprocess.run([*tool, *options], capture_output=True, text=True, check=True)

    assert done.stdout == f"{tmp_path / 'syllo.jsonl'}\nhard 4\n"
    assert lines(tmp_path / "syllo.jsonl") == training_rows(5, 4, "hard")


# -- benchmark files ------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_the_committed_benchmarks_are_the_generated_ones(level: str) -> None:
    """
    A benchmark file is a copy, never an edition of its own.
    """
    path = ROOT / "benchmarks" / f"syllo_{level}_100.jsonl"
    rows = lines(path)
    assert path.read_bytes() == syllo.to_jsonl(benchmark_rows(level))
    assert len({row["id"] for row in rows}) == len(rows) == 100
    assert {row["scorer"] for row in rows} == {"json"}


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda p: p.stem)
def test_the_keys_of_an_item_do_not_keep_it_from_being_an_example(path: Path) -> None:
    """
    Who reads a benchmark as plain rows need not know about scorers.
    """
    for row in lines(path):
        example = to_example(row)
        assert example.messages == row["messages"]
        plain = {key: row[key] for key in ("messages",)}
        assert prompt_hash(example) == prompt_hash(to_example(plain))


def test_canaries_have_names_and_are_never_trained_on() -> None:
    """
    Unique ids; no prompt and no name of them occurs in the intent dataset or in another benchmark.
    """
    canaries = lines(EXAMPLE)
    ids = [row["id"] for row in canaries]
    assert len(canaries) >= 20
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("canary(-[a-z0-9]+)+", identity) for identity in ids)
    others = intents.training_rows() + intents.test_rows()
    known = "\n".join(message["content"] for row in others for message in row["messages"])
    for row in canaries:
        prompt = row["messages"][0]["content"]
        assert prompt not in known
        names = re.findall(r"\S*\d[\w.:/-]*\w", prompt) if "chat" not in row["id"] else []
        assert [name for name in names if name in known] == []


def test_intents_among_the_canaries_are_canonical_and_short() -> None:
    """
    Every action but those that repeat another is guarded, and so is each reason to do nothing.
    """
    canaries = lines(EXAMPLE)
    answers = [row["messages"][-1]["content"] for row in canaries if row["scorer"] == "json"]
    for answer in answers:
        intent = orjson.loads(answer)
        assert is_intent(intent)
        assert dumps(intent) == answer
        assert len(answer) < 200
    found = [orjson.loads(answer) for answer in answers]
    assert {i["action"] for i in found} == {
        "dns_add",
        "dns_remove",
        "user_add",
        "user_remove",
        "group_add_member",
        "share_create",
        "share_grant",
        "batch",
        "clarify",
        "none",
    }
    assert {i["reason"] for i in found if i["action"] == "none"} == {
        "question",
        "out_of_scope",
        "unsafe",
    }
