"""
No password of a command reaches the file of feedback, wherever it was written.
"""

from __future__ import annotations

import orjson
import pytest

from finetuned.data.reader import to_example
from finetuned.data.redacted_exchange import without_passwords
from support.feedback import USER

ASKED = [{"role": "user", "content": "create user ann with password s3cretly"}]


def test_text_without_a_password_stays_as_it_is() -> None:
    """
    Also text that only speaks of passwords.
    """
    turns, texts = without_passwords(ASKED, ["no", None, '{"password": 3', '["password"]'])
    assert (ASKED, ["no", None, '{"password": 3', '["password"]']) == (turns, texts)


@pytest.mark.parametrize("place", [0, 1])
def test_a_command_is_hidden_as_at_ingestion(place: int) -> None:
    """
    Question and command are what a training row of them would become, and no other text has it.
    """
    command = orjson.dumps(USER).decode()
    texts = [command, "s3cretly is wrong"] if place == 0 else ["s3cretly is wrong", command]

    turns, found = without_passwords(ASKED, texts)

    row = to_example({"messages": [*ASKED, {"role": "assistant", "content": command}]})
    assert row.messages == [*turns, {"role": "assistant", "content": found[place]}]
    assert "s3cretly" not in f"{turns}{found}"
    assert "secret://ann is wrong" == found[1 - place]


def test_a_command_of_no_known_kind_keeps_its_keys_and_loses_its_password() -> None:
    """
    Ingestion would refuse some of them; they are not written with a password for that.
    """
    wrong = '{"action": "user_add", "password": "s3cretly"}'
    other = '{"do": "x", "password": "s3cretly", "steps": [{"password": "action"}]}'
    earlier = [{"role": "assistant", "content": "s3cretly?"}, *ASKED]

    for text in (wrong, other):
        turns, found = without_passwords(earlier, [text])
        assert "s3cretly" not in f"{turns}{found}"
        assert orjson.loads(text).keys() == orjson.loads(str(found[0])).keys()
