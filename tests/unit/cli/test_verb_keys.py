"""
``finetuned keys``: what it prints, and what it refuses.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from finetuned.cli.keys import DETAILS, SCOPES, seconds_of
from finetuned.cli.program import main
from finetuned.core.access import TIERS, Scope
from finetuned.files.keys import read_keys, split_key
from finetuned.layout import Layout


def keys(root: Path, *args: str) -> int:
    return main(["keys", *args, "--root", str(root)])


def answer(root: Path, capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, object]:
    assert 0 == keys(root, *args, "--json")
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_the_scopes_and_tiers_of_the_help_are_those_that_there_are() -> None:
    """
    The parser does not load them to know them.
    """
    assert tuple(Scope) == SCOPES
    for tier in TIERS.values():
        assert tier.name in DETAILS
        assert str(tier.requests_per_minute) in DETAILS
        assert str(tier.tokens_per_minute) in DETAILS


def test_a_key_is_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Its secret is in the answer to create, and nowhere in the root, the logs included.
    """
    (tmp_path / "logs").mkdir()
    made = answer(tmp_path, capsys, "create", "laptop", "--expires", "2d")
    parts = split_key(str(made["key"]))
    assert parts is not None

    assert ["ask", "feedback"] == made["scopes"]
    assert 0 == keys(tmp_path, "list")
    listed = capsys.readouterr().out
    assert "laptop" in listed
    assert parts[0] in listed
    assert parts[1] not in listed
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert [] == [p for p in files if parts[1].encode() in p.read_bytes()]
    assert "key_created" in (tmp_path / "logs" / "keys.log").read_text()


def test_a_key_lives_and_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Created, rotated with a time to change, revoked: three rows, one state each.
    """
    answer(tmp_path, capsys, "create", "a", "--scope", "metrics", "--tier", "high")
    new = answer(tmp_path, capsys, "rotate", "a", "--grace", "1h")
    answer(tmp_path, capsys, "create", "b")
    answer(tmp_path, capsys, "revoke", "b")
    rows = answer(tmp_path, capsys, "list")["keys"]

    assert isinstance(rows, list)
    assert ["ending", "live", "revoked"] == [row["state"] for row in rows]
    assert (["metrics"], "high") == (new["scopes"], new["tier"])
    assert not any({"salt", "hash", "key"} & row.keys() for row in rows)


@pytest.mark.parametrize(
    "args",
    [
        ("revoke", "nobody"),
        ("rotate", "nobody"),
        ("create", "a b"),
        ("create", "a", "--tier", "gold"),
    ],
)
def test_what_cannot_be_done_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...]
) -> None:
    """
    With one sentence, exit status 1 and no key.
    """
    assert 1 == keys(tmp_path, *args)
    assert capsys.readouterr().err.startswith("finetuned keys: ")
    assert () == read_keys(Layout(tmp_path)).keys


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("create",),
        ("create", ""),
        ("create", "a", "--scope", "all"),
        ("create", "a", "--expires", "soon"),
        ("rotate", "a", "--grace", "0h"),
    ],
)
def test_wrong_usage_is_status_2(tmp_path: Path, args: tuple[str, ...]) -> None:
    """
    Nothing is written.
    """
    with pytest.raises(SystemExit) as ended:
        keys(tmp_path, *args)

    assert 2 == ended.value.code
    assert [] == list(tmp_path.iterdir())


def test_an_empty_list_says_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A service without keys lets nobody in.
    """
    assert 0 == keys(tmp_path, "list")
    assert "finetuned keys create" in capsys.readouterr().out


def test_spans_of_time() -> None:
    """
    A number and one letter.
    """
    assert [90.0, 900.0, 43200.0, 2592000.0] == [
        seconds_of(s) for s in ("90s", "15m", "12h", "30d")
    ]
    for text in ("", "5", "1.5h", "-1h", "3651d", "1w", "1h "):
        with pytest.raises(argparse.ArgumentTypeError):
            seconds_of(text)
