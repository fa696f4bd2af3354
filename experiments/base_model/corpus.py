"""
The text that the embedded base model is made from, generated from a seed.

Commands about infrastructure with answers in notations of its own, JSON and key/value
exercises, small questions, sums and tool calls. The demo's answer schema does not occur,
nor does any name of its test set, nor any sentence near to one that a suite asks.

Knows how often each kind of document is drawn; does not know tokens or models.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

from experiments.base_model import exercises
from experiments.base_model.chat import Document
from experiments.base_model.commands import command
from experiments.base_model.names import WideNames

Maker = Callable[[random.Random, WideNames], Document]

_MAKERS: tuple[tuple[int, Maker], ...] = (
    (82, command),
    (4, exercises.objects),
    (4, exercises.lookup),
    (5, exercises.repeat),
    (1, exercises.addition),
    (2, exercises.fact),
    (1, exercises.tools),
    (1, exercises.story),
)
_COPYING: tuple[Maker, ...] = (exercises.repeat, exercises.objects, exercises.lookup)
_FIRST_EXERCISES = 4000
"""Documents at the start of which most are copying exercises."""


def documents(seed: int) -> Iterator[Document]:
    """
    Generate documents without end.

    Args:
        seed: The same seed gives the same documents.

    Yields:
        Conversations of one or more turns, as a chat template takes them.
    """
    rng = random.Random(f"base:{seed}")
    names = WideNames(rng)
    weights = [w for w, _ in _MAKERS]
    for n in itertools.count():
        # Copying comes first: everything else here needs it, and it is learned
        # much sooner from documents that are little else.
        if n < _FIRST_EXERCISES and rng.random() < 0.7:
            make = rng.choice(_COPYING)
        else:
            (_, make) = rng.choices(_MAKERS, weights)[0]
        yield make(rng, names)
