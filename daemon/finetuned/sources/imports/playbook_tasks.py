"""
One task of a playbook as a description and the parameters of its module. Pure.

The description is the task's name, in the words of whoever wrote it; a task without one is
refused, since nothing here makes one up. The answer is ``{"module": ..., "args": {...}}``.

A task whose name or parameters hold a Jinja expression is refused: its value is known where the
play runs, and an answer ``{{ app_user }}`` would teach a name that means nothing elsewhere.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from finetuned.sources.imports.ansible_words import (
    FREE_FORM,
    KEYWORDS,
    STEERING,
    full_name,
    short_name,
)
from finetuned.sources.imports.yaml_values import BadYaml, Vaulted, plain

_TEMPLATE: Final = ("{{", "{%", "{#")
_PARAMETER: Final = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_LOOPS: Final = ("loop", "until")


@dataclass(frozen=True, slots=True)
class TaskRow:
    """
    A task that can be a row.
    """

    description: str
    module: str
    """Its full name."""
    args: dict[str, object]
    vaulted: int
    """How many of its values were encrypted with ansible-vault."""


class NoRow(ValueError):
    """
    A task that is no row: the word by which it is counted, and a sentence.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def row_of(task: Mapping[object, object]) -> TaskRow:
    """
    Return the description and the parameters of a task.

    Args:
        task: A mapping of a YAML document, no block.

    Raises:
        NoRow: It is none; the reason is one of bad_yaml, no_module, steering, no_description,
            template, loop, no_log, bad_parameters.
    """
    try:
        return _row(task)
    except BadYaml as error:
        raise NoRow("bad_yaml", f"a value cannot be read: {error}") from None


def _row(task: Mapping[Any, Any]) -> TaskRow:
    module, given = _module(task)
    if short_name(module) in STEERING and full_name(module).startswith("ansible.builtin."):
        raise NoRow("steering", f"{module} steers the play and changes nothing on a host")
    name = task.get("name")
    if not isinstance(name, str) or not name.strip():
        raise NoRow("no_description", "the task has no name, and nothing else says what it is for")
    if any(key in task for key in _LOOPS) or any(str(key).startswith("with_") for key in task):
        raise NoRow("loop", "the task is run once for each item: one description, several actions")
    if task.get("no_log") not in (None, False, "no", "false", "off"):
        raise NoRow("no_log", "no_log says that its values are secret")
    vaulted = Vaulted()
    value = plain(given, vaulted=vaulted, key="value")
    args = _parameters(module, value)
    if isinstance(more := task.get("args"), Mapping):
        others = plain(more, vaulted=vaulted)
        assert isinstance(others, dict)  # noqa: S101 - a mapping stays one
        args = {**others, **args}
    elif more is not None:
        raise NoRow("template", "its args are an expression, known only where the play runs")
    if not args:
        raise NoRow("bad_parameters", f"{module} has no parameters: there is nothing to learn")
    text = " ".join(name.split())
    if (found := next(_templates([text, args]), None)) is not None:
        raise NoRow("template", f"{found[:60]!r} is known only where the play runs")
    return TaskRow(text, full_name(module), args, vaulted.n)


def _module(task: Mapping[Any, Any]) -> tuple[str, object]:
    """Return the module of a task, and what is given to it."""
    for key in ("action", "local_action"):
        if key in task:
            return _of_action(task[key], key)
    modules = [k for k in task if k not in KEYWORDS and not str(k).startswith("with_")]
    if len(modules) != 1 or not isinstance(modules[0], str):
        found = ", ".join(sorted(map(str, modules)))[:80] or "none"
        raise NoRow("no_module", f"a task has one module; found {found}")
    return str(modules[0]), task[modules[0]]


def _of_action(value: object, key: str) -> tuple[str, object]:
    if isinstance(value, str) and value.strip():
        module, _, rest = value.strip().partition(" ")
        return module, rest
    if isinstance(value, Mapping) and isinstance(value.get("module"), str):
        return str(value["module"]), {k: v for k, v in value.items() if k != "module"}
    raise NoRow("no_module", f"{key} names no module")


def _parameters(module: str, value: object) -> dict[str, object]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    if not isinstance(value, str):
        raise NoRow("bad_parameters", f"what is given to {module} is no mapping and no text")
    if short_name(module) in FREE_FORM:
        return {"cmd": value.strip()}
    return _pairs(module, value)


def _pairs(module: str, text: str) -> dict[str, object]:
    """Return the parameters of ``name=nginx state=present``."""
    if any(mark in text for mark in _TEMPLATE):
        raise NoRow("template", f"{text.strip()[:60]!r} is known only where the play runs")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise NoRow(
            "bad_parameters", f"the parameters of {module} cannot be read: {error}"
        ) from None
    if not all(_PARAMETER.fullmatch(word) for word in words):
        raise NoRow("bad_parameters", f"the parameters of {module} are not written as name=value")
    found: dict[str, object] = {}
    for key, _, value in (word.partition("=") for word in words):
        found[key] = {"yes": True, "true": True, "no": False, "false": False}.get(value, value)
    return found


def _templates(value: object) -> Iterator[str]:
    """Yield each text that holds a Jinja expression, in keys too."""
    if isinstance(value, str):
        if any(mark in value for mark in _TEMPLATE):
            yield value
    elif isinstance(value, list):
        for item in value:
            yield from _templates(item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _templates(key)
            yield from _templates(item)
