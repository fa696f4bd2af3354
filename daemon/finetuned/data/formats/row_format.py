"""
One row format: its name, the keys by which it is known, and what its reader does with each key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from finetuned.data.examples import Example
from finetuned.data.formats.draft import Draft
from finetuned.data.formats.keys import Keys, Row


@dataclass(frozen=True, slots=True)
class RowFormat:
    """
    A format that a row may have.
    """

    name: str
    """One word: ``Example.format``."""
    title: str
    """The keys it needs and may have, as messages list them."""
    needs: tuple[str, ...]
    """A row that has a value for all of them is read as this format."""
    keys: Keys
    """What is done with each key of a row; one that is missing is unknown."""
    read: Callable[[Row, Draft], Example]
    """Makes the example; raises MalformedExample."""
