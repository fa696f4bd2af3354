"""
The verbs of ``finetuned`` with their options, read from its parser.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from experiments.pages.table import table


def parsers() -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """
    Yield every command and sub-command: its words, its help, its parser.
    """
    from finetuned.cli.program import build_parser

    yield from _below("finetuned", build_parser())


def commands() -> str:
    """
    Return a section for each verb: what it does, its sub-commands, its options.
    """
    parts = []
    shared: set[str] = set()
    for words, summary, parser in parsers():
        found = {_spelling(action): action.help or "" for action in arguments(parser)}
        if words.count(" ") == 1:
            level, shared = "##", set(found)
        else:  # the options of the verb itself are not repeated
            level, found = "###", {k: v for k, v in found.items() if k not in shared}
        parts.append(f"{level} {words}\n\n{summary}\n")
        options = [(f"`{spelling}`", meaning) for spelling, meaning in found.items()]
        if options:
            parts.append(table(("argument", "meaning"), options))
    return "\n".join(parts)


def arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """
    Return the arguments and options of one command, help and sub-commands apart.
    """
    hidden = (argparse._HelpAction, argparse._SubParsersAction)
    return [action for action in parser._actions if not isinstance(action, hidden)]


def _below(
    words: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, sub in action.choices.items():
                yield f"{words} {name}", summaries[name], sub
                yield from _below(f"{words} {name}", sub)


def _spelling(action: argparse.Action) -> str:
    """Return an argument as a person types it, with the name of its value."""
    if action.option_strings:
        value = "" if action.nargs == 0 else f" {_value(action)}"
        return ", ".join(action.option_strings) + value
    return f"[{_value(action)}]" if action.nargs in ("?", "*") else _value(action)


def _value(action: argparse.Action) -> str:
    if action.choices is not None:
        return "{" + ",".join(str(c) for c in action.choices) + "}"
    name = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    return name if isinstance(name, str) else " ".join(name)
