"""
One model by the name a person gives it, on suites by name or file: what the tools have in common.

Answers come from the same store, by the same keys, as those of the evaluation worker,
so neither asks what the other knows. Does not know who is better, gates or reports.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finetuned.config import Config
from finetuned.core.retention import version_number
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.render import Renderer
from finetuned.data.suite import Suite, load_suite, suite_files
from finetuned.errors import BaseModelMissing, ModelError, RegistryError, SuiteError
from finetuned.evaluation.answers import AnswerStore
from finetuned.evaluation.examiner import Examiner
from finetuned.evaluation.identity import model_digest
from finetuned.evaluation.measured import Measured
from finetuned.evaluation.selected_suites import PickedSuite, renderable
from finetuned.evaluation.subjects import Models, Subject, compute_signature
from finetuned.files.base_model import find_base, position_limit
from finetuned.files.manifest import read_manifest
from finetuned.files.shipped import find_suite
from finetuned.inference.outcome import Raw
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.weights import Weights, weights_in

SPEED_ITEMS = 32
"""Prompts on which the speed of two models is compared, at most."""

_SPEED_TOKENS = 64
"""Tokens generated for each of them: as many by both models, whatever they say."""

_NO_TOKEN = -1
"""Stops nothing: no token has this id."""


@dataclass(frozen=True, slots=True)
class NamedModel:
    """
    A model that a person named.
    """

    name: str
    """For people: the version, or the name of the folder."""
    path: Path
    """The folder itself, links resolved."""
    weights: Weights

    def record(self) -> dict[str, Any]:
        """
        Return what a report says of it.
        """
        return {"name": self.name, "path": str(self.path), "base": str(self.weights.base)}


class FreshStore(AnswerStore):
    """
    Keeps answers but knows none: everything is asked anew.
    """

    def find(self, model: str, questions: Iterable[str]) -> dict[str, Raw]:
        """
        Return nothing.
        """
        return {}


def find_model(layout: Layout, text: str, configured: str) -> NamedModel:
    """
    Return the model that *text* means.

    Args:
        layout: The root.
        text: A version's name, ``current_model``, any directory with a model or an
            adapter, or a base model as ``model.base`` may name it.
        configured: ``model.base``.

    Raises:
        RegistryError: There is no such version, or none is in use.
        ModelError: The directory holds no model, or what it sits on is missing.
    """
    folder = _folder_of(layout, text).resolve()
    if not any((folder / f).is_file() for f in (MANIFEST, "adapter_config.json", "config.json")):
        raise ModelError(f"{folder}: no model: neither adapter_config.json nor config.json")
    weights = weights_in(layout, folder, configured)
    named = read_manifest(folder).get("version") if (folder / MANIFEST).is_file() else None
    return NamedModel(named if isinstance(named, str) else folder.name, folder, weights)


def _folder_of(layout: Layout, text: str) -> Path:
    plain = text.rstrip("/")
    if plain == layout.current_model.name:
        if not layout.current_model.is_dir():
            raise RegistryError("no version is in use yet; name a version or a base model")
        return layout.current_model
    if version_number(plain) is not None:
        if not (layout.versions / plain).is_dir():
            raise RegistryError(f"there is no version {plain} in {layout.versions}")
        return layout.versions / plain
    if Path(text).is_dir():
        return Path(text)
    try:
        return find_base(layout, plain or text)
    except BaseModelMissing:
        if (layout.root / plain).is_dir():
            return layout.root / plain
        raise


def pick_suites(layout: Layout, wanted: Sequence[str], limit: int | None) -> list[PickedSuite]:
    """
    Return the suites that *wanted* names, or all of benchmarks/; what cannot be read has a problem.

    Args:
        layout: The root.
        wanted: Names without ``.jsonl``, or files. A name that benchmarks/ does not have
            may be that of a suite that comes with the program.
        limit: First items of each suite, >= 1; None takes all.

    Raises:
        SuiteError: There is none, or two have the same name, so that answers could be mixed up.
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


class Examination:
    """
    One model that can be asked suites; it is loaded when an answer is not known.
    """

    def __init__(
        self,
        model: NamedModel,
        config: Config,
        store: AnswerStore,
        on_progress: Callable[[], None] | None = None,
        models: Models | None = None,
    ) -> None:
        """
        Read the tokenizer.

        Args:
            model: Whom to ask.
            config: Of the root.
            store: Where answers are kept, and known unless it is a FreshStore.
            on_progress: Called often while the model works; what it raises ends it.
            models: Holds the model; to be shared where only one may be in memory.

        Raises:
            ConfigError, BaseModelMissing: The tokenizer cannot be read.
        """
        self.model = model
        self.models = models or Models(config.model)
        self.config = config
        self.renderer = Renderer.load(
            model.weights.base,
            max_length=max(config.data.max_length, position_limit(model.weights.base) or 0),
            enable_thinking=config.model.enable_thinking,
        )
        how = compute_signature(config.model)
        self._digest = model_digest(model.weights.base, model.weights.folder, how)
        self._subject = Subject(model.name, model.weights.base, model.weights.folder)
        self._examiner = Examiner(self.renderer, config.evaluation, store, on_progress)

    def prepare(self, picked: PickedSuite) -> PickedSuite:
        """
        Return the suite as this model is asked it, or with the problem it has for this model.
        """
        return picked if picked.problem is not None else renderable(picked, self.renderer)

    def measure(self, picked: PickedSuite) -> Measured:
        """
        Ask the model a suite that prepare() found no problem in.

        Raises:
            ModelError: The model cannot be loaded.
        """
        return self._examiner.measure(self.load, self._digest, picked.suite, deadline=math.inf)

    def load(self) -> Any:
        """
        Return the loaded model.

        Raises:
            CorruptFile, ModelError: See Models.get.
        """
        return self.models.get(self._subject)


def measure_speed(one: Examination, other: Examination, suites: Sequence[Suite]) -> dict[str, Any]:
    """
    Return how fast two models generate, side by side: nothing else is comparable.

    Both generate the same number of tokens for the same prompts, in turns (one, other,
    other, one), so that a machine that gets slower meanwhile treats both alike. No
    answer is taken from the store.

    Args:
        one, other: Whose models are loaded in turns; they may share one Models.
        suites: Prompts are taken of all of them in turn, SPEED_ITEMS in all.

    Returns:
        ``a`` and ``b``, generated tokens per second or None where there is no prompt;
        ``n_items``, ``n_tokens`` (per item) and ``rounds`` per model.
    """
    questions = _sample(suites)
    tokens = min(_SPEED_TOKENS, one.config.evaluation.max_new_tokens)
    facts = {"n_items": len(questions), "n_tokens": tokens, "rounds": 2}
    if not questions:
        return {"a": None, "b": None, **facts}
    made, seconds = {"a": 0, "b": 0}, {"a": 0.0, "b": 0.0}
    for key, examination in (("a", one), ("b", other), ("b", other), ("a", one)):
        prompts = [examination.renderer.prompt_ids(q.example) for q in questions]
        _generate(examination, prompts[:1], 2)  # warms up
        began = time.monotonic()
        made[key] += _generate(examination, prompts, tokens)
        seconds[key] += time.monotonic() - began
    return {**{k: made[k] / seconds[k] if seconds[k] else None for k in made}, **facts}


def _generate(examination: Examination, prompts: list[list[int]], tokens: int) -> int:
    from finetuned.inference.generate import generate

    evaluation = examination.config.evaluation
    answers = generate(
        examination.load(),
        prompts,
        stop_token_ids={_NO_TOKEN},
        pad_token_id=examination.renderer.pad_token_id,
        max_new_tokens=tokens,
        deadline=time.monotonic() + evaluation.suite_timeout_seconds,
        batch_size=evaluation.batch_size,
    )
    return sum(len(answer.ids) for answer in answers)


def _sample(suites: Sequence[Suite]) -> list[Any]:
    pools = [[q for q in s.questions if q.example.kind != "text"] for s in suites]
    longest = max(map(len, pools), default=0)
    turns = [pool[i] for i in range(longest) for pool in pools if i < len(pool)]
    return turns[:SPEED_ITEMS]
