"""
The search space: which settings are tried, and between which values.

A person writes one text for each setting, such as ``learning_rate=1e-4..3e-3`` or
``r=8,16,32``. A setting is checked against the configuration before anything is trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, get_type_hints

from finetuned.config import Config, TrainingConfig
from finetuned.errors import ConfigError

Value = bool | int | float | str
Settings = Mapping[str, Value]
"""Values by the name of their setting."""

SECTION: Final = "training."
"""The section of every setting that can be searched; a person may write it or leave it out."""

LOGARITHMIC_FROM: Final = 10
"""A range of numbers above 0 is searched by its logarithm if it spans this factor or more."""

PRUNERS: Final = ("halving", "percentile", "median", "hyperband", "none")
"""What may end trials early."""

SAMPLERS: Final = ("tpe", "random")
"""What may choose settings."""

NOT_SEARCHED: Final = {
    "seed": "it stays the same in all trials, so that they differ by their settings alone",
    "accelerate_config": "it says where a job runs, not what it learns",
    "save_steps": "it does not change what is learnt",
    "keep_checkpoints": "it does not change what is learnt",
    "kernels": "it does not change what is learnt",
    "max_batch_tokens": "it does not change what is learnt",
    "patience": "the pruner decides when a trial ends",
    "min_delta": "the pruner decides when a trial ends",
}
"""Keys of [training] that a search leaves as they are, and why."""

OF_THE_ADAPTER: Final = ("method", "r", "lora_alpha", "lora_dropout", "target_modules")
"""Keys that a job which goes on from an adapter takes from it, whatever is configured."""


@dataclass(frozen=True, slots=True)
class Span:
    """
    All numbers from *low* to *high*.
    """

    low: float
    high: float
    logarithmic: bool
    whole: bool
    """Whether only whole numbers are meant."""

    def holds(self, value: Value) -> bool:
        """
        Return whether *value* lies in it.
        """
        if isinstance(value, str | bool):
            return False
        return self.low <= value <= self.high and (not self.whole or float(value).is_integer())

    def __str__(self) -> str:
        ends = (int(self.low), int(self.high)) if self.whole else (self.low, self.high)
        return f"{ends[0]!r}..{ends[1]!r}:{'log' if self.logarithmic else 'linear'}"


@dataclass(frozen=True, slots=True)
class Choices:
    """
    A few values, each as likely as the others.
    """

    values: tuple[Value, ...]
    """Two or more, all different."""

    def holds(self, value: Value) -> bool:
        """
        Return whether *value* is one of them.
        """
        return any(value == v and type(value) is type(v) for v in self.values)

    def __str__(self) -> str:
        return ",".join(_text(value) for value in self.values)


@dataclass(frozen=True, slots=True)
class Knob:
    """
    One setting that is searched.
    """

    name: str
    """A key of [training], without its section."""
    domain: Span | Choices

    def __str__(self) -> str:
        return f"{self.name}={self.domain}"


def parse_knob(text: str) -> Knob:
    """
    Return the setting that *text* describes: ``KEY=LOW..HIGH`` or ``KEY=VALUE,VALUE``.

    ``:log`` or ``:linear`` after a range says how it is searched.

    Raises:
        ConfigError: The form is wrong, the key is unknown or not searched, or a value is of
            another type or out of range. The message says what was found and expected.
    """
    name, equals, domain = text.partition("=")
    name = name.strip().removeprefix(SECTION)
    if not equals or not domain.strip():
        raise ConfigError(
            f"{text!r} is no setting to search: write KEY=LOW..HIGH, such as "
            "learning_rate=1e-4..3e-3, or KEY=VALUE,VALUE, such as r=8,16,32"
        )
    kind = _kind_of(name)
    knob = Knob(name, _domain(name, kind, domain.strip()))
    _check(knob)
    return knob


def parse_space(texts: Iterable[str]) -> tuple[Knob, ...]:
    """
    Return the space of several texts, in the order of their keys.

    Raises:
        ConfigError: As parse_knob, or a key is named twice.
    """
    knobs = [parse_knob(text) for text in texts]
    names = [knob.name for knob in knobs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{', '.join(twice)}: given twice; name each setting once")
    return tuple(sorted(knobs, key=lambda knob: knob.name))


def without_effect(knobs: Iterable[Knob], parent: str) -> None:
    """
    Refuse settings that a job which goes on from the adapter *parent* takes from it.

    Raises:
        ConfigError: One of *knobs* is such a setting.
    """
    found = [knob.name for knob in knobs if knob.name in OF_THE_ADAPTER]
    if found:
        raise ConfigError(
            f"{', '.join(found)}: a job that goes on from {parent} keeps the adapter of {parent}, "
            "so all values would give the same; leave it out, or search from the base model "
            "with --from base"
        )


def default_space(config: TrainingConfig, *, new_adapter: bool, replays: bool) -> tuple[Knob, ...]:
    """
    Return what is searched if a person names nothing: around the settings of today.

    Args:
        config: Of today.
        new_adapter: Whether a trial begins an adapter, so that its rank can be chosen.
        replays: Whether there are earlier rows to rehearse.
    """
    rate, rows = config.learning_rate, config.per_device_train_batch_size
    epochs, replay = config.num_train_epochs, config.replay_presentations
    schedules = dict.fromkeys((config.lr_scheduler_type, "wsd", "linear", "cosine"))
    knobs = [
        Knob("learning_rate", Span(max(1e-7, rate / 8), min(1.0, rate * 8), True, False)),
        Knob("per_device_train_batch_size", _around(rows, 1, 4096)),
        Knob("num_train_epochs", Span(1, min(1000, max(3, 2 * epochs)), False, True)),
        Knob("lr_scheduler_type", Choices(tuple(schedules))),
    ]
    if new_adapter and config.method != "full":
        knobs += [
            Knob("r", _around(config.r, 1, 1024)),
            Knob("lora_alpha", _around(config.lora_alpha, 1, 4096)),
        ]
    if replays:
        counts = sorted({0, replay // 2, replay, min(100_000, 2 * replay or 300)})
        knobs.append(Knob("replay_presentations", Choices(tuple(counts))))
    return tuple(sorted(knobs, key=lambda knob: knob.name))


def _around(value: int, low: int, high: int) -> Choices:
    found = {max(low, value // 2), value, min(high, 2 * value)}
    if len(found) == 1:
        found.add(value + 1 if value < high else value - 1)
    return Choices(tuple(sorted(found)))


def with_settings(config: Config, settings: Settings) -> Config:
    """
    Return *config* with other values of some keys of [training].

    Raises:
        ConfigError: A value is out of range.
    """
    changed: dict[str, Any] = dict(settings)
    return replace(config, training=replace(config.training, **changed))


def settings_of(config: TrainingConfig, knobs: Iterable[Knob]) -> dict[str, Value]:
    """
    Return the values that *config* has of the searched settings.
    """
    return {knob.name: getattr(config, knob.name) for knob in knobs}


def holds(knobs: Iterable[Knob], settings: Settings) -> bool:
    """
    Return whether *settings* are a point of the space: each knob has a value in its domain.
    """
    listed = list(knobs)
    return settings.keys() == {knob.name for knob in listed} and all(
        knob.domain.holds(settings[knob.name]) for knob in listed
    )


def _kind_of(name: str) -> type:
    hints: dict[str, type] = get_type_hints(TrainingConfig)
    searched = sorted(hints.keys() - NOT_SEARCHED)
    if name in NOT_SEARCHED:
        raise ConfigError(f"{SECTION}{name} is not searched: {NOT_SEARCHED[name]}")
    if name not in hints:
        raise ConfigError(
            f"there is no setting {SECTION}{name}; settings that can be searched: "
            f"{', '.join(searched)}"
        )
    return hints[name]


def _domain(name: str, kind: type, text: str) -> Span | Choices:
    if ".." not in text:
        return _choices(name, kind, text)
    if kind not in (int, float):
        raise ConfigError(f"{name} takes {_described(kind)}, not a range: write {name}=VALUE,VALUE")
    ends, _, scale = text.partition(":")
    low_text, _, high_text = ends.partition("..")
    low, high = (_value(name, kind, end) for end in (low_text, high_text))
    if not float(low) < float(high):
        raise ConfigError(f"{name}={text}: the first number must be below the second")
    if scale not in ("", "log", "linear"):
        raise ConfigError(f"{name}={text}: after the range comes :log or :linear, not :{scale}")
    if scale == "log" and float(low) <= 0:
        raise ConfigError(f"{name}={text}: a logarithmic range begins above 0")
    wide = float(low) > 0 and float(high) / float(low) >= LOGARITHMIC_FROM
    logarithmic = scale == "log" or (scale == "" and wide)
    return Span(float(low), float(high), logarithmic, kind is int)


def _choices(name: str, kind: type, text: str) -> Choices:
    values = tuple(_value(name, kind, part) for part in text.split(","))
    if len(set(map(repr, values))) != len(values):
        raise ConfigError(f"{name}={text}: a value is named twice")
    if len(values) < 2:
        raise ConfigError(
            f"{name}={text}: one value is nothing to choose from; to fix it, set {name} in "
            "config.toml"
        )
    return Choices(values)


def _value(name: str, kind: type, text: str) -> Value:
    text = text.strip()
    try:
        if kind is bool:
            return {"true": True, "false": False}[text]
        value: Value = kind(text)
    except (KeyError, ValueError):
        raise ConfigError(f"{name} takes {_described(kind)}, got {text!r}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} takes finite numbers, got {text!r}")
    return value


def _described(kind: type) -> str:
    return {bool: "true or false", int: "whole numbers", float: "numbers", str: "words"}[kind]


def _check(knob: Knob) -> None:
    """Refuse a domain with a value that the configuration does not take."""
    ends: tuple[Value, ...]
    if isinstance(knob.domain, Choices):
        ends = knob.domain.values
    else:
        low, high = knob.domain.low, knob.domain.high
        ends = (int(low), int(high)) if knob.domain.whole else (low, high)
    for end in ends:
        with_settings(Config(), {knob.name: end})


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)
