"""
Found settings written into config.toml; the file as it was is kept beside it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from finetuned.config import config_from_dict, load_config
from finetuned.config.default_file import toml_value
from finetuned.core.toml_edit import with_values
from finetuned.core.tuning.space import Settings, with_settings
from finetuned.errors import ConfigError
from finetuned.files.atomic import write_atomic

TABLE = "training"


def apply_settings(config: Path, settings: Settings) -> Path | None:
    """
    Write *settings* into a configuration file, and return where the old one is kept.

    Args:
        config: config.toml; made if it is missing.
        settings: Of [training]. Those that the file has already are not written.

    Returns:
        None if there was no file, or it says the same already.

    Raises:
        ConfigError: The file is wrong, or written in a way in which the values cannot be
            replaced; it is as before, and the message says what to write by hand.
        OSError: The file system refused; likewise.
    """
    before = load_config(config)
    wanted = with_settings(before, settings)
    if wanted == before:
        return None
    today = before.training
    new = {k: toml_value(v) for k, v in settings.items() if getattr(today, k) != v}
    text = config.read_bytes().decode("utf-8-sig") if config.exists() else ""
    edited = with_values(text, TABLE, new)
    if not _means(edited, wanted):
        by_hand = "\n".join(f"{key} = {value}" for key, value in new.items())
        raise ConfigError(
            f"{config}: its [{TABLE}] is written in a way that cannot be edited here; nothing was "
            f"changed. Write there by hand:\n{by_hand}"
        )
    kept = None
    if config.exists():
        kept = _free_name(config)
        write_atomic(kept, config.read_bytes())
    write_atomic(config, edited.encode())
    return kept


def _means(text: str, wanted: object) -> bool:
    try:
        return config_from_dict(tomllib.loads(text)) == wanted
    except (tomllib.TOMLDecodeError, ConfigError):
        return False


def _free_name(config: Path) -> Path:
    """Return a name beside the file that is not taken: config.toml.before-tune, then -2 ..."""
    name = config.with_name(f"{config.name}.before-tune")
    number = 2
    while name.exists():
        name = config.with_name(f"{config.name}.before-tune-{number}")
        number += 1
    return name
