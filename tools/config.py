#!/usr/bin/env python3
"""
Print the default config.toml with every field explained, or check one.

    $ tools/config.py > config.toml     # all defaults, commented: edit what differs
    $ tools/config.py | sed -n 6,8p
    # The base model: a name under models/base/, a directory, or a hub id such as
    # "Qwen/Qwen3-0.6B" that has been downloaded. The daemon itself never downloads.
    base = "micro"
    $ tools/config.py --check           # the checkout's config.toml
    config: config.toml: training.r must be 1 to 1024, got 0

The comments are the docstrings under the fields of daemon/finetuned/config.py,
read from its source, so they cannot differ from it.
"""

from __future__ import annotations

import _venv

_venv.activate()

import argparse
import ast
import inspect
import json
import signal
import sys
import textwrap
from dataclasses import fields
from pathlib import Path

from finetuned.config import Config, ignored_keys, load_config
from finetuned.errors import EXIT_CONFIG, ConfigError

HEADER = """\
# finetuned: every knob with its default. Printed by tools/config.py.
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


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            # A TOML basic string is a JSON string, but for DEL.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
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
            parts.append(f"\n{knob.name} = {_toml(getattr(table, knob.name))}\n\n")
    return "".join(parts).rstrip("\n") + "\n"


def main(argv: list[str] | None = None) -> int:
    """
    Print the default, or check a file.

    Returns:
        0, or 78 when the file is wrong or missing.
    """
    parser = argparse.ArgumentParser(
        prog="tools/config.py", description="Print the commented default config.toml, or check one."
    )
    parser.add_argument(
        "--check",
        metavar="FILE",
        type=Path,
        nargs="?",
        const=_venv.CHECKOUT / "config.toml",
        help="read FILE (default: the checkout's config.toml) and say what is wrong with it",
    )
    args = parser.parse_args(argv)
    if args.check is None:
        print(default_toml(), end="")
        return 0
    try:
        if not args.check.exists():
            raise ConfigError(f"{args.check}: no such file")
        found = load_config(args.check)
        for warning in ignored_keys(args.check):
            print(f"config: {args.check}: {warning}", file=sys.stderr)
    except ConfigError as error:
        print(f"config: {error}", file=sys.stderr)
        return EXIT_CONFIG
    changed = [
        f"{section}.{key} = {value!r}"
        for section, table in found.as_dict().items()
        for key, value in table.items()
        if value != getattr(getattr(Config(), section), key)
    ]
    print(f"{args.check}: valid; differs from the defaults in: {', '.join(changed) or 'nothing'}")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # | head ends it quietly
    sys.exit(main())
