"""
A chat template as the marks around each turn, for engines whose templates are not Jinja.

The template is asked with contents that stand for anything, and what it puts around them is
read off. Whether the marks are all that the template does is then tried on conversations of
several shapes: a template that does more is not expressible. Pure: rendering is a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from finetuned.errors import ExportRefused

Turns = Sequence[tuple[str, str]]
"""Role and content of each turn."""

Render = Callable[[Turns], str]
"""The text after which the model answers."""

_ONE, _TWO, _THREE = "\u2460first\u2460", "\u2461second\u2461", "\u2462third\u2462"

_SHAPES: Final[tuple[tuple[str, ...], ...]] = (
    ("user",),
    ("system", "user"),
    ("user", "assistant", "user"),
    ("system", "user", "assistant", "user"),
    ("system", "user", "assistant", "user", "assistant", "user"),
)


@dataclass(frozen=True, slots=True)
class ChatMarks:
    """
    What stands around the turns of a conversation.
    """

    begin: str
    """Before everything, a conversation with a system turn or without."""
    default_system: str
    """In place of a system turn that is not there."""
    system: tuple[str, str]
    """Before and after the content of a system turn."""
    user: tuple[str, str]
    first_user: str
    """Before the content of a user turn that follows the system turn."""
    assistant: tuple[str, str]
    ask: str
    """Where the answer begins."""

    def render(self, turns: Turns) -> str:
        """
        Return the prompt of a conversation.
        """
        has_system = turns[0][0] == "system"
        parts = [self.begin, "" if has_system else self.default_system]
        for i, (role, content) in enumerate(turns):
            before, after = {
                "system": self.system,
                "user": self.user,
                "assistant": self.assistant,
            }[role]
            if role == "user" and i == 1 and has_system:
                before = self.first_user
            parts += [before, content, after]
        return "".join([*parts, self.ask])


def marks_of(render: Render) -> ChatMarks:
    """
    Return the marks of a chat template.

    Raises:
        ExportRefused: The template cannot be expressed by marks around turns.
    """
    try:
        marks = _read(render)
    except ValueError:
        raise ExportRefused(
            "the chat template leaves out or rewrites the content of a turn, which a Modelfile "
            "cannot express; export with --to gguf: llama.cpp runs the template itself"
        ) from None
    for shape in _SHAPES:
        turns = [(role, f"{role} {i} says so.") for i, role in enumerate(shape)]
        wanted = render(turns)
        if (found := marks.render(turns)) != wanted:
            raise ExportRefused(
                "the chat template does more than put marks around turns, which a Modelfile "
                f"cannot express: it renders {', '.join(shape)} as {wanted[-80:]!r}, marks give "
                f"{found[-80:]!r}; export with --to gguf: llama.cpp runs the template itself"
            )
    return marks


def _read(render: Render) -> ChatMarks:
    head, user_after = _around(render([("user", _ONE)]), _ONE)
    whole = render([("user", _ONE), ("assistant", _TWO), ("user", _THREE)])
    rest = _around(whole, _ONE)[1]
    to_answer, rest = _around(rest, _TWO)
    to_user, end = _around(rest, _THREE)
    # What the end of a question and the beginning of an answer share is cut by the prompt's end.
    ask = _common_end(user_after, to_answer)
    after_user = user_after[: len(user_after) - len(ask)]
    with_system = render([("system", _ONE), ("user", _TWO)])
    system_head, rest = _around(with_system, _ONE)
    system_to_user, _ = _around(rest, _TWO)
    user_before = _common_end(to_user, head)
    begin = _common_beginning(head[: len(head) - len(user_before)], system_head)
    default = head[len(begin) : len(head) - len(user_before)]
    if end != user_after:
        raise ValueError("the last question ends differently after an answer")
    assistant_after = to_user[: len(to_user) - len(user_before)]
    split = len(_common_end(system_to_user, user_before))
    first_user = system_to_user[len(system_to_user) - split :]
    return ChatMarks(
        begin=begin,
        default_system=default,
        system=(system_head[len(begin) :], system_to_user[: len(system_to_user) - split]),
        user=(user_before, after_user),
        first_user=first_user,
        assistant=(ask, assistant_after),
        ask=ask,
    )


def _around(text: str, content: str) -> tuple[str, str]:
    if text.count(content) != 1:
        raise ValueError(f"the content stands {text.count(content)} times in the rendering")
    before, _, after = text.partition(content)
    return before, after


def _common_end(one: str, other: str) -> str:
    n = 0
    while n < min(len(one), len(other)) and one[-1 - n] == other[-1 - n]:
        n += 1
    return one[len(one) - n :]


def _common_beginning(one: str, other: str) -> str:
    n = 0
    while n < min(len(one), len(other)) and one[n] == other[n]:
        n += 1
    return one[:n]
