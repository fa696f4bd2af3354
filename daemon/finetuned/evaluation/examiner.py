"""
One model asked a suite, with answers that are known already taken from the answer store.

Does not know which model is better, nor why it is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from finetuned.config import EvaluationConfig
from finetuned.data.render import Renderer
from finetuned.data.suite import Question, Suite
from finetuned.evaluation.answers import AnswerStore
from finetuned.evaluation.asked import Asked
from finetuned.evaluation.identity import question_key
from finetuned.evaluation.measured import Measured
from finetuned.evaluation.selected_suites import BOTH_MODES
from finetuned.inference.outcome import Outcome, Raw, mark

if TYPE_CHECKING:
    from finetuned.model.types import LanguageModel

KEPT_TOGETHER: Final = 32
"""Answers that are put into the store in one transaction."""

_IN_PROBE: Final = "\0"
"""Between suite and item in the name of a question that is asked with those of other suites."""

_Form = tuple[str, bool, str | None]
"""Id of an item, whether it is answered, and the digest of the format that holds the answer."""

NOT_REACHED: Final = Raw(
    text="",
    loss_sum=0.0,
    n_tokens=0,
    golden_tokens=0,
    answer_tokens=0,
    stopped=False,
    timed_out=True,
    seconds=0.0,
)
"""The result of a question that was not reached before the deadline."""


@dataclass(frozen=True, slots=True)
class Examiner:
    """
    Asks models suites, one after another, all in the same way.
    """

    renderer: Renderer
    config: EvaluationConfig
    store: AnswerStore | None = None
    """Where answers are looked up and kept; None asks every question again."""
    on_progress: Callable[[], None] | None = None
    """Called often while a model works; its exceptions end the examination."""
    on_answered: Callable[[int], None] | None = None
    """Called with the number of questions that were done with since the last call."""
    _keys: dict[str, dict[_Form, str]] = field(default_factory=dict)
    """Keys in the store by suite and form of an item; parts come before the whole."""

    def measure(
        self,
        asked: Asked,
        suite: Suite,
        *,
        deadline: float,
        known_only: bool = False,
    ) -> Measured:
        """
        Ask a model every question of *suite*.

        Args:
            asked: The model; it is loaded only if an answer is not known.
            suite: Any.
            deadline: On the clock of time.monotonic, in seconds; the time limit of a suite
                applies as well.
            known_only: Whether what is not known already is left out.

        Raises:
            MalformedExample: A question cannot be rendered for this model.
        """
        began = time.monotonic()
        deadline = min(deadline, began + self.config.suite_timeout_seconds)
        outcomes, n_cached = dict[str, Outcome](), 0
        for one, questions in asked.parts(suite.questions):
            part = replace(suite, questions=questions)
            found, n_known = self._measure_one(one, part, deadline, known_only=known_only)
            outcomes |= found
            n_cached += n_known
        return Measured(suite, outcomes, n_cached, time.monotonic() - began)

    def _measure_one(
        self, asked: Asked, suite: Suite, deadline: float, *, known_only: bool
    ) -> tuple[dict[str, Outcome], int]:
        """Return what one model did with each question, and how many answers were known."""
        keys = self._keys_of(suite)
        known = {} if self.store is None else self.store.find(asked.digest, keys.values())
        outcomes = {
            q.id: mark(q, known[keys[q.id]], self.config.reasoning)
            for q in suite.questions
            if keys[q.id] in known
        }
        unknown = [q for q in suite.questions if q.id not in outcomes]
        n_cached = len(outcomes)
        self._count(n_cached)
        if known_only:
            self._count(len(unknown))
        elif unknown:
            keeper = _Keeper(self.store, asked.digest, keys)
            fresh = self._ask(asked.load(), unknown, deadline, keeper)
            self._count(len(unknown) - len(fresh))
            outcomes |= fresh
            outcomes |= {
                q.id: mark(q, NOT_REACHED, self.config.reasoning)
                for q in unknown
                if q.id not in fresh
            }
        return outcomes, n_cached

    @property
    def asks_freely(self) -> bool:
        """Whether answers that their format changed are asked for again without it."""
        return self.config.format_mode == BOTH_MODES

    def measure_free(
        self,
        asked: Asked,
        found: Measured,
        *,
        deadline: float,
    ) -> Measured:
        """
        Return *found* with the answers that its model gives freely, if the configuration asks.

        An answer that its format did not change is what the model says freely: only the others
        are asked again.

        Args:
            asked, deadline: As measure().
            found: What measure() returned.
        """
        if not self.asks_freely:
            return found
        held = [
            o
            for o in found.outcomes.values()
            if o.question.answer_format is not None and o.question.is_held and o.grade is not None
        ]
        free = {
            o.question.id: mark(replace(o.question, is_held=False), o.raw, self.config.reasoning)
            for o in held
            if not o.raw.n_refused
        }
        changed = [o.question for o in held if o.raw.n_refused]
        if changed:
            suite = freely(found.suite, changed)
            uncounted = replace(self, on_answered=None)  # beside what was foreseen
            free |= uncounted.measure(asked, suite, deadline=deadline).outcomes
        return replace(found, free=free)

    def known(self, asked: Asked, suite: Suite) -> dict[str, Raw]:
        """
        Return what a model did with questions of *suite* before, by item.
        """
        answers: dict[str, Raw] = {}
        for one, questions in asked.parts(suite.questions):
            keys = self._keys_of(replace(suite, questions=questions))
            found = {} if self.store is None else self.store.find(one.digest, keys.values())
            answers |= {item: found[key] for item, key in keys.items() if key in found}
        return answers

    def probe(
        self, asked: Asked, suites: Sequence[Suite], *, share: float, deadline: float
    ) -> dict[str, list[Raw]]:
        """
        Ask a model one batch of questions that it was not asked before, from all suites in turn.

        Returns:
            By suite, what it did with these and what was known; cut answers are there too.

        Args:
            asked: The model.
            suites: In each, the questions that are asked first are the first.
            share: Of the time between the loaded model and the deadline, 0 to 1.
            deadline: On the clock of time.monotonic.
        """
        known = {suite.name: self.known(asked, suite) for suite in suites}
        found = {name: list(raws.values()) for name, raws in known.items()}
        pools = [[q for q in s.questions if q.id not in known[s.name]] for s in suites]
        turns = [
            (suite.name, pool[i])
            for i in range(max(map(len, pools), default=0))
            for suite, pool in zip(suites, pools, strict=True)
            if i < len(pool)
        ][: self.config.batch_size]
        if not turns:
            return found
        named = {f"{name}{_IN_PROBE}{q.id}": (name, q) for name, q in turns}
        keys = {item: self._keys[name][_form(question)] for item, (name, question) in named.items()}
        questions = [replace(question, id=item) for item, (_, question) in named.items()]
        for one, mine in asked.parts(questions):
            keeper = _Keeper(self.store, one.digest, keys)
            model = one.load()
            now = time.monotonic()
            end = now + share * max(0.0, deadline - now)
            for item, outcome in self._ask(model, mine, end, keeper).items():
                found[named[item][0]].append(outcome.raw)
        return found

    def _keys_of(self, suite: Suite) -> dict[str, str]:
        """Return the key of each question; a question is rendered once for all models."""
        keys, limits = self._keys.setdefault(suite.name, {}), (self.config.max_new_tokens,)
        found = {}
        for question in suite.questions:
            form = _form(question)
            if form not in keys:
                keys[form] = question_key(self.renderer, question, limits)
            found[question.id] = keys[form]
        return found

    def _count(self, n: int) -> None:
        if n and self.on_answered is not None:
            self.on_answered(n)

    def _ask(
        self,
        model: LanguageModel,
        questions: Sequence[Question],
        deadline: float,
        keeper: _Keeper,
    ) -> dict[str, Outcome]:
        from finetuned.inference.ask import ask  # late: known answers need no torch

        outcomes: dict[str, Outcome] = {}
        try:
            for outcome in ask(
                model,
                self.renderer,
                questions,
                max_new_tokens=self.config.max_new_tokens,
                batch_size=self.config.batch_size,
                deadline=deadline,
                item_seconds=self.config.item_timeout_seconds,
                reasoning=self.config.reasoning,
                on_progress=self.on_progress,
                on_answered=self.on_answered,
            ):
                outcomes[outcome.question.id] = outcome
                keeper.take(outcome)
        finally:  # whatever ends the evaluation: what was answered is not asked again
            keeper.keep()
        return outcomes


def freely(suite: Suite, questions: Sequence[Question]) -> Suite:
    """
    Return *suite* with some of its questions, whose answers are not held to their formats.
    """
    return replace(suite, questions=tuple(replace(q, is_held=False) for q in questions))


def _form(question: Question) -> _Form:
    """Return which item is asked, and in which way."""
    held_to = question.held_to
    return question.id, question.generated, None if held_to is None else held_to.digest


@dataclass(slots=True)
class _Keeper:
    """
    Puts outcomes into the store while others are still asked.
    """

    store: AnswerStore | None
    digest: str
    keys: dict[str, str]
    """By item."""
    taken: dict[str, Raw] = field(default_factory=dict)

    def take(self, outcome: Outcome) -> None:
        """
        Keep *outcome* with those before it, a few in one transaction.
        """
        self.taken[self.keys[outcome.question.id]] = outcome.raw
        if len(self.taken) >= KEPT_TOGETHER:
            self.keep()

    def keep(self) -> None:
        """
        Put what was taken into the store.
        """
        if self.store is not None and self.taken:
            self.store.add(self.digest, self.taken)
        self.taken = {}
