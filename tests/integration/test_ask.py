"""
The embedded base model asked from a terminal and from a pipe, without a service.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from support.daemon import PACKAGE_PARENT
from support.terminal import Terminal

ASK = [sys.executable, "-m", "finetuned", "ask", "--model", "base", "--json"]
QUESTION = "create the user jdoe with home /home/jdoe"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PACKAGE_PARENT)}

LEAN = """
import sys, json
import finetuned.model.lean_imports
from transformers import AutoModelForCausalLM
put_off = {"torch._dynamo": "optimize", "torch.export": "export",
           "torch.distributed.tensor": "DTensor"}
before = [name for name, part in put_off.items() if part in vars(sys.modules[name])]
absent = [name for name in ("scipy", "sympy", "peft") if name in sys.modules]
import torch
twice = torch.compile(lambda x: x + x, backend="eager")(torch.ones(1)).item()
after = sorted(name for name, part in put_off.items() if hasattr(sys.modules[name], part))
print(json.dumps([before, absent, twice, after]))
"""


def ask(root: Path, *args: str) -> tuple[int, dict[str, object]]:
    """
    Return exit status and JSON object of a question.
    """
    found = subprocess.run(
        [*ASK, *args, "--root", str(root)], capture_output=True, check=False, env=ENVIRONMENT
    )
    return found.returncode, json.loads(found.stdout)


def test_the_embedded_base_model_answers_and_holds_a_schema(tmp_path: Path) -> None:
    """
    The same seed gives the same answer; a schema whose answer is cut is no success.
    """
    schema = tmp_path / "schema.json"
    properties = {"action": {"enum": ["create", "delete"]}}
    schema.write_text(
        json.dumps({"type": "object", "properties": properties, "required": ["action"],
                    "additionalProperties": False})
    )  # fmt: skip
    drawn = [
        ask(tmp_path, "--temperature", "1.2", "--seed", "5", "--max-tokens", "12", QUESTION)
        for _ in range(2)
    ]
    status, held = ask(tmp_path, "--schema", str(schema), QUESTION)
    cut, _ = ask(tmp_path, "--schema", str(schema), "--max-tokens", "1", QUESTION)

    assert drawn[0][0] == drawn[1][0] == 0
    assert drawn[0][1]["text"] == drawn[1][1]["text"]
    assert (0, "stop", "base") == (status, held["finish_reason"], held["model"])
    assert json.loads(str(held["text"]))["action"] in {"create", "delete"}
    assert 1 == cut
    assert [schema] == list(tmp_path.iterdir())


def test_what_was_put_off_is_imported_when_it_is_used() -> None:
    """
    A library that does need torch's compiler gets the real one.
    """
    found = subprocess.run(
        [sys.executable, "-c", LEAN], capture_output=True, check=True, env=ENVIRONMENT
    )

    assert [
        [],
        [],
        2.0,
        ["torch._dynamo", "torch.distributed.tensor", "torch.export"],
    ] == json.loads(found.stdout)


def test_a_chat_is_a_conversation_with_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Ctrl-C ends the answer and not the chat; what is saved is a row; the history is private.
    """
    pytest.importorskip("prompt_toolkit")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    saved = tmp_path / "chat.jsonl"
    chat = Terminal("chat", "--model", "base", "--root", str(tmp_path))
    for typed, shown in (
        ("", "base (loaded here)"),
        ("/help\r", "ends an answer"),
        (f"{QUESTION}\r", " tokens, first after"),
        (f"/save {saved}\r", "2 turns are in"),
        ("/templates dns\r", "HOST.example.com"),
        ("\x03", "nothing is running"),
        ("/nope\r", "there is no command /nope"),
        ("/reset\r", "forgotten"),
        ("/quit\r", "/quit"),
    ):
        chat.type(typed)
        chat.wait_for(shown)
    status = chat.close()
    history = tmp_path / "state" / "finetuned" / "chat_history"

    assert 0 == status
    assert [QUESTION, "jdoe now has an account."] == [
        turn["content"] for turn in json.loads(saved.read_text())["messages"]
    ]
    assert 0o600 == stat.S_IMODE(history.stat().st_mode) == stat.S_IMODE(saved.stat().st_mode)
    assert f"+{QUESTION}" in history.read_text()
