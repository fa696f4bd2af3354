"""
Every knob, its unit, its range, its default, and why.

One frozen dataclass per room. A room is given its own section and never the
whole tree, so a room depends on no key but those of its section. Knows TOML;
does not know who uses a value.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from finetuned.config.costs import CostsConfig
from finetuned.config.data import DataConfig, InboxConfig
from finetuned.config.evaluation import EvaluationConfig, GateConfig, WatchConfig, parse_gates
from finetuned.config.report import ReportConfig
from finetuned.config.retired import is_retired, retired_keys
from finetuned.config.service import RegistryConfig, SupervisorConfig
from finetuned.config.serving import ServingConfig
from finetuned.config.training import ModelConfig, TrainingConfig
from finetuned.errors import ConfigError

__all__ = [
    "Config",
    "CostsConfig",
    "DataConfig",
    "EvaluationConfig",
    "GateConfig",
    "InboxConfig",
    "ModelConfig",
    "RegistryConfig",
    "ReportConfig",
    "ServingConfig",
    "SupervisorConfig",
    "TrainingConfig",
    "WatchConfig",
    "config_from_dict",
    "ignored_keys",
    "load_config",
    "load_sections",
    "parse_gates",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """
    All sections; only the supervisor and the commands hold it.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    inbox: InboxConfig = field(default_factory=InboxConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)
    registry: RegistryConfig = field(default_factory=RegistryConfig)
    supervisor: SupervisorConfig = field(default_factory=SupervisorConfig)
    serving: ServingConfig = field(default_factory=ServingConfig)
    costs: CostsConfig = field(default_factory=CostsConfig)
    report: ReportConfig = field(default_factory=ReportConfig)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """
        Return the resolved configuration as plain tables, for run and version records.

        Lists of words are lists, as JSON and TOML have them.
        """
        return {
            section: {k: list(v) if isinstance(v, tuple) else v for k, v in keys.items()}
            for section, keys in asdict(self).items()
        }


_WORDS = tuple[str, ...]
"""The type of a key whose value is a list of words."""


def _words(key: str, value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ConfigError(f"{key} must be a list of words, got {type(value).__name__} {value!r}")


def _section(name: str, cls: type, table: object) -> Any:
    if not isinstance(table, Mapping):
        raise ConfigError(f"[{name}] must be a table, got {table!r}")
    hints = get_type_hints(cls)
    known = {f.name for f in fields(cls)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if is_retired(name, key):
            continue
        if key not in known:
            raise ConfigError(f"unknown key {name}.{key}; known keys: {', '.join(sorted(known))}")
        expected = hints[key]
        if expected is float and type(value) is int:
            value = float(value)
        if expected == _WORDS:
            values[key] = _words(f"{name}.{key}", value)
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name}.{key} must be a finite number, got {value}")
        if type(value) is not expected:
            raise ConfigError(
                f"{name}.{key} must be {expected.__name__}, got {type(value).__name__} {value!r}"
            )
        values[key] = value
    return cls(**values)


def config_from_dict(tables: Mapping[str, object]) -> Config:
    """
    Build a configuration from plain tables, such as a run's record of it.

    Raises:
        ConfigError: An unknown section or key, a wrong type, or a value out of range.
    """
    known = [f.name for f in fields(Config)]
    for name in tables:
        if name not in known:
            raise ConfigError(f"unknown section [{name}]; known sections: {', '.join(known)}")
    classes = get_type_hints(Config)
    return Config(**{name: _section(name, classes[name], t) for name, t in tables.items()})


def load_config(path: Path) -> Config:
    """
    Read *path*; a missing file means all defaults. A byte order mark is skipped.

    Raises:
        ConfigError: Not TOML, unknown key, wrong type or out of range. The message
            names the file, the key and the range.
    """
    tables = _read_tables(path)
    try:
        return config_from_dict(tables)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def load_sections(path: Path, wanted: Collection[str]) -> tuple[Config, list[str]]:
    """
    Read the *wanted* sections of *path*; the other sections keep their defaults.

    For commands that need few values and must work although something else is misspelled.

    Returns:
        The configuration, and one sentence per mistake in the sections that are not wanted.

    Raises:
        ConfigError: Not TOML, or a mistake in a wanted section.
    """
    tables = _read_tables(path)
    mistakes = []
    for name, table in tables.items():
        if name not in wanted:
            try:
                config_from_dict({name: table})
            except ConfigError as error:
                mistakes.append(f"{path}: {error}")
    try:
        return config_from_dict({n: t for n, t in tables.items() if n in wanted}), mistakes
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def ignored_keys(path: Path) -> list[str]:
    """
    Return one sentence for each key of *path* that is accepted and has no effect any more.

    Raises:
        ConfigError: The file cannot be read or is not TOML.
    """
    return retired_keys(_read_tables(path))


def _read_tables(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
