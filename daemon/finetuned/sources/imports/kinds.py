"""
The kinds of sources: each a reader with a name, and what it reads, in one line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from finetuned.sources.imports import chat_logs, decision_files, openai_rows, playbook
from finetuned.sources.imports.found import Reader


@dataclass(frozen=True, slots=True)
class Kind:
    """
    One kind of source.
    """

    name: str
    summary: str
    read: Reader
    takes_folder: bool = False
    """Whether a folder may be named instead of a file."""


KINDS: Final = (
    Kind(
        "decisions",
        "the table ai_decisions: a plain dump of PostgreSQL, CSV or JSON",
        decision_files.read,
        takes_folder=True,  # a dump in the directory format, which is refused with what to do
    ),
    Kind(
        "playbook",
        "Ansible playbooks and tasks of roles: a YAML file, or a folder of them",
        playbook.read,
        takes_folder=True,
    ),
    Kind("openai", "JSON lines that were made to fine-tune a model of OpenAI", openai_rows.read),
    Kind(
        "chat",
        "chat logs: exports of ChatGPT or Claude, JSON with messages, transcripts",
        chat_logs.read,
    ),
)
"""In the order in which the help lists them."""
