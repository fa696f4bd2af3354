"""
A frozen dataclass as one JSON object, and back.

What one process writes for another (a spec, a heartbeat, an exit record) is a
dataclass with one writer and one reader. The reader is strict: a key that the
class does not have, a missing key, or a value of another type is an error that
names the file. Knows types; does not know files.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from finetuned.config import Config, DataConfig, config_from_dict
from finetuned.errors import ConfigError, RecordError

T = TypeVar("T")

_SCALARS = (str, int, bool, float, type(None))

_CONFIGURATIONS: dict[Any, Callable[[Any], Any]] = {
    Config: config_from_dict,
    DataConfig: lambda table: config_from_dict({"data": table}).data,
}
"""A configuration checks its own keys and ranges, and knows which keys are retired."""


def to_json(value: object) -> Any:
    """
    Return *value* as what a JSON encoder takes.

    Args:
        value: A dataclass, or anything that a field of one may hold: text, numbers, None,
            enums, paths, tuples, mappings with text keys, and dataclasses.

    Raises:
        TypeError: It holds something else.
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def from_json(cls: type[T], value: object, *, source: Path | str) -> T:
    """
    Return the *cls* that *value* describes.

    Args:
        cls: A dataclass whose fields have the types that to_json takes.
        value: What a JSON parser returned.
        source: Where it was read, for the error.

    Raises:
        RecordError: A key is unknown or missing, or a value is of another type.
        ConfigError: A configuration in it has an unknown key or a value out of range.
    """
    found: T = _read(cls, value, "", str(source))
    return found


@cache
def _fields_of(cls: Any) -> tuple[tuple[Field[Any], Any], ...]:
    hints = get_type_hints(cls)
    return tuple((field, hints[field.name]) for field in fields(cls))


def _read(kind: Any, value: object, where: str, source: str) -> Any:
    origin = get_origin(kind)
    if kind in (Any, object):
        return value
    if origin in (Union, types.UnionType):
        return _read_union(get_args(kind), value, where, source)
    if kind is type(None):
        _expect(value is None, "null", value, where, source)
        return None
    if origin is tuple:
        _expect(isinstance(value, list), "a list", value, where, source)
        return _read_items(get_args(kind), value, where, source)
    if origin in (dict, Mapping):
        _expect(isinstance(value, dict), "an object", value, where, source)
        item = get_args(kind)[1]
        assert isinstance(value, dict)  # noqa: S101  narrows for the type checker
        return {k: _read(item, v, f"{where}.{k}", source) for k, v in value.items()}
    if kind in _CONFIGURATIONS:
        return _read_config(kind, value, where, source)
    if is_dataclass(kind):
        return _read_object(kind, value, where, source)
    return _read_scalar(kind, value, where, source)


def _read_union(members: tuple[Any, ...], value: object, where: str, source: str) -> Any:
    if value is None and type(None) in members:
        return None
    problems = []
    for member in members:
        if member is type(None):
            continue
        try:
            return _read(member, value, where, source)
        except RecordError as error:
            problems.append(error)
    raise problems[0]


def _read_items(kinds: tuple[Any, ...], value: Any, where: str, source: str) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    _expect(len(kinds) == len(value), f"{len(kinds)} items", value, where, source)
    return tuple(
        _read(kind, item, f"{where}[{i}]", source)
        for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _read_object(cls: Any, value: object, where: str, source: str) -> Any:
    _expect(isinstance(value, dict), "an object", value, where, source)
    assert isinstance(value, dict)  # noqa: S101  narrows for the type checker
    known = _fields_of(cls)
    names = {field.name for field, _ in known}
    if unknown := sorted(map(str, value.keys() - names)):
        raise RecordError(source, where, f"unknown key {', '.join(unknown)}")
    missing = [
        field.name
        for field, _ in known
        if field.name not in value and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise RecordError(source, where, f"missing key {', '.join(missing)}")
    found = {
        field.name: _read(hint, value[field.name], f"{where}.{field.name}", source)
        for field, hint in known
        if field.name in value
    }
    return cls(**found)


def _read_config(kind: Any, value: object, where: str, source: str) -> Any:
    _expect(isinstance(value, dict), "an object", value, where, source)
    try:
        return _CONFIGURATIONS[kind](value)
    except ConfigError as error:
        raise ConfigError(f"{source}: {where.lstrip('.')}: {error}") from None


def _read_scalar(kind: Any, value: object, where: str, source: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if kind in _SCALARS:
        _expect(type(value) is kind, kind.__name__, value, where, source)
        return value
    if kind is Path:
        _expect(isinstance(value, str), "a path", value, where, source)
        return Path(str(value))
    if isinstance(kind, type) and issubclass(kind, Enum):
        words = [member.value for member in kind]
        _expect(value in words, f"one of {', '.join(map(str, words))}", value, where, source)
        return kind(value)
    raise TypeError(f"{kind!r} cannot be read from JSON")


def _expect(ok: bool, expected: str, value: object, where: str, source: str) -> None:
    if not ok:
        raise RecordError(source, where, f"expected {expected}, found {value!r:.80}")
