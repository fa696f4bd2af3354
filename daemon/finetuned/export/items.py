"""
The items on which an export is compared with its version: canaries, held-out rows, benchmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from finetuned.core.scoring.scorer import CHOICE
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.render import Renderer
from finetuned.data.store import TokenisedDataset
from finetuned.data.suite import Question, Suite, held_out_suite, load_suite, suite_files
from finetuned.files.model_manifest import read_model_manifest
from finetuned.files.shipped import shipped
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.named_model import NamedModel

_MAX_IDS: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """
    One question of a suite.
    """

    suite: str
    question: Question


def items_of(layout: Layout, model: NamedModel, limit: int) -> list[Item]:
    """
    Return what version and export are both asked: at most *limit* items of each suite.

    All suites of benchmarks/ (those that come with the program if there are none), and the
    held-out rows of every dataset that the version's job had. Only what is answered in words is
    asked: choices and losses say nothing of a file's greedy answers.

    Raises:
        SuiteError: A suite cannot be read.
    """
    suites = [load_suite(path) for path in suite_files(layout.benchmarks)]
    if not any(s.origin is SuiteOrigin.BENCHMARK for s in suites):
        suites += [load_suite(path) for path in suite_files(shipped().benchmarks)]
    return [
        Item(suite.name, question)
        for suite in [*suites, *_held_out(layout, model, limit)]
        for question in _sample(suite, limit)
    ]


def trained_texts(layout: Layout, model: NamedModel, renderer: Renderer) -> list[str]:
    """
    Return the training rows of the version's datasets as text, the first _MAX_IDS ids of each.

    Held-out rows and suites are not among them: whoever learns from these texts how to cut
    words is still judged on others.
    """
    texts = []
    for _, place in _there(layout, model):
        rows, left = TokenisedDataset.open(place), _MAX_IDS
        for i in range(len(rows)):
            ids = rows[i][0].tolist()
            texts.append(renderer.decode(ids))
            if (left := left - len(ids)) < 0:
                break
    return texts


def _held_out(layout: Layout, model: NamedModel, limit: int) -> list[Suite]:
    return [
        held_out_suite(TokenisedDataset.open(place), SuiteOrigin.OLD, name, limit)
        for name, place in _there(layout, model)
    ]


def datasets_gone(layout: Layout, model: NamedModel) -> tuple[str, ...]:
    """
    Return the datasets of a version's job that were removed: of them nothing can be asked.
    """
    return tuple(
        name or place.name for name, place in _datasets(layout, model) if not place.is_dir()
    )


def _there(layout: Layout, model: NamedModel) -> list[tuple[str, Path]]:
    return [(name, place) for name, place in _datasets(layout, model) if place.is_dir()]


def _datasets(layout: Layout, model: NamedModel) -> list[tuple[str, Path]]:
    """Return name and folder of each dataset of a version's job; a folder may be gone."""
    folder = model.weights.folder
    if folder is None or not (folder / MANIFEST).is_file():
        return []
    datasets = read_model_manifest(folder).datasets
    return [(d.name, layout.datasets / d.dataset_id) for d in datasets]


def _sample(suite: Suite, limit: int) -> Sequence[Question]:
    """Return some questions of a suite, always the same ones, in file order."""
    asked = [q for q in suite.questions if _is_answered(q)]
    ranked = sorted(asked, key=lambda q: (crc32(q.id.encode()), q.id))
    kept = {q.id for q in ranked[:limit]}
    return [q for q in asked if q.id in kept]


def _is_answered(question: Question) -> bool:
    is_text = question.example.kind == "text"
    return question.generated and not is_text and question.scorer.name != CHOICE
