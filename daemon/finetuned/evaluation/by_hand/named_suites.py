"""
Suites by the names that people give them.

Loads no torch, so that a wrong name is reported at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.suite import Suite, load_suite, suite_files
from finetuned.errors import SuiteError
from finetuned.evaluation.selected_suites import PickedSuite
from finetuned.files.shipped import find_suite
from finetuned.layout import Layout


def pick_suites(layout: Layout, wanted: Sequence[str], limit: int | None) -> list[PickedSuite]:
    """
    Return the suites that *wanted* names, or all of benchmarks/; unreadable ones have a problem.

    Args:
        layout: The root.
        wanted: Names without ``.jsonl``, or files. A name that benchmarks/ does not have
            may be that of a suite that comes with the program.
        limit: First items of each suite, >= 1; None takes all.

    Raises:
        SuiteError: No suite was found, or two have the same name and could be mixed up.
    """
    files = [_suite_file(layout, text) for text in wanted] or suite_files(layout.benchmarks)
    files = list(dict.fromkeys(path.resolve() for path in files))
    if not files:
        raise SuiteError(layout.benchmarks, None, f"no suite in {layout.benchmarks}")
    names: dict[str, Path] = {}
    for path in files:
        if (other := names.setdefault(path.stem, path)) != path:
            raise SuiteError(path, None, f"{other} and {path} have the same name; rename one")
    return [_picked(path, limit) for path in files]


def _suite_file(layout: Layout, text: str) -> Path:
    if not ("/" in text or text.endswith(".jsonl")):
        return find_suite(layout, text) or layout.benchmarks / f"{text}.jsonl"
    named = layout.benchmarks / f"{text}.jsonl"
    if named.is_file():
        return named
    path = Path(text)
    return path if path.exists() else layout.root / text


def _picked(path: Path, limit: int | None) -> PickedSuite:
    try:
        suite = load_suite(path)
    except SuiteError as error:
        return PickedSuite(Suite(path.stem, SuiteOrigin.BENCHMARK, path.name, "", ()), str(error))
    return PickedSuite(replace(suite, questions=suite.questions[:limit]))
