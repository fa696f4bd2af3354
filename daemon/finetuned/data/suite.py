"""
The questions of an evaluation, and the suites that hold them.

A suite is a JSON Lines file in benchmarks/: rows in any training format, each
with an expected answer and, unless it must match exactly, a scorer. The held-out
rows of every dataset are suites too. Adding one is adding a file.

Knows rows and scorers; does not know models or tokenizers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from finetuned.core.answer_format import FREE, AnswerFormat
from finetuned.core.family_choice import last_user_text
from finetuned.core.scoring.expected import check_expected
from finetuned.core.scoring.scorer import CHOICE, Scorer, parse_scorer
from finetuned.core.suite_origin import HELD_OUT, SuiteOrigin
from finetuned.data.answer_formats import format_of
from finetuned.data.examples import Example, from_record, prompt_hash
from finetuned.data.formats.keys import MARKS
from finetuned.data.reader import to_example
from finetuned.data.store import TokenisedDataset
from finetuned.data.strict_json import parse_line
from finetuned.errors import MalformedExample, SuiteError
from finetuned.layout import CANARIES

MAX_SUITE_BYTES: Final = 256 * 2**20
"""Longest benchmark file, in bytes; a longer one is taken for a mistake."""

_OWN_KEYS: Final = ("id", "scorer", "expected", "choices")
_NOT_READ: Final = frozenset((*_OWN_KEYS, *MARKS))
_PLACEHOLDER: Final = "."


@dataclass(frozen=True, slots=True)
class Question:
    """
    One item, ready to be asked.
    """

    id: str
    example: Example
    """The row; its last assistant turn is the expected answer, or a placeholder: see scored."""
    system: str
    prompt: str
    golden: str | None
    """The expected answer, or None for language modelling rows, which are only scored."""
    scorer: Scorer = field(default_factory=Scorer)
    expected: Any = None
    """The value that the scorer compares with; None stands for the golden answer."""
    choices: tuple[str, ...] = ()
    scored: bool = True
    """Whether the row holds a real answer, whose loss is reported."""
    generated: bool = True
    """Whether the model is to answer it; if not, only the loss of the expected answer is taken."""
    answer_format: AnswerFormat | None = None
    """
    What its answer looks like; FREE if it is not to be held whatever the default is, None if
    nothing is said of it. See with_format().
    """
    is_held: bool = True
    """Whether the answer is held to the format; if not, it is only said whether it fits."""

    @property
    def held_to(self) -> AnswerFormat | None:
        """What its answer is held to, None if it is free or not generated."""
        is_free = self.answer_format is FREE or not (self.is_held and self.generated)
        return None if is_free else self.answer_format

    @property
    def last_turn(self) -> str:
        """What the user says last before the answer; all of a plain text."""
        if self.example.kind == "text":
            return self.example.text or ""
        return last_user_text(self.example.messages[:-1])

    @property
    def told(self) -> str:
        """All that the model is told before it answers."""
        return "\n".join(message["content"] for message in self.example.messages[:-1])


@dataclass(frozen=True, slots=True)
class Suite:
    """
    Questions that are reported together.
    """

    name: str
    origin: SuiteOrigin
    title: str
    """For people: the file that it came from."""
    sha256: str
    questions: tuple[Question, ...]
    dataset_id: str | None = None


def questions_of(dataset: TokenisedDataset) -> list[Question]:
    """
    Return the held-out rows of a dataset as questions, in file order.
    """
    return [
        Question(
            id=row["id"],
            example=example,
            system=row["system"] or "",
            prompt=row["prompt"] or "",
            golden=row["golden"],
            answer_format=_kept_format(example),
        )
        for row in dataset.held_out_rows()
        for example in (from_record(row),)
    ]


def _kept_format(example: Example) -> AnswerFormat | None:
    """Return the format of a held-out row; a label of this name that is none says nothing."""
    try:
        return format_of(example)
    except MalformedExample:  # the row was read before there were formats
        return None


def with_format(question: Question, default: AnswerFormat | None, *, held: bool) -> Question:
    """
    Return a question with the format that it is asked under.

    The default is for questions that say nothing, and whose expected answer it allows: of all
    others it would make every answer wrong.

    Args:
        question: As it was read.
        default: ``model.answer_format``; None if there is none.
        held: Whether answers are held to their formats.
    """
    found = question.answer_format
    if found is None and default is not None and question.scored and question.golden is not None:
        found = default if default.fits(question.golden) else None
    return replace(question, answer_format=None if found is FREE else found, is_held=held)


def held_out_suite(dataset: TokenisedDataset, origin: SuiteOrigin, title: str, limit: int) -> Suite:
    """
    Return the first *limit* held-out rows of a dataset as a suite, named after its id.
    """
    return Suite(
        name=f"{HELD_OUT}{dataset.dataset_id}",
        origin=origin,
        title=title,
        sha256=dataset.dataset_id,
        questions=tuple(questions_of(dataset)[:limit]),
        dataset_id=dataset.dataset_id,
    )


def suite_files(folder: Path) -> list[Path]:
    """
    Return the suites of *folder*, by name; an absent folder has none. Hidden files are ignored.
    """
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.glob("*.jsonl") if not p.name.startswith(".") and p.is_file())


def load_suite(path: Path) -> Suite:
    """
    Read one suite, whole or not at all.

    Raises:
        SuiteError: A line is not an item, an id is given twice, there is no item, or
            the file cannot be read; the message names file and line.
    """
    try:
        if path.stat().st_size > MAX_SUITE_BYTES:
            raise SuiteError(path, None, f"longer than {MAX_SUITE_BYTES >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise SuiteError(path, None, f"cannot be read: {error.strerror}") from error
    return read_suite(path, data)


def read_suite(path: Path, data: bytes) -> Suite:
    """
    Return the suite whose lines are *data*; *path* gives its name and stands in messages.

    Raises:
        SuiteError: As load_suite.
    """
    questions: dict[str, Question] = {}
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            question = _question(parse_line(line), str(number))
        except (MalformedExample, ValueError) as error:
            raise SuiteError(path, number, str(error)) from None
        if question.id in questions:
            raise SuiteError(path, number, f"the id {question.id!r} was given before")
        questions[question.id] = question
    if not questions:
        raise SuiteError(path, None, "no item: one JSON object per line is expected")
    name = path.stem
    return Suite(
        name=name,
        origin=SuiteOrigin.CANARY if name == CANARIES else SuiteOrigin.BENCHMARK,
        title=path.name,
        sha256=sha256(data).hexdigest(),
        questions=tuple(questions.values()),
    )


def suite_prompts(path: Path) -> Iterator[int]:
    """
    Yield the prompt hash of every item of a suite: such rows are never trained on.

    Raises:
        SuiteError: As load_suite.
    """
    for question in load_suite(path).questions:
        yield prompt_hash(question.example)


def _question(row: object, number: str) -> Question:
    if not isinstance(row, dict):
        raise ValueError("an item must be a JSON object")
    scorer = parse_scorer(row.get("scorer"))
    choices, chosen = _choices(row, scorer)
    row, scored = _with_answer(row, None if chosen is None else choices[chosen])
    # An item is asked, not trained, whatever its marks say of training.
    example = to_example({k: v for k, v in row.items() if k not in _NOT_READ})
    if example.kind == "text" and {"scorer", "expected", "choices"} & row.keys():
        raise ValueError("a text is only scored by its loss; nothing is asked of it")
    golden = example.messages[-1]["content"] if example.kind == "conversation" else None
    expected = chosen if chosen is not None else row.get("expected", golden)
    if example.kind == "conversation":
        check_expected(scorer, expected)
    users = [m["content"] for m in example.messages if m["role"] == "user"]
    systems = [m["content"] for m in example.messages if m["role"] == "system"]
    wanted = format_of(example)
    if scored and wanted is not None and not (wanted is FREE or wanted.fits(golden or "")):
        raise ValueError(f"the expected answer does not fit its answer_format ({wanted.name})")
    identity = row.get("id", number)
    if not isinstance(identity, str) or not identity:
        raise ValueError(f"id must be a text, found {identity!r}")
    return Question(
        id=identity,
        example=example,
        system=systems[0] if systems else "",
        prompt=users[-1] if users else "",
        golden=golden if scored else _shown(expected),
        scorer=scorer,
        expected=expected,
        choices=choices,
        scored=scored,
        answer_format=wanted,
    )


def _choices(row: dict[str, Any], scorer: Scorer) -> tuple[tuple[str, ...], int | None]:
    """Return the choices and the number of the right one; () and None if the item has none."""
    given = row.get("choices")
    if scorer.name != CHOICE:
        if given is not None:
            raise ValueError(f"choices are for the scorer {CHOICE!r}, found {scorer.name!r}")
        return (), None
    if (
        not isinstance(given, list)
        or not all(isinstance(c, str) and c for c in given)
        or not 2 <= len(given) == len(set(given))
    ):
        raise ValueError("scorer 'choice' needs a list of two or more different texts in 'choices'")
    expected = row.get("expected")
    if isinstance(expected, str) and expected in given:
        expected = given.index(expected)
    if type(expected) is not int or not 0 <= expected < len(given):
        raise ValueError(
            f"'expected' must be one of the choices or its number from 0, found {expected!r}"
        )
    return tuple(given), expected


def _with_answer(row: dict[str, Any], choice: str | None) -> tuple[dict[str, Any], bool]:
    """Return the row with an assistant turn at its end, and whether that is a real answer."""
    if "expected" not in row:
        return row, True
    answer = choice or _PLACEHOLDER
    messages = row.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        if messages[-1].get("role") == "assistant":
            return row, True
        turn = {"role": "assistant", "content": answer}
        return {**row, "messages": [*messages, turn]}, choice is not None
    if "prompt" in row and "completion" not in row:
        return {**row, "completion": answer}, choice is not None
    return row, True


def _shown(expected: Any) -> str:
    return expected if isinstance(expected, str) else str(expected)
