"""
Prompts that are rendered already: the chat template would put its marks around them a second time.
"""

from __future__ import annotations

import re
from typing import Final

from finetuned.errors import MalformedExample

_ROLE_MARK: Final = re.compile(
    r"\s*(?:<s>|<\|begin_of_text\|>|<bos>)?\s*(\[INST\]|<<SYS>>|<\|im_start\|>|<start_of_turn>"
    r"|<\|start_header_id\|>|<\|(?:system|user|assistant)\|>|<\|start\|>|<\|turn>)"
)
"""How a prompt begins that one of the wide-spread templates has rendered."""


def refuse_markup(prompt: str, where: str) -> None:
    """
    Refuse a prompt that begins with the mark of a role.

    Raises:
        MalformedExample: template_markup.
    """
    if not prompt[:64].lstrip().startswith(("[", "<")):
        return
    match = _ROLE_MARK.match(prompt)
    if match is not None:
        raise MalformedExample(
            "template_markup",
            f"{where} begins with {match[1]!r}: a chat template has rendered it already, and the "
            "base's own would put its marks around it again",
            hint="Write the turns as messages without marks, or prompt and answer together as text",
        )
