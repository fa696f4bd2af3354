"""
One model asked suites by hand, with the answer store of the evaluation worker.

Questions and weights have the same identities as in the worker, so neither asks what the
other knows. Does not know which model is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from finetuned.config import Config
from finetuned.core.answer_format import AnswerFormat
from finetuned.data.render import Renderer
from finetuned.evaluation.answers import AnswerStore
from finetuned.evaluation.asked import asked_of
from finetuned.evaluation.examiner import Examiner
from finetuned.evaluation.identity import model_digest
from finetuned.evaluation.measured import Measured
from finetuned.evaluation.selected_suites import PickedSuite, formatted, renderable
from finetuned.evaluation.subjects import Models, Subject, compute_signature
from finetuned.files.base_model import position_limit
from finetuned.inference.outcome import Raw
from finetuned.registry.named_model import NamedModel

if TYPE_CHECKING:
    from finetuned.model.types import LanguageModel


class FreshStore(AnswerStore):
    """
    An answer store that keeps answers but finds none: everything is asked again.
    """

    def find(self, model: str, questions: Iterable[str]) -> dict[str, Raw]:
        """
        Return no answers.
        """
        return {}


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
        answer_format: AnswerFormat | None = None,
    ) -> None:
        """
        Read the tokenizer.

        Args:
            model: The model to ask.
            config: Of the root.
            store: Where answers are looked up and kept.
            on_progress: Called often while the model works; its exceptions end the examination.
            models: Holds the model; shared if memory should hold only one of several.
            answer_format: ``model.answer_format``, for questions that say nothing.

        Raises:
            ConfigError, BaseModelMissing: The tokenizer cannot be read.
            ModelError: Its list of families cannot be read.
        """
        self.model = model
        self._answer_format = answer_format
        self.models = models or Models(config.model)
        self.config = config
        self.renderer = Renderer.load(
            model.weights.base,
            max_length=max(config.data.max_length, position_limit(model.weights.base) or 0),
            enable_thinking=config.model.enable_thinking,
        )
        how = compute_signature(config.model)
        self._subject = Subject(model.name, model.weights.base, model.weights.folder)
        self._asked = asked_of(
            self._subject, self.models.get, lambda one: model_digest(one.base, one.folder, how)
        )
        self._examiner = Examiner(self.renderer, config.evaluation, store, on_progress)

    def prepare(self, picked: PickedSuite) -> PickedSuite:
        """
        Return the suite as this model is asked it, or with the reason why it cannot be.
        """
        if picked.problem is not None:
            return picked
        found = renderable(picked, self.renderer)
        return formatted(found, self._answer_format, self.config.evaluation)

    def measure(self, picked: PickedSuite) -> Measured:
        """
        Ask the model a suite, prepared and without a problem.

        Raises:
            ModelError: The model cannot be loaded.
        """
        found = self._examiner.measure(self._asked, picked.suite, deadline=math.inf)
        return self._examiner.measure_free(self._asked, found, deadline=math.inf)

    def load(self) -> LanguageModel:
        """
        Return the loaded model.

        Raises:
            CorruptFile, ModelError: See Models.get.
        """
        return self.models.get(self._subject)
