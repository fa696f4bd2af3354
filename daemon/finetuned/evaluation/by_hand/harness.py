"""
The bridge to lm-evaluation-harness: our suites as its tasks, its tasks on our versions.

Export needs nothing but a folder. Running needs ``lm_eval``, which is no dependency of
ours. Does not know benchmarks/, the gate or the answer store: what the harness finds is
for people, never evidence.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from finetuned.config import Config
from finetuned.core.scoring.scorer import CHOICE
from finetuned.core.scoring.texts import NUMBER, last_number
from finetuned.data.suite import Question, Suite
from finetuned.errors import ConfigError
from finetuned.files.atomic import write_atomic
from finetuned.reports.wording import count

INSTALL: Final = '.venv/bin/pip install "lm_eval[hf]==0.4.13"'

_PREFIX: Final = "finetuned"

_ANSWER: Final = r"(?s)\A(?:\s*<think>.*?</think>)?\s*(.*?)\s*\Z"
"""The answer as our scorers see it: without a reasoning block and white space around."""

_NOTES: Final = {
    "exact": "scorer exact: the same",
    "normalised": "scorer normalised: only case and ASCII punctuation are ignored, not spacing",
    "json": "scorer json: compared as text, so order of keys and spacing count; no schema",
    "numeric": "scorer numeric: the last number as text, so 42 and 42.0 differ; no tolerance",
    CHOICE: "scorer choice: likelihoods without the end of the turn; ties go to the first",
}
"""What the harness can express, and what of it differs from our marks."""

_INEXPRESSIBLE: Final = {
    "contains": "scorer contains",
    "regex": "scorer regex",
    "f1": "scorer f1",
    "text": "language modelling rows",
    "turns": "conversations of several turns or with tools",
}


def export_suites(
    suites: Sequence[Suite], folder: Path, *, max_new_tokens: int
) -> list[dict[str, Any]]:
    """
    Write suites as tasks of lm-evaluation-harness: a YAML and a JSON Lines file each.

    A suite with several scorers becomes several tasks. All have the tag ``finetuned``.
    Prompts are meant for ``--apply_chat_template``. Each YAML says, in comments, what the
    harness marks otherwise than we do and which items it cannot express.

    Args:
        suites: Their names become task names.
        folder: Made if it is not there; files of the same names are replaced.
        max_new_tokens: Longest answer, in tokens; more where an expected one is longer.

    Returns:
        Per task ``task``, ``suite``, ``scorer``, ``n_items`` and ``notes``; a suite of
        which nothing can be expressed has ``n_items`` 0 and no file.

    Raises:
        OSError: The file system refused; tasks written before are whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for suite in suites:
        by_scorer: dict[str, list[Question]] = {}
        left_out: dict[str, int] = {}
        for question in suite.questions:
            why = _obstacle(question)
            if why is None:
                by_scorer.setdefault(question.scorer.name, []).append(question)
            else:
                left_out[why] = left_out.get(why, 0) + 1
        lacks = [
            f"left out, the harness cannot express it: {count(n, 'item')}, {_INEXPRESSIBLE[why]}"
            for why, n in left_out.items()
        ]
        for scorer, questions in by_scorer.items():
            task = f"{_PREFIX}_{suite.name}" + (f"_{scorer}" if len(by_scorer) > 1 else "")
            data = folder / f"{task}.jsonl"
            rows = [_row(question) for question in questions]
            write_atomic(data, b"".join(orjson.dumps(row) + b"\n" for row in rows))
            notes = [_NOTES[scorer], *lacks]
            # No tokenizer cuts finer than bytes: a right answer is never cut, as with us.
            longest = max(len(str(row["expected"]).encode()) for row in rows)
            config = _task(task, scorer, questions, data, suite, max(max_new_tokens, longest))
            write_atomic(folder / f"{task}.yaml", _yaml(config, suite, notes))
            written.append(_written(task, suite, scorer, len(rows), notes))
        if not by_scorer:
            written.append(_written(f"{_PREFIX}_{suite.name}", suite, None, 0, lacks))
    return written


def _written(
    task: str, suite: Suite, scorer: str | None, n_items: int, notes: list[str]
) -> dict[str, Any]:
    return {
        "task": task,
        "suite": suite.name,
        "scorer": scorer,
        "n_items": n_items,
        "notes": notes,
    }


def _obstacle(question: Question) -> str | None:
    """Return a key of _INEXPRESSIBLE, None where the harness can ask and mark the question."""
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


def _task(
    task: str,
    scorer: str,
    questions: Sequence[Question],
    data: Path,
    suite: Suite,
    max_new_tokens: int,
) -> dict[str, Any]:
    config: dict[str, Any] = {
        "task": task,
        "tag": [_PREFIX],
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        # Names of columns: the harness then takes them as they are, not as templates.
        "description": "system",
        "doc_to_text": "prompt",
        "doc_to_target": "expected",
        "target_delimiter": "",
        "num_fewshot": 0,
        "metadata": {"version": 1, "suite_sha256": suite.sha256},
    }
    if scorer == CHOICE:
        per_token = any(q.scorer.options.get("per_token") for q in questions)
        metric = {"metric": "acc_norm" if per_token else "acc"}
        return {
            **config,
            "output_type": "multiple_choice",
            "doc_to_choice": "choices",
            "metric_list": [{**metric, "aggregation": "mean", "higher_is_better": True}],
        }
    steps: list[dict[str, Any]] = [{"function": "regex", "regex_pattern": _ANSWER}]
    exact: dict[str, Any] = {"metric": "exact_match", "aggregation": "mean"}
    exact["higher_is_better"] = True
    if scorer == "normalised":
        exact |= {"ignore_case": True, "ignore_punctuation": True}
    if scorer == "numeric":
        steps.append({"function": "regex", "regex_pattern": f"({NUMBER})", "group_select": -1})
        exact["regexes_to_ignore"] = [","]
    steps.append({"function": "take_first"})
    return {
        **config,
        "output_type": "generate_until",
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": max_new_tokens},
        "filter_list": [{"name": "answer", "filter": steps}],
        "metric_list": [exact],
    }


def _yaml(config: dict[str, Any], suite: Suite, notes: Sequence[str]) -> bytes:
    lines = [f"# {suite.title.splitlines()[0]} as a task of lm-evaluation-harness."]
    lines += ["# Run it with --apply_chat_template: prompts are turns of a conversation."]
    lines += [f"# {note}" for note in notes]
    # JSON is YAML, and escapes what a name or a path may hold.
    lines += [f"{key}: {orjson.dumps(value).decode()}" for key, value in config.items()]
    return ("\n".join(lines) + "\n").encode()


def is_installed() -> bool:
    """
    Return whether lm-evaluation-harness can be imported here.
    """
    return importlib.util.find_spec("lm_eval") is not None


def run_tasks(
    model: Any,
    tasks: Sequence[str],
    config: Config,
    *,
    limit: int | None = None,
    include: Path | None = None,
) -> list[dict[str, Any]]:
    """
    Run tasks of lm-evaluation-harness on a model, loaded as for our own suites.

    Args:
        model: A NamedModel.
        tasks: Names that the harness knows.
        config: Of the root.
        limit: First items of each task, >= 1; None takes all.
        include: A folder with more tasks, such as export_suites() writes.

    Returns:
        Per task and metric ``task``, ``metric``, ``value``, ``stderr`` (or None) and ``n_items``.

    Raises:
        ConfigError: It is not installed, knows no such task, or cannot get the task's data;
            the message says which.
        ModelError: The model cannot be loaded.
    """
    if not is_installed():
        raise ConfigError(f"lm-evaluation-harness is not installed here: {INSTALL}")
    from lm_eval import simple_evaluate  # type: ignore[import-not-found]
    from lm_eval.models.huggingface import HFLM  # type: ignore[import-not-found]
    from lm_eval.tasks import TaskManager  # type: ignore[import-not-found]

    from finetuned.evaluation.subjects import Models, Subject

    manager = TaskManager(include_path=None if include is None else str(include))
    known = set(manager.all_tasks)
    if unknown := [task for task in tasks if task not in known]:
        raise ConfigError(f"lm-evaluation-harness knows no task {', '.join(unknown)}")
    weights = model.weights
    loaded = Models(config.model).get(Subject(model.name, weights.base, weights.folder))
    lm = HFLM(
        pretrained=loaded,
        tokenizer=str(weights.base),
        batch_size=config.evaluation.batch_size,
        max_length=config.data.max_length,
    )
    try:
        found = simple_evaluate(
            lm,
            tasks=list(tasks),
            limit=limit,
            task_manager=manager,
            apply_chat_template=bool(lm.tokenizer.chat_template),
            log_samples=False,
            bootstrap_iters=1000,
        )
    except (OSError, ValueError, KeyError) as error:  # data that is not at hand, mostly
        raise ConfigError(f"lm-evaluation-harness: {type(error).__name__}: {error}") from error
    return _rows(found or {})


def _rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for task, values in sorted(found.get("results", {}).items()):
        n_items = found.get("n-samples", {}).get(task, {}).get("effective", 0)
        for key, value in values.items():
            name, _, filtered = key.partition(",")
            if not filtered or name.endswith("_stderr"):
                continue
            stderr = values.get(f"{name}_stderr,{filtered}")
            rows.append(
                {
                    "task": task,
                    "metric": name if filtered == "none" else f"{name}, {filtered}",
                    "value": value,
                    "stderr": stderr if isinstance(stderr, float) else None,
                    "n_items": n_items,
                }
            )
    return rows
