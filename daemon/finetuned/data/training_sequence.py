"""
Token ids and the mask of supervised tokens: what one row becomes, and the checks on it.

Does not know templates or tokenizers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from finetuned.errors import MalformedExample

_LONGER: Final = {
    True: "Nothing is cut: raise data.max_length, or shorten the row",
    False: "Nothing is cut, and the base reads no more: shorten the row, or use another base",
}


@dataclass(frozen=True, slots=True)
class TrainingSequence:
    """
    One row of training input.
    """

    input_ids: list[int]
    """Token ids, without padding."""

    supervised: list[bool]
    """For each id, whether the loss is taken on it; same length."""


@dataclass(frozen=True, slots=True)
class TurnIds:
    """
    The token ids of one assistant turn.
    """

    prompt: list[int]
    answer: list[int]


def join_turns(turns: Iterable[TurnIds]) -> list[TrainingSequence]:
    """
    Join the turns of a conversation into as few sequences as possible.

    A turn extends the sequence before it if its prompt begins with exactly those
    ids; otherwise it begins a new one, so that every turn is learned after the ids
    that serving shows. Only answers are supervised.
    """
    sequences: list[TrainingSequence] = []
    ids: list[int] = []
    mask: list[bool] = []
    for turn in turns:
        if ids and turn.prompt[: len(ids)] == ids:
            mask += [False] * (len(turn.prompt) - len(ids))
        else:
            if ids:
                sequences.append(TrainingSequence(ids, mask))
            mask = [False] * len(turn.prompt)
        ids = turn.prompt + turn.answer
        mask += [True] * len(turn.answer)
    sequences.append(TrainingSequence(ids, mask))
    return sequences


def length_limit(configured: int, models_own: int | None) -> tuple[int, str]:
    """
    Return the longest sequence in tokens, and the name of the limit that decides it.

    Args:
        configured: data.max_length.
        models_own: Positions that the base model was made for; None if it does not say.
    """
    if models_own is not None and models_own < configured:
        return models_own, "the base model's own limit"
    return configured, "data.max_length"


def check_sequences(
    sequences: Iterable[TrainingSequence],
    *,
    max_length: int,
    limited_by: str,
    stop_token_ids: frozenset[int],
) -> None:
    """
    Refuse sequences that are too long, teach nothing, or do not end with a stop token.

    Args:
        sequences: What one example became.
        max_length: Longest one, in tokens.
        limited_by: The name of that limit, for the message.
        stop_token_ids: Tokens with which an answer may end.

    Raises:
        MalformedExample: The code is too_long, no_supervised_token or no_stop_token.
    """
    for sequence in sequences:
        if len(sequence.input_ids) > max_length:
            raise MalformedExample(
                "too_long",
                f"{len(sequence.input_ids)} tokens after rendering, at most {max_length} "
                f"are allowed ({limited_by})",
                hint=_LONGER[limited_by == "data.max_length"],
            )
        if not any(sequence.supervised[1:]):
            raise MalformedExample(
                "no_supervised_token",
                "there is no token to learn: the first token of a row is predicted by nothing",
                hint="Give the row a prompt, or more text",
            )
        if not sequence.supervised[-1] or sequence.input_ids[-1] not in stop_token_ids:
            raise MalformedExample("no_stop_token", "the last learned token is not a stop token")
