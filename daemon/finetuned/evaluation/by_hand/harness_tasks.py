"""
Our suites written as tasks of lm-evaluation-harness.

Needs nothing but a folder; does not know models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from finetuned.core.scoring.scorer import CHOICE
from finetuned.core.scoring.texts import NUMBER, last_number
from finetuned.data.suite import Question, Suite
from finetuned.files.atomic import write_atomic
from finetuned.reports.wording import count

_PREFIX: Final = "finetuned"

_ANSWER: Final = r"(?s)\A(?:\s*<think>.*?</think>)?\s*(.*?)\s*\Z"
"""Matches the answer as our scorers see it: without reasoning block and surrounding space."""

_NOTES: Final = {
    "exact": "scorer exact: the same",
    "normalised": "scorer normalised: only case and ASCII punctuation are ignored, not spacing",
    "json": "scorer json: compared as text, so order of keys and spacing count; no schema",
    "numeric": "scorer numeric: the last number as text, so 42 and 42.0 differ; no tolerance",
    CHOICE: "scorer choice: likelihoods without the end of the turn; ties go to the first",
}
"""Scorers that the harness can express, and how its marks differ from ours."""

_INEXPRESSIBLE: Final = {
    "contains": "scorer contains",
    "regex": "scorer regex",
    "f1": "scorer f1",
    "text": "language modelling rows",
    "turns": "conversations of several turns or with tools",
}


@dataclass(frozen=True, slots=True)
class ExportedTask:
    """
    One task that was written.
    """

    task: str
    """Its name in the harness."""
    suite: str
    scorer: str | None
    """None if nothing of the suite can be expressed."""
    n_items: int
    notes: list[str]
    """How its marks differ from ours, and what was left out."""


def export_suites(
    suites: Sequence[Suite], folder: Path, *, max_new_tokens: int
) -> list[ExportedTask]:
    """
    Write suites as tasks of lm-evaluation-harness: a YAML and a JSON Lines file each.

    A suite with several scorers becomes several tasks. All have the tag ``finetuned``.
    Prompts are meant for ``--apply_chat_template``. Comments in each YAML file say how the
    marks of the harness differ from ours, and which items it cannot express.

    Args:
        suites: Their names become task names.
        folder: Made if it does not exist; files of the same names are replaced.
        max_new_tokens: Longest answer, in tokens; raised if an expected answer is longer.

    Returns:
        The tasks; a suite of which nothing can be expressed has ``n_items`` 0 and no file.

    Raises:
        OSError: The file system refused; tasks written before are whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[ExportedTask] = []
    for suite in suites:
        by_scorer, notes = _split(suite)
        for scorer, questions in by_scorer.items():
            name = f"{_PREFIX}_{suite.name}" + (f"_{scorer}" if len(by_scorer) > 1 else "")
            task = ExportedTask(name, suite.name, scorer, len(questions), [_NOTES[scorer], *notes])
            _write_task(task, suite, questions, folder, max_new_tokens)
            written.append(task)
        if not by_scorer:
            written.append(ExportedTask(f"{_PREFIX}_{suite.name}", suite.name, None, 0, notes))
    return written


def _split(suite: Suite) -> tuple[dict[str, list[Question]], list[str]]:
    """Return the questions by scorer, and a note on those that cannot be expressed."""
    by_scorer: dict[str, list[Question]] = {}
    left_out: dict[str, int] = {}
    for question in suite.questions:
        obstacle = _obstacle(question)
        if obstacle is None:
            by_scorer.setdefault(question.scorer.name, []).append(question)
        else:
            left_out[obstacle] = left_out.get(obstacle, 0) + 1
    return by_scorer, [
        f"left out, the harness cannot express it: {count(n, 'item')}, {_INEXPRESSIBLE[obstacle]}"
        for obstacle, n in left_out.items()
    ]


def _write_task(
    task: ExportedTask,
    suite: Suite,
    questions: Sequence[Question],
    folder: Path,
    max_new_tokens: int,
) -> None:
    data = folder / f"{task.task}.jsonl"
    rows = [_row(question) for question in questions]
    write_atomic(data, b"".join(orjson.dumps(row) + b"\n" for row in rows))
    # No tokenizer makes more tokens than bytes: a right answer is never cut.
    longest = max(max_new_tokens, *(len(str(row["expected"]).encode()) for row in rows))
    config = _config(task, questions, data, suite, longest)
    write_atomic(folder / f"{task.task}.yaml", _yaml(config, suite, task.notes))


def _obstacle(question: Question) -> str | None:
    """Return a key of _INEXPRESSIBLE, or None if the harness can ask and mark the question."""
    example = question.example
    if example.kind == "text":
        return "text"
    roles = [m["role"] for m in example.messages]
    if example.tools or roles not in (["user", "assistant"], ["system", "user", "assistant"]):
        return "turns"
    return question.scorer.name if question.scorer.name in _INEXPRESSIBLE else None


def _row(question: Question) -> dict[str, Any]:
    row: dict[str, Any] = {"id": question.id, "system": question.system, "prompt": question.prompt}
    if question.scorer.name == CHOICE:
        return {**row, "choices": list(question.choices), "expected": question.expected}
    expected = question.golden if question.expected is None else question.expected
    text = expected if isinstance(expected, str) else orjson.dumps(expected).decode()
    if question.scorer.name == "numeric" and (number := last_number(text)) is not None:
        text = f"{number:.15g}"
    return {**row, "expected": text.strip()}


def _config(
    task: ExportedTask,
    questions: Sequence[Question],
    data: Path,
    suite: Suite,
    max_new_tokens: int,
) -> dict[str, Any]:
    """Return the fields of the YAML file."""
    config: dict[str, Any] = {
        "task": task.task,
        "tag": [_PREFIX],
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        # Names of columns, which the harness does not read as templates.
        "description": "system",
        "doc_to_text": "prompt",
        "doc_to_target": "expected",
        "target_delimiter": "",
        "num_fewshot": 0,
        "metadata": {"version": 1, "suite_sha256": suite.sha256},
    }
    if task.scorer == CHOICE:
        per_token = any(q.scorer.options.get("per_token") for q in questions)
        metric = {"metric": "acc_norm" if per_token else "acc"}
        return {
            **config,
            "output_type": "multiple_choice",
            "doc_to_choice": "choices",
            "metric_list": [{**metric, "aggregation": "mean", "higher_is_better": True}],
        }
    return {
        **config,
        "output_type": "generate_until",
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": max_new_tokens},
        **_marking(task.scorer),
    }


def _marking(scorer: str | None) -> dict[str, Any]:
    """Return how the harness reads and compares an answer that it generated."""
    steps: list[dict[str, Any]] = [{"function": "regex", "regex_pattern": _ANSWER}]
    exact: dict[str, Any] = {"metric": "exact_match", "aggregation": "mean"}
    exact["higher_is_better"] = True
    if scorer == "normalised":
        exact |= {"ignore_case": True, "ignore_punctuation": True}
    if scorer == "numeric":
        steps.append({"function": "regex", "regex_pattern": f"({NUMBER})", "group_select": -1})
        exact["regexes_to_ignore"] = [","]
    steps.append({"function": "take_first"})
    return {"filter_list": [{"name": "answer", "filter": steps}], "metric_list": [exact]}


def _yaml(config: dict[str, Any], suite: Suite, notes: Sequence[str]) -> bytes:
    lines = [f"# {suite.title.splitlines()[0]} as a task of lm-evaluation-harness."]
    lines += ["# Run it with --apply_chat_template: prompts are turns of a conversation."]
    lines += [f"# {note}" for note in notes]
    # JSON is YAML, and escapes what a name or a path may hold.
    lines += [f"{key}: {orjson.dumps(value).decode()}" for key, value in config.items()]
    return ("\n".join(lines) + "\n").encode()
