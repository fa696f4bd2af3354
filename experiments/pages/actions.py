"""
The infrastructure commands as tables, one for each domain, read from the table of actions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.pages.table import table

if TYPE_CHECKING:
    from finetuned.data.intents.fields import Action, Field


def actions() -> str:
    """
    Return the tables of all domains.
    """
    from finetuned.data.intents.table import DOMAINS, TABLE

    parts = []
    for domain in DOMAINS:
        rows = [_row(action) for action in TABLE if action.domain == domain]
        head = ["action", "values, in their order", "also read as"]
        parts.append(f"### {domain}\n\n{table(head, rows)}")
    return "\n".join(parts)


def _row(action: Action) -> list[str]:
    forms = "; or ".join(", ".join(map(_value, form)) for form in action.forms)
    spellings = ", ".join(f"`{spelling}`" for spelling in action.spellings)
    return [f"`{action.name}`" + (" (first)" if action.first else ""), forms, spellings]


def _value(field: Field) -> str:
    known = field.constant or field.kind.schema.get("enum")
    words = [known] if isinstance(known, str) else known
    said = f" {'/'.join(map(str, words))}" if isinstance(words, list) else ""
    text = f"`{field.name}`{said}"
    return text if field.needed else f"[{text}]"
