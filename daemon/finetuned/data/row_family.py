"""
The family of a row: the hash of its prompt, or of the prompt of the row it was made of.

A row and its children have one family, whatever file they stand in, so that they can be kept on
one side of every split. Pure.
"""

from __future__ import annotations

import re
from typing import Final

from finetuned.data.examples import Example, prompt_hash

KEY: Final = "augmentation"
"""In the metadata of a row that was made of another one: where it comes from."""

CORRECTION: Final = "correction"
"""Likewise of a row that was made of a wrong answer; see sources/correction/."""

_FAMILY: Final = re.compile(r"[0-9a-f]{16}")


def family_of(example: Example) -> int:
    """
    Return the family of a row, 64 bits: its own prompt hash unless it is a child.
    """
    for key in (CORRECTION, KEY):
        given = example.metadata.get(key)
        family = given.get("family") if isinstance(given, dict) else None
        if isinstance(family, str) and _FAMILY.fullmatch(family):
            return int(family, 16)
    return prompt_hash(example)


def is_correction(example: Example) -> bool:
    """
    Return whether a row says that it was made of a wrong answer.
    """
    return CORRECTION in example.metadata


def is_child(example: Example) -> bool:
    """
    Return whether a row says that it was made of another one.
    """
    return family_of(example) != prompt_hash(example)
