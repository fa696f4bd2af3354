"""
What a command on versions answers, to a program and to a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from finetuned.cli.session import DONE
from finetuned.errors import RegistryError
from finetuned.layout import Layout
from finetuned.registry.current_model import incumbent


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The same facts twice.
    """

    data: Mapping[str, object]
    """Printed with --json."""
    text: str
    """Printed without."""
    status: int = DONE
    """Exit status."""

    def print(self, *, as_json: bool) -> int:
        """
        Print it to stdout and return the exit status.
        """
        print(orjson.dumps(self.data).decode() if as_json else self.text)
        return self.status


def chosen(layout: Layout, name: str | None) -> str:
    """
    Return *name*, or the version in use if it is None.

    Raises:
        RegistryError: None was named and none is in use.
    """
    name = name or incumbent(layout)
    if name is None:
        raise RegistryError("no version is in use yet; name one")
    return name
