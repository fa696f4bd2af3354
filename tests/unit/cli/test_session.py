"""
How a command on a root ends: what it returns, and what is said of an error.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from finetuned.cli.session import DONE, INTERRUPTED, REFUSED, on_root
from finetuned.errors import RegistryError
from finetuned.layout import Layout


def args(root: Path, *, as_json: bool = False) -> argparse.Namespace:
    return argparse.Namespace(root=root, json=as_json, verb=argparse.Namespace(name="tidy"))


def failing(error: BaseException) -> Callable[[Layout, argparse.Namespace], int]:
    def work(_layout: Layout, _args: argparse.Namespace) -> int:
        raise error

    return work


@pytest.mark.parametrize("status", [DONE, REFUSED, 7])
def test_the_exit_status_is_that_of_the_work(tmp_path: Path, status: int) -> None:
    """
    Which gets the root as an absolute path, so that it may change the directory.
    """
    roots: list[Path] = []

    def work(layout: Layout, _args: argparse.Namespace) -> int:
        roots.append(layout.root)
        return status

    (tmp_path / "link").symlink_to(tmp_path)
    assert status == on_root(args(tmp_path / "link"), work)
    assert [tmp_path.resolve()] == roots


@pytest.mark.parametrize(
    "error",
    [RegistryError("no version v9"), OSError(28, "disk full"), sqlite3.OperationalError("locked")],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_with_a_message_is_a_sentence_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception, as_json: bool
) -> None:
    """
    On stderr for a person; for a program also as JSON on stdout, which is else left empty.
    """
    assert REFUSED == on_root(args(tmp_path, as_json=as_json), failing(error))
    out, err = capsys.readouterr()

    assert f"finetuned tidy: {error}\n" == err
    assert (json.loads(out) if out else None) == ({"error": str(error)} if as_json else None)


@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_cannot_control_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    """
    A file name may be part of it.
    """
    on_root(args(tmp_path, as_json=as_json), failing(RegistryError("a\x1b[2J\nb")))
    out, err = capsys.readouterr()

    assert r"a\x1b[2J\nb" in err
    assert "\x1b" not in out + err


def test_ctrl_c_is_status_130_and_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The command says what is left of its work.
    """
    found = on_root(args(tmp_path), failing(KeyboardInterrupt()), interrupted="half is kept")

    assert INTERRUPTED == found
    assert "finetuned tidy: half is kept\n" == capsys.readouterr().err


def test_a_bug_is_not_hidden(tmp_path: Path) -> None:
    """
    It has no message for a person, so its traceback is what helps.
    """
    with pytest.raises(ZeroDivisionError):
        on_root(args(tmp_path), failing(ZeroDivisionError()))


def test_a_folder_that_is_no_root_gets_no_log(tmp_path: Path) -> None:
    """
    A command must not litter a folder that was named by mistake.
    """
    on_root(args(tmp_path), lambda _layout, _args: DONE)

    assert [] == list(tmp_path.iterdir())
