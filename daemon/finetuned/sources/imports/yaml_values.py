"""
YAML as Ansible reads it, with line numbers, and its values as JSON. Needs the package ruamel.yaml,
which finetuned[import] installs.

Words follow YAML 1.1 (``yes`` is true); a number with a leading zero keeps its digits as text
(``0644`` is no 420). No object is made of a tag. A file that grows when its references are
followed is refused, not followed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from finetuned.errors import CannotImport

MAX_BYTES: Final = 4 * 2**20
"""Largest YAML file that is read; playbooks have a few thousand bytes."""

_MOST_VALUES: Final = 10_000
_DEEPEST: Final = 32
VAULT: Final = "!vault"
_WORDS: Final = {"yes": True, "on": True, "no": False, "off": False}
"""What these words mean if they stand without quotes."""
_PLAIN_TAGS: Final = ("!unsafe", "tag:yaml.org,2002:str")


class BadYaml(ValueError):
    """
    Text that cannot be read as YAML, or a value that is not JSON; the message says what and where.
    """


@dataclass(slots=True)
class Vaulted:
    """
    How many values were encrypted with ansible-vault.
    """

    n: int = 0


def need_ruamel() -> None:
    """
    Raise CannotImport if ruamel.yaml is not installed.
    """
    try:
        import ruamel.yaml  # noqa: F401
    except ImportError:
        raise CannotImport(
            "reading playbooks needs the package ruamel.yaml, which is not installed: "
            "pip install 'finetuned[import]', or pip install ruamel.yaml"
        ) from None


def documents(data: bytes) -> list[object]:
    """
    Return the documents of a YAML file; mappings and sequences know their lines.

    Raises:
        BadYaml: It is no YAML, too deep, has a key twice, or refers to itself.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadYaml(f"it is not UTF-8 ({error.reason})") from None
    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    try:
        if "*" in text:
            _refuse_loops(text)
        return list(yaml.load_all(io.StringIO(text)))
    except RecursionError:
        raise BadYaml("it is nested too deeply") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f"line {mark.line + 1}: "
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise BadYaml(f"{where}{' '.join(str(problem).split())[:200]}") from None
    except (ValueError, TypeError, AttributeError, NotImplementedError, AssertionError) as error:
        raise BadYaml(f"{' '.join(str(error).split())[:200] or type(error).__name__}") from None


def _refuse_loops(text: str) -> None:
    """Refuse a collection that holds itself, of which the loader makes null without a word."""
    from ruamel.yaml import YAML
    from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

    around: list[str | None] = []
    for event in YAML(typ="rt", pure=True).parse(io.StringIO(text)):
        if isinstance(event, CollectionStartEvent):
            around.append(event.anchor)
        elif isinstance(event, CollectionEndEvent):
            around.pop()
        elif isinstance(event, AliasEvent) and event.anchor in around:
            raise BadYaml(f"line {event.start_mark.line + 1}: it refers to itself")


def line_of(node: object) -> int:
    """
    Return the line on which a mapping or a sequence of a document begins, from 1.
    """
    lc = getattr(node, "lc", None)
    return 1 if lc is None or lc.line is None else int(lc.line) + 1


def plain(node: object, *, vaulted: Vaulted, key: str = "secret") -> object:
    """
    Return a value of a document as JSON; an encrypted value is a reference to a secret.

    Args:
        node: A value of documents().
        vaulted: Is told of each encrypted value.
        key: What the value is called, for the reference.

    Raises:
        BadYaml: It has a tag that is not known, is too large or too deep, or has a value that
            JSON does not have.
    """
    budget = iter(range(_MOST_VALUES))
    return _plain(node, key, 0, budget, vaulted)


def _plain(node: Any, key: str, depth: int, budget: Iterator[int], vaulted: Vaulted) -> object:
    if depth > _DEEPEST or next(budget, None) is None:
        raise BadYaml("it is too large, or too deep")
    tag = getattr(getattr(node, "tag", None), "value", None)
    if tag == VAULT:
        vaulted.n += 1
        return f"secret://{key}"
    if tag is not None and tag not in _PLAIN_TAGS:
        raise BadYaml(f"it has the tag {str(tag)[:40]}, which is not read")
    if isinstance(node, dict):
        return {
            (name := _key(k)): _plain(v, name, depth + 1, budget, vaulted) for k, v in node.items()
        }
    if isinstance(node, list | tuple):
        return [_plain(item, key, depth + 1, budget, vaulted) for item in node]
    return str(node.value) if tag is not None else _scalar(node)


def _scalar(node: Any) -> object:
    """Return a value that is neither a mapping nor a sequence."""
    if isinstance(node, str):
        # A class of its own says that it was in quotes.
        return _WORDS.get(node.lower(), str(node)) if type(node) is str else str(node)
    if isinstance(node, bool) or node is None:
        return node
    if isinstance(node, int):
        digits, width = str(int(node)), getattr(node, "_width", None) or 0
        return digits.zfill(width) if width > len(digits) else int(node)
    if isinstance(node, float):
        if not math.isfinite(node):
            raise BadYaml(f"found {float(node)}, which JSON cannot say")
        return float(node)
    return str(node)  # a date: Ansible passes its text on


def _key(value: object) -> str:
    if isinstance(value, str | int) or value is None:
        return str(value)
    raise BadYaml("a key is no word")
