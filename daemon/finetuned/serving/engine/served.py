"""
One held model with all that answering by it needs.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from finetuned.core.confidence.calibration import ConfidenceMap
from finetuned.core.generation import Generate, HeldModel
from finetuned.data.render import Renderer
from finetuned.errors import MalformedExample
from finetuned.inference.cached_lm import CachedLM
from finetuned.serving.engine.answer import RunningAnswer
from finetuned.serving.engine.batch import Batch, slot_bytes
from finetuned.serving.engine.prefixes import KeptPrompts

if TYPE_CHECKING:
    from finetuned.inference.guide import GuideMaker


class Refused(Exception):
    """
    A request that this model cannot answer; the text says what to do.
    """

    def __init__(self, message: str, field: str, *, too_long: bool = False) -> None:
        super().__init__(message)
        self.field = field
        self.too_long = too_long


class Served:
    """
    A model, its tokenizer and its running answers.
    """

    def __init__(
        self,
        source: HeldModel,
        lm: CachedLM,
        renderer: Renderer,
        *,
        positions: int,
        kept_bytes: int,
        confidence_map: ConfidenceMap | None = None,
    ) -> None:
        """
        Args:
            source: The folders it was loaded from.
            lm: Exact (CachedLM.is_exact).
            renderer: Of its tokenizer.
            positions: Longest prompt and answer together, in tokens.
            kept_bytes: Most memory for kept prompts.
            confidence_map: How its confidence is calibrated; None if it is not.
        """
        self.source = source
        self.lm = lm
        self.positions = positions
        self.slot_bytes = slot_bytes(lm, renderer.eos_token_id)
        self.kept = KeptPrompts(kept_bytes)
        self.batch = Batch(lm, renderer.pad_token_id, self.kept)
        self._renderer = renderer
        self._map = confidence_map

    @property
    def name(self) -> str:
        """What answers are labelled with."""
        return self.source.name

    @cached_property
    def guides(self) -> GuideMaker:
        """Made when the first guided request comes: it reads the whole vocabulary."""
        from finetuned.inference.guide import GuideMaker

        return GuideMaker(
            self._renderer.tokenizer, self.lm.vocabulary, self._renderer.stop_token_ids
        )

    def text_ids(self, text: str) -> list[int]:
        """
        Return the tokens of a plain text.
        """
        return self._renderer.text_ids(text)

    def begin(self, order: Generate) -> RunningAnswer:
        """
        Return the answer to *order*, not begun.

        Raises:
            Refused: Its messages, its schema or its length cannot be answered.
        """
        prompt = self._prompt(order)
        room = self.positions - len(prompt)
        if room < 1:
            raise Refused(
                f"the prompt has {len(prompt)} tokens, and {self.name} reads at most "
                f"{self.positions} with the answer; shorten it",
                "prompt" if order.text is not None else "messages",
                too_long=True,
            )
        try:
            guard = self.guides.guard(order.sampling) if order.sampling.guide != "none" else None
        except ValueError as error:
            raise Refused(str(error), "response_format") from error
        return RunningAnswer(
            order,
            prompt,
            limit=min(order.sampling.max_tokens, room),
            decode=self._renderer.decode,
            stop_token_ids=self._renderer.stop_token_ids,
            guard=guard,
            confidence_map=self._map,
        )

    def _prompt(self, order: Generate) -> list[int]:
        if order.text is None:
            try:
                messages, tools = list(order.messages), list(order.tools) or None
                return self._renderer.conversation_ids(messages, tools)
            except MalformedExample as error:
                raise Refused(f"{error.reason}. {error.hint}".rstrip(". "), "messages") from error
        ids = self._renderer.text_ids(order.text)
        if not ids:
            raise Refused("the prompt is empty; write what is to be continued", "prompt")
        return ids
