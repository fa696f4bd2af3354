"""
Chat logs: exports of ChatGPT and Claude, JSON with ``messages``, one message a line, transcripts.

What a log does not say is whether an answer was right, so every answer goes to a person unless
somebody vouches for the log. Knows files; the trees of ChatGPT are chatgpt.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Final

from finetuned.data.file_shape import FileShape
from finetuned.errors import CannotImport
from finetuned.sources.conversion.text import Text, open_text, telling_damage
from finetuned.sources.imports.chatgpt import NotAConversation, turns_of
from finetuned.sources.imports.found import Found, FoundRow, Place, Refusal, Source
from finetuned.sources.imports.json_values import objects_of
from finetuned.sources.imports.openai_rows import confidence_of

_SPEAKERS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("user", "human", "you", "customer", "client", "question", "q"), "user"),
    **dict.fromkeys(
        ("assistant", "ai", "bot", "chatgpt", "gpt", "claude", "model", "agent", "answer", "a"),
        "assistant",
    ),
    "system": "system",
}
_SAID: Final = re.compile(r"\**\[?([A-Za-z]{1,12})\]?\**\s*:\**\s?(.*)", re.DOTALL)
_RULE: Final = re.compile(r"\s*(?:-{3,}|={3,}|\*{3,})\s*")
_SESSION: Final = (
    *("conversation_id", "session_id", "thread_id", "chat_id", "conversation", "session"),
)
_TEXT: Final = ("content", "text", "message", "value")
_ROLE: Final = ("role", "sender", "author", "from", "speaker")
_OBJECT: Final = re.compile(rb"\{|\[\s*[\[{]")
"""How JSON begins; a transcript may begin with ``[User]:``."""
_JSON: Final = (FileShape.ARRAY, FileShape.OBJECTS, FileShape.LINES, FileShape.RETURNS)

Turns = list[dict[str, object]]


def read(source: Source) -> Iterator[Found]:
    """
    Yield what becomes of each conversation.

    Raises:
        CannotImport: It is no log of these kinds, or it breaks off.
        CannotConvert: Its compression, its JSON or its encoding is damaged.
    """
    with source.path.open("rb") as raw, telling_damage(), closing(open_text(raw)) as text:
        found = (
            _from_json(text, source)
            if text.shape in _JSON and _begins_json(text)
            else _from_transcript(text, source)
        )
        for n, item in enumerate(found, start=1):
            if n % 64 == 0:
                source.on_progress(raw.tell())
            yield item


def _begins_json(text: Text) -> bool:
    head = text.stream.read(1 << 12).replace(b"\0", b"")
    text.stream.seek(0)
    return _OBJECT.match(head.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\x1e")) is not None


def _from_json(text: Text, source: Source) -> Iterator[Found]:
    sessions: dict[str, tuple[Place, Turns]] = {}
    for n, (place, value, wrong) in enumerate(
        objects_of(text, source.path.name, source.max_bytes), start=1
    ):
        here = Place(place.file, place.line, f"conversation {n}")
        if value is None:
            yield Refusal(place, "bad_row", wrong)
        elif (session := _session(value)) is not None:
            if (turn := _turn(value)) is None:
                yield Refusal(place, "bad_turn", "a message has no role, or no text")
            else:
                sessions.setdefault(session, (place, []))[1].append(turn)
        else:
            yield _conversation(value, here)
    for session, (place, turns) in sessions.items():
        yield FoundRow(place=place, row={"messages": turns}, facts={"session": session})


def _session(value: Mapping[str, object]) -> str | None:
    """Return which conversation one message belongs to, None if *value* is no single message."""
    if not any(key in value for key in _ROLE) or "messages" in value:
        return None
    key = next((key for key in _SESSION if isinstance(value.get(key), str | int)), None)
    return None if key is None else str(value[key])


def _conversation(value: dict[str, object], place: Place) -> Found:
    try:
        confidence = confidence_of(value)
        if isinstance(value.get("mapping"), dict):
            turns = turns_of(value)
        elif isinstance(listed := value.get("messages", value.get("chat_messages")), list):
            turns = [_known(item) for item in listed]
        else:
            keys = ", ".join(sorted(value)[:20])
            return Refusal(
                place,
                "no_conversation",
                f"its keys are {keys}; expected messages, chat_messages, mapping, or one message "
                "with its role and conversation_id",
            )
    except NotAConversation as error:
        return Refusal(place, error.reason, error.detail)
    except ValueError as error:
        return Refusal(place, "bad_value", str(error))
    row: dict[str, object] = {"messages": turns}
    if value.get("tools"):
        row["tools"] = value["tools"]
    facts: dict[str, object] = {
        key: item
        for key in ("id", "uuid", "conversation_id")
        if isinstance(item := value.get(key), str)
    }
    return FoundRow(
        place=place,
        row=row,
        confidence=confidence,
        verified=value.get("verified") is True,
        facts=facts,
    )


def _known(item: object) -> dict[str, object]:
    """Return a turn in the spelling that training reads; calls of tools stay as they are."""
    if isinstance(item, dict) and (turn := _turn(item)) is not None:
        return turn
    if isinstance(item, dict) and isinstance(item.get("role"), str):
        return item
    raise NotAConversation("bad_turn", "a message has no role, or no text")


def _turn(item: Mapping[str, object]) -> dict[str, object] | None:
    role = next((item[key] for key in _ROLE if isinstance(item.get(key), str)), None)
    content = next((item[key] for key in _TEXT if item.get(key)), None)
    if not isinstance(role, str) or content is None:
        return None
    if item.get("attachments") or item.get("files"):
        raise NotAConversation("not_text", "a message has attachments, and only text is trained")
    turn: dict[str, object] = {
        "role": _SPEAKERS.get(role.casefold(), role.casefold()),
        "content": content,
    }
    calls = ("tool_calls", "tool_call_id", "function_call", "name")
    return {**turn, **{key: item[key] for key in calls if item.get(key)}}


def _from_transcript(text: Text, source: Source) -> Iterator[Found]:
    turns: Turns = []
    begins = number = n = 0
    for number, line in enumerate(text.characters, start=1):
        if len(line) > source.max_bytes:
            raise CannotImport(f"line {number} has more than {source.max_bytes} characters")
        if _RULE.fullmatch(line):
            if turns:
                n += 1
                yield _spoken(turns, Place(source.path.name, begins))
            turns = []
            continue
        match = _SAID.match(line)
        role = _SPEAKERS.get(match[1].casefold()) if match is not None else None
        if match is not None and role is not None:
            begins = begins if turns else number
            turns.append({"role": role, "content": match[2]})
        elif turns:
            turns[-1]["content"] = f"{turns[-1]['content']}{line}"
        elif line.strip():
            if n == 0:
                raise CannotImport(
                    f"line {number} begins with {line.strip()[:40]!r}; a transcript has lines such "
                    "as 'User: ...' and 'Assistant: ...', and --- between conversations"
                )
            yield Refusal(Place(source.path.name, number), "bad_turn", "nobody is named as speaker")
    if turns:
        yield _spoken(turns, Place(source.path.name, begins))
    elif n == 0:
        raise CannotImport("nobody says anything in it; expected lines such as 'User: ...'")


def _spoken(turns: Turns, place: Place) -> FoundRow:
    clean = [{**turn, "content": str(turn["content"]).strip()} for turn in turns]
    return FoundRow(place=place, row={"messages": clean})
