"""
The default config.toml with every field explained.

The comments are the docstrings under the fields of the sections, read from their source, so
they cannot differ from it.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from dataclasses import fields

from finetuned.config import Config

HEADER = """\
# finetuned: every knob with its default. Printed by finetuned config.
# A missing key means its default; an unknown key, a wrong type or a value out
# of range is an error that names it. Read at start and between jobs.
"""


def field_docs() -> dict[tuple[str, str], str]:
    """
    Return the text under each field of each section.

    Returns:
        (class name, field name) -> the docstring, dedented; a field without one
        is not in it.
    """
    docs = {}
    for section in fields(Config):
        (node,) = ast.parse(inspect.getsource(type(getattr(Config(), section.name)))).body
        if not isinstance(node, ast.ClassDef):
            continue
        for field, text in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                docs[node.name, field.target.id] = inspect.cleandoc(text.value.value)
    return docs


def toml_value(value: object) -> str:
    """
    Return *value* as TOML writes it.

    Raises:
        TypeError: It is neither a bool, a number, a string nor a list of these.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            # A TOML basic string is a JSON string, except that DEL must be escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case tuple() | list():
            return f"[{', '.join(map(toml_value, value))}]"
    raise TypeError(f"no TOML for {value!r}")


def default_toml() -> str:
    """
    Return the commented default configuration, which parses to ``Config()``.
    """
    docs = field_docs()
    parts = [HEADER]
    for section in fields(Config):
        table = getattr(Config(), section.name)
        parts.append(f"\n[{section.name}]\n")
        for knob in fields(table):
            text = docs[type(table).__name__, knob.name]
            parts.append(textwrap.indent(text, "# ", lambda _: True))
            parts.append(f"\n{knob.name} = {toml_value(getattr(table, knob.name))}\n\n")
    return "".join(parts).rstrip("\n") + "\n"
