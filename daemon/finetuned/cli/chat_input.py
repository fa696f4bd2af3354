"""
How a line of a chat is typed: with prompt_toolkit if it is installed, else with input().
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from finetuned.core.text import visible

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

MARK: Final = "> "

ReadLine = Callable[[str], str]
"""
Returns the line that was typed, given the text that is there to begin with.

Raises EOFError at Ctrl-D, KeyboardInterrupt at Ctrl-C.
"""


def history_file() -> Path:
    """
    Return where this person's history is kept.
    """
    state = os.environ.get("XDG_STATE_HOME", "").strip()
    return (Path(state) if state else Path.home() / ".local" / "state") / "finetuned/chat_history"


def private_file(path: Path) -> bool:
    """
    Make *path* if need be, and let nobody but its owner read it.

    Returns:
        False if that cannot be done here.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(fd, 0o600)
        finally:
            os.close(fd)
    except OSError:
        return False
    return True


def line_reader(commands: Sequence[str]) -> ReadLine:
    """
    Return how lines are read here.

    Args:
        commands: Offered for completion, such as ``/help``.
    """
    if sys.stdin.isatty() and sys.stdout.isatty():
        try:
            session = _session(commands)
        except ImportError:
            return _plain_line
        return lambda begun: str(session.prompt(MARK, default=begun))
    return lambda _: input()


def _plain_line(begun: str) -> str:
    if begun:
        print(f"({visible(begun)})")
    return input(MARK)


def _session(commands: Sequence[str]) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        """Alt-Enter begins another line."""
        event.current_buffer.insert_text("\n")

    path = history_file()
    return PromptSession(
        history=FileHistory(str(path)) if private_file(path) else InMemoryHistory(),
        completer=WordCompleter(list(commands), sentence=True),
        complete_while_typing=False,
        key_bindings=keys,
        enable_open_in_editor=True,
    )
