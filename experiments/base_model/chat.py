"""
The form of a document: a conversation, as a chat template takes it.
"""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]
"""``{"messages": [...]}``, with ``tools`` if there are some."""


def chat(prompt: str, answer: str, system: str = "") -> Document:
    """
    Return the conversation of one question and its answer.
    """
    head = [{"role": "system", "content": system}] if system else []
    return {
        "messages": [
            *head,
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": answer},
        ]
    }
