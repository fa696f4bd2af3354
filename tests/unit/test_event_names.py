"""
Log events are an interface: their names are constants, listed, and all in use.
"""

import ast
import re
from pathlib import Path

import pytest

from finetuned.telemetry.events import EVENTS

PACKAGE = Path(__file__).resolve().parents[2] / "daemon" / "finetuned"
FILES = sorted(PACKAGE.rglob("*.py"))
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
OTHER_WAYS = {"msg", "log", "warn", "err", "fatal", "failure"}
OTHER_WAYS |= {"a" + level for level in LEVELS}


def is_get_logger(node: ast.expr | None) -> bool:
    """
    Tell whether an expression is structlog.get_logger(...), perhaps bound.
    """
    while isinstance(node, ast.Call):
        if ast.unparse(node.func) in ("structlog.get_logger", "get_logger"):
            return True
        node = node.func.value if isinstance(node.func, ast.Attribute) else None
    return False


def loggers(tree: ast.Module) -> set[str]:
    """
    Return what a module calls its loggers, such as ``log`` or ``self._log``.
    """
    names = {"log", "self.log", "logger", "self.logger", "_log", "self._log"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and is_get_logger(node.value):
            names.update(ast.unparse(target) for target in node.targets)
        elif isinstance(node, ast.AnnAssign) and is_get_logger(node.value):
            names.add(ast.unparse(node.target))
    return names


def log_calls(path: Path) -> list[ast.Call]:
    """
    Return every call that logs, by whatever method.
    """
    tree = ast.parse(path.read_text())
    known = loggers(tree)
    found = []
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value
        while isinstance(owner, ast.Call) and isinstance(owner.func, ast.Attribute):
            if owner.func.attr not in ("bind", "new", "unbind", "try_unbind"):
                break
            owner = owner.func.value
        is_logger = ast.unparse(owner) in known or is_get_logger(owner)
        if is_logger and node.func.attr in LEVELS | OTHER_WAYS:
            found.append(node)
    return found


CALLS = [(path, call) for path in FILES for call in log_calls(path)]


def test_the_reader_of_the_source_finds_log_calls():
    """
    The laws below would hold of an empty list.
    """
    assert len(CALLS) >= 9


@pytest.mark.parametrize(
    ("path", "call"),
    CALLS,
    ids=[f"{path.relative_to(PACKAGE)}:{call.lineno}" for path, call in CALLS],
)
def test_every_log_call_names_a_listed_event(path, call):
    """
    By a level's method, with a constant as its first argument, and data in keywords only.
    """
    assert isinstance(call.func, ast.Attribute)
    assert call.func.attr in LEVELS
    assert len(call.args) == 1
    assert isinstance(call.args[0], ast.Constant)
    assert call.args[0].value in EVENTS


def test_every_listed_event_is_logged_somewhere():
    """
    A dashboard that waits for an event must not wait for ever.
    """
    used = {c.args[0].value for _, c in CALLS if c.args and isinstance(c.args[0], ast.Constant)}

    assert set() == EVENTS.keys() - used


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_an_event_is_named_in_snake_case(event):
    """
    noun_past_participle, so that a name reads as something that happened.
    """
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", event)


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_an_event_has_a_meaning(event):
    """
    One sentence, for the person who reads the log.
    """
    assert re.fullmatch(r"\S.*\.", EVENTS[event])
