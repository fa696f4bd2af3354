"""
The keys of config.toml as tables, with the text that stands under each field of the code.
"""

from __future__ import annotations

from dataclasses import fields

from experiments.pages.table import table
from finetuned.config import Config
from finetuned.config.default_file import field_docs, toml_value


def settings() -> str:
    """
    Return one table for each section: key, default, meaning.
    """
    docs, parts = field_docs(), []
    for section in fields(Config):
        values = getattr(Config(), section.name)
        rows = [
            (
                f"`{section.name}.{key.name}`",
                f"`{toml_value(getattr(values, key.name))}`",
                docs[type(values).__name__, key.name],
            )
            for key in fields(values)
        ]
        parts.append(f"## {section.name}\n\n{table(('key', 'default', 'meaning'), rows)}")
    return "\n".join(parts)
