"""
Answers held to JSON or to a JSON schema, token by token, by llguidance.

The whole answer is checked again when it has ended, by another library: a mask is a promise,
not a proof. Nothing is ever repaired. Does not know models or requests.
"""

from __future__ import annotations

from functools import lru_cache

import llguidance
import llguidance.hf
import llguidance.numpy
import orjson
import torch

from finetuned.core.answer_format import grammar_of
from finetuned.core.copy_marks import JsonSchema
from finetuned.core.generation import Guide, JsonObject, Sampling
from finetuned.core.json_schema import schema_complaint

_ANY_OBJECT: JsonObject = {"type": "object"}
_MOST_KEPT = 64
"""Schemas of which a maker keeps the beginning."""


class GuideMaker:
    """
    Makes the guards of one tokenizer.
    """

    def __init__(self, tokenizer: object, vocabulary: int, stop_token_ids: frozenset[int]) -> None:
        """
        Args:
            tokenizer: Of transformers, a fast one.
            vocabulary: Logits per position.
            stop_token_ids: Tokens that end an answer.
        """
        self._vocabulary = vocabulary
        self._tokenizer = llguidance.hf.from_tokenizer(
            tokenizer, n_vocab=vocabulary, eos_token=sorted(stop_token_ids)[0]
        )
        self._stops = sorted(stop_token_ids)
        self._begun: dict[bytes, llguidance.LLMatcher] = {}
        """Of schemas that were asked for, before the first token; few, and made once."""

    def guard(self, sampling: Sampling) -> Guard | None:
        """
        Return what holds an answer, None if it is free.

        Raises:
            ValueError: The schema is not one, or has a keyword that cannot be held.
        """
        if sampling.guide is Guide.NONE:
            return None
        schema = _ANY_OBJECT if sampling.guide is Guide.JSON_OBJECT else sampling.schema
        if schema is None:
            raise ValueError("a guide by a JSON Schema needs one")
        return self.guard_of(schema)

    def guard_of(self, schema: JsonSchema) -> Guard:
        """
        Return what holds an answer to *schema*.

        Raises:
            ValueError: As guard().
        """
        key = orjson.dumps(schema)
        if (begun := self._begun.get(key)) is None:
            begun = llguidance.LLMatcher(self._tokenizer, grammar_of(schema))
            if begun.is_error():
                reason = begun.get_error().strip().splitlines()[0]
                raise ValueError(f"this JSON Schema cannot be held: {reason}")
            if len(self._begun) >= _MOST_KEPT:
                self._begun.pop(next(iter(self._begun)))
            self._begun[key] = begun
        return Guard(begun.deep_copy(), schema, self._vocabulary, self._stops)


@lru_cache(maxsize=2)
def guides_of(tokenizer: object, vocabulary: int, stop_token_ids: frozenset[int]) -> GuideMaker:
    """
    Return the maker of a tokenizer's guards, made once: it reads the whole vocabulary.
    """
    return GuideMaker(tokenizer, vocabulary, stop_token_ids)


class Guard:
    """
    The grammar of one answer.
    """

    def __init__(
        self,
        matcher: llguidance.LLMatcher,
        schema: JsonSchema,
        vocabulary: int,
        stops: list[int],
    ) -> None:
        self._matcher = matcher
        self._schema = schema
        self._stops = stops
        self._vocabulary = vocabulary
        self._bits = llguidance.numpy.allocate_token_bitmask(1, vocabulary)

    @property
    def is_complete(self) -> bool:
        """Whether nothing can follow."""
        return bool(self._matcher.is_stopped())

    def allowed(self) -> torch.Tensor:
        """
        Return which tokens may come next, (V,) of bool, on the CPU.
        """
        # By numpy: llguidance.torch imports torch's compiler, which takes seconds.
        llguidance.numpy.fill_next_token_bitmask(self._matcher, self._bits, 0)
        shifts = torch.arange(32, dtype=torch.int32)
        bits = (torch.from_numpy(self._bits[0]).unsqueeze(1) >> shifts) & 1
        allowed = bits.flatten()[: self._vocabulary].bool()
        if self._matcher.is_accepting():
            allowed[self._stops] = True  # the mask knows one of them
        return allowed

    def accept(self, token: int) -> None:
        """
        Go on after *token*, which was allowed.

        Raises:
            ValueError: It was not.
        """
        if not self._matcher.consume_token(token):
            raise ValueError(f"the grammar does not allow token {token}")

    def likeliest(self, best: int, logits: torch.Tensor) -> int:
        """
        Return the likeliest token that may come next, and go on after it.

        The mask of all tokens is made only if the likeliest of all is not allowed, so that a
        model which keeps to the grammar costs next to nothing more.

        Args:
            best: The likeliest token of all.
            logits: (V,) of any device.
        """
        token = best
        if not self._takes(best):
            refused = ~self.allowed().to(logits.device)
            token = int(logits.float().masked_fill(refused, -torch.inf).argmax())
        if token not in self._stops:
            self.accept(token)
        return token

    def _takes(self, token: int) -> bool:
        if token in self._stops:
            return bool(self._matcher.is_accepting())
        return bool(self._matcher.validate_tokens([token]) == 1)

    def complaint(self, text: str) -> str | None:
        """
        Return why *text* is not what was asked for, None if it is.
        """
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            return f"not JSON: {error}"
        return schema_complaint(value, self._schema)
