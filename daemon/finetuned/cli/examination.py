"""
One model asked some suites: the document that ``finetuned test`` and ``canary run`` are made of.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from finetuned.cli.terminal import bar
from finetuned.config import Config
from finetuned.core.answer_format import AnswerFormat
from finetuned.core.record import to_json
from finetuned.evaluation.answers import AnswerStore
from finetuned.evaluation.by_hand.compare import pooled
from finetuned.evaluation.by_hand.examination import Examination, FreshStore
from finetuned.evaluation.measured import Measured, item_record, score
from finetuned.evaluation.selected_suites import PickedSuite
from finetuned.files.run import utc_now
from finetuned.layout import Layout
from finetuned.registry.named_model import NamedModel

SCHEMA_VERSION = 1


def open_answers(layout: Layout, *, fresh: bool) -> AnswerStore:
    """
    Return the store of answers of a root; with *fresh* one that keeps answers and knows none.
    """
    layout.models.mkdir(parents=True, exist_ok=True)
    return (FreshStore if fresh else AnswerStore)(layout.answers)


def examine(
    layout: Layout,
    config: Config,
    model: NamedModel,
    suites: Sequence[PickedSuite],
    *,
    fresh: bool,
    answer_format: AnswerFormat | None = None,
) -> dict[str, Any]:
    """
    Ask *model* every suite and return all that came of it.

    Questions that say nothing of their format are asked under *answer_format*.

    Returns:
        ``model``, ``suites`` (each with its ``score``, None if it has a ``problem``, and
        the ids of ``timed_out`` and ``missing`` items), ``overall``, ``items`` with outcome
        ``model``, and ``complete``: whether everything was asked in time.
    """
    began = time.monotonic()
    store = open_answers(layout, fresh=fresh)
    records, measured = [], []
    try:
        with bar(sum(len(s.suite.questions) for s in suites)) as shown:
            examination = Examination(model, config, store, answer_format=answer_format)
            for suite in suites:
                shown.begin(suite.suite.title)
                picked = examination.prepare(suite)
                if picked.problem is not None:
                    records.append(_record(picked, None))
                    continue
                found = examination.measure(picked)
                shown.done(len(picked.suite.questions))
                measured.append(found)
                records.append(_record(picked, found))
    finally:
        store.close()
    return {
        "schema_version": SCHEMA_VERSION,
        "created_at": utc_now(),
        "model": model.record(),
        "suites": records,
        "overall": to_json(score(pooled(measured))),
        "seconds": round(time.monotonic() - began, 3),
        "complete": all(r["score"] is not None and r["score"]["complete"] for r in records),
        "items": [
            to_json(item_record(found.suite, question, {"model": found}))
            for found in measured
            for question in found.suite.questions
        ],
    }


def _record(picked: PickedSuite, found: Measured | None) -> dict[str, Any]:
    record = to_json(picked.record())
    problem = picked.problem
    if problem is not None and not problem.startswith(picked.suite.title):
        problem = f"{picked.suite.title}: {problem}"
    outcomes = {} if found is None else found.outcomes
    asked = [] if found is None else [q.id for q in picked.suite.questions]
    return {
        **{key: record[key] for key in ("name", "origin", "title", "sha256", "n_items")},
        "problem": problem,
        "score": None if found is None else to_json(score(found)),
        "timed_out": [i for i in asked if i in outcomes and outcomes[i].timed_out],
        "missing": [i for i in asked if i not in outcomes],
    }
