"""
Tasks of lm-evaluation-harness run on our models.

Needs the package ``lm_eval``, which is not a dependency. The results are for people: they
are never evidence for the gate and are not kept in the answer store.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from finetuned.config import Config
from finetuned.errors import ConfigError, ModelError
from finetuned.evaluation.subjects import Models, Subject
from finetuned.files.family_list import several_adapters
from finetuned.layout import FAMILIES
from finetuned.registry.named_model import NamedModel

INSTALL: Final = '.venv/bin/pip install "lm_eval[hf]==0.4.13"'


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskResult:
    """
    One metric of one task.
    """

    task: str
    metric: str
    value: Any
    """A number for almost every metric."""
    stderr: float | None
    n_items: int


def is_installed() -> bool:
    """
    Return whether lm-evaluation-harness can be imported here.
    """
    return importlib.util.find_spec("lm_eval") is not None


def run_tasks(
    model: NamedModel,
    tasks: Sequence[str],
    config: Config,
    *,
    limit: int | None = None,
    include: Path | None = None,
) -> list[TaskResult]:
    """
    Run tasks of lm-evaluation-harness on a model, loaded as for our own suites.

    Args:
        model: The model to ask.
        tasks: Names of tasks that the harness knows.
        config: Of the root.
        limit: First items of each task, >= 1; None takes all.
        include: A folder with more tasks, such as export_suites() writes.

    Raises:
        ConfigError: The harness is not installed, does not know a task, or cannot get the
            data of one; the message says which.
        ModelError: The model cannot be loaded.
    """
    if not is_installed():
        raise ConfigError(f"lm-evaluation-harness is not installed here: {INSTALL}")
    from lm_eval import simple_evaluate  # type: ignore[import-not-found]
    from lm_eval.models.huggingface import HFLM  # type: ignore[import-not-found]
    from lm_eval.tasks import TaskManager  # type: ignore[import-not-found]

    manager = TaskManager(include_path=None if include is None else str(include))
    known = set(manager.all_tasks)
    if unknown := [task for task in tasks if task not in known]:
        raise ConfigError(f"lm-evaluation-harness knows no task {', '.join(unknown)}")
    weights = model.weights
    if several := several_adapters(model.name, weights.folder):
        raise ModelError(
            f"{several}, and the harness asks one: name the folder of one, such as "
            f"{model.name}/{FAMILIES}/..."
        )
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
    except (OSError, ValueError, KeyError) as error:  # mostly data that cannot be fetched
        raise ConfigError(f"lm-evaluation-harness: {type(error).__name__}: {error}") from error
    return _results(found or {})


def _results(found: Mapping[str, Any]) -> list[TaskResult]:
    """Return the results in the harness's own document, one per task and metric."""
    results = []
    for task, values in sorted(found.get("results", {}).items()):
        n_items = found.get("n-samples", {}).get(task, {}).get("effective", 0)
        for key, value in values.items():
            name, _, filtered = key.partition(",")
            if not filtered or name.endswith("_stderr"):
                continue
            stderr = values.get(f"{name}_stderr,{filtered}")
            results.append(
                TaskResult(
                    task=task,
                    metric=name if filtered == "none" else f"{name}, {filtered}",
                    value=value,
                    stderr=stderr if isinstance(stderr, float) else None,
                    n_items=n_items,
                )
            )
    return results
