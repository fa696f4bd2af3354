"""
Questions with gaps that a chat offers: those that come with the program, and those of a root.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from finetuned.errors import ConfigError
from finetuned.layout import Layout

FILE: Final = "templates.toml"

BUILT_IN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "dns": "please add a dns record for HOST.example.com pointing to 10.0.0.0",
        "user": "create the user NAME with home /home/NAME",
        "share": "share /srv/FOLDER over samba, read only",
        "disk": "which command shows what fills the disk at PATH?",
        "logs": "which command shows the errors of the service NAME since this morning?",
        "service": "how do I restart the service NAME, and see whether it came up?",
        "network": "which command shows what listens on port PORT?",
    }
)
"""The three tasks that the embedded base model knows, and usual questions of administrators."""


def load_templates(layout: Layout) -> Mapping[str, str]:
    """
    Return the templates of a root by name; its own replace those that come with the program.

    Raises:
        ConfigError: templates.toml cannot be read, or a value in it is no text.
    """
    path: Path = layout.root / FILE
    try:
        own = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return BUILT_IN
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    for name, text in own.items():
        if not isinstance(text, str) or not text.strip():
            raise ConfigError(f'{path}: {name} must be a text, such as {name} = "add HOST"')
    return {**BUILT_IN, **own}
