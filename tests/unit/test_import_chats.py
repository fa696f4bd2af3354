"""
Chat logs and fine-tuning files: which conversations are found, and which are no rows.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetuned.errors import CannotImport
from finetuned.sources.imports import chat_logs, openai_rows
from finetuned.sources.imports.found import Found, FoundRow, Refusal, Source

TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def read(folder: Path, text: str, reader: object = chat_logs) -> list[Found]:
    path = folder / "log"
    path.write_text(text)
    return list(reader.read(Source(path, 1 << 16)))  # type: ignore[attr-defined]


def turns(found: Found) -> object:
    assert isinstance(found, FoundRow), found
    return found.row["messages"]


def node(parent: str | None, role: str, *parts: object, **more: object) -> dict[str, object]:
    """
    Return one message of ChatGPT's export.
    """
    content = {"content_type": more.pop("content_type", "text"), "parts": list(parts)}
    message = {"author": {"role": role}, "content": content, **more}
    return {"parent": parent, "message": message}


def chatgpt(**nodes: dict[str, object]) -> str:
    mapping = {"root": {"parent": None, "message": None}, **nodes}
    return json.dumps([{"id": "c1", "mapping": mapping, "current_node": list(mapping)[-1]}])


def test_of_a_tree_of_chatgpt_the_branch_that_was_shown_is_read(tmp_path: Path) -> None:
    """
    An answer that was generated again is not in it; hidden and empty messages neither.
    """
    export = chatgpt(
        s=node("root", "system", ""),
        h=node("s", "user", "x", metadata={"is_visually_hidden_from_conversation": True}),
        u=node("h", "user", "hi"),
        old=node("u", "assistant", "older answer"),
        a=node("u", "assistant", "hello"),
    )
    (found,) = read(tmp_path, export)
    assert TURNS == turns(found)
    assert isinstance(found, FoundRow)
    assert {"id": "c1"} == found.facts


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (node("u", "tool", "x"), "uses_tools"),
        (node("u", "assistant", "x", recipient="python"), "uses_tools"),
        (node("u", "assistant", {"asset_pointer": "x"}), "not_text"),
        (node("u", "assistant", "x", content_type="code"), "not_text"),
        (node("gone", "assistant", "x"), "damaged"),
        (node("a", "assistant", "x"), "damaged"),
    ],
)
def test_a_conversation_with_more_than_text_is_refused(
    tmp_path: Path, last: dict[str, object], reason: str
) -> None:
    """
    Pictures and tools cannot be trained, and a circle ends.
    """
    (found,) = read(tmp_path, chatgpt(u=node("root", "user", "hi"), a=last))
    assert isinstance(found, Refusal)
    assert (reason, "conversation 1") == (found.reason, found.place.part)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"messages": TURNS}),
        json.dumps([{"uuid": "1", "chat_messages": [
            {"sender": "human", "text": "hi"}, {"sender": "assistant", "text": "hello"}]}]),
        "".join(json.dumps({"session_id": 7, **turn}) + "\n" for turn in TURNS),
        "User: hi\nAssistant: hello\n",
        "**Human:** hi\n\nAI: hello",
        "[You]: hi\r\nClaude: hello\r\n---\n",
    ],
)  # fmt: skip
def test_each_spelling_of_a_conversation_is_read(tmp_path: Path, text: str) -> None:
    """
    Exports of Claude, one message a line, and transcripts.
    """
    assert [TURNS] == [turns(found) for found in read(tmp_path, text)]


def test_messages_of_several_sessions_are_told_apart(tmp_path: Path) -> None:
    """
    Also if they stand between each other.
    """
    lines = [{"chat_id": chat, **turn} for turn in TURNS for chat in ("a", "b")]
    found = read(tmp_path, "".join(json.dumps(line) + "\n" for line in lines))

    assert [TURNS, TURNS] == [turns(row) for row in found]
    assert [1, 2] == [row.place.line for row in found]


def test_conversations_of_a_transcript_are_divided_by_rules(tmp_path: Path) -> None:
    """
    A line without a speaker belongs to the one above.
    """
    found = read(tmp_path, "User: a\n  more: b\nBot: c\n---\n\nUser: d\nBot: e\nand f\n")

    assert [1, 6] == [row.place.line for row in found]
    assert "a\n  more: b" == turns(found[0])[0]["content"]  # type: ignore[index]
    assert "e\nand f" == turns(found[1])[1]["content"]  # type: ignore[index]


@pytest.mark.parametrize("text", ["", "no speaker here\n", "\n\n"])
def test_a_text_that_is_no_log_is_refused(tmp_path: Path, text: str) -> None:
    """
    With what is expected.
    """
    with pytest.raises(CannotImport, match="User"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"messages": [{"role": "user"}, 3]}, "bad_turn"),
        ({"messages": [{**TURNS[0], "attachments": [1]}]}, "not_text"),
        ({"a": 1}, "no_conversation"),
        ({"messages": TURNS, "confidence": 7}, "bad_value"),
        ({"role": "user", "session_id": "x"}, "bad_turn"),
        ([1], "bad_row"),
    ],
)
def test_what_is_no_conversation_is_one_refusal(tmp_path: Path, value: object, reason: str) -> None:
    """
    And the lines around it are read.
    """
    good = json.dumps({"messages": TURNS})
    before, refused, after = read(tmp_path, f"{good}\n{json.dumps(value)}\n{good}\n")
    assert isinstance(refused, Refusal)
    assert (TURNS, reason, TURNS) == (turns(before), refused.reason, turns(after))


@pytest.mark.parametrize("reader", [chat_logs, openai_rows])
def test_a_file_that_breaks_off_is_refused(tmp_path: Path, reader: object) -> None:
    """
    In the middle of its last line; a line in the middle that is wrong is one refusal.
    """
    good = json.dumps({"messages": TURNS}) + "\n"
    with pytest.raises(CannotImport, match="line 2: the file breaks off"):
        read(tmp_path, good + good[:20], reader)
    assert ["row", "bad_row", "row"] == [
        found.reason if isinstance(found, Refusal) else "row"
        for found in read(tmp_path, good + good[:20] + "\n" + good, reader)
    ]


def test_rows_of_openai_keep_their_keys_and_say_how_sure_they_are(tmp_path: Path) -> None:
    """
    Confidence and verification become provenance.
    """
    row = {"messages": TURNS, "parallel_tool_calls": False}
    lines = [{**row, "confidence": 0.5}, {**row, "verified": True}, {**row, "confidence": "x"}]
    first, second, third = read(
        tmp_path, "".join(json.dumps(line) + "\n" for line in lines), openai_rows
    )
    assert isinstance(first, FoundRow)
    assert isinstance(second, FoundRow)
    assert (row, 0.5, False) == (first.row, first.confidence, first.verified)
    assert (None, True) == (second.confidence, second.verified)
    assert isinstance(third, Refusal)
