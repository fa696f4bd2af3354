"""
Every command in a page can be typed: its program exists, and its verb and flags are known.
"""

from __future__ import annotations

import argparse
import importlib.util
import re

import pytest

from experiments.pages.commands import parsers
from finetuned.cli.program import build_parser
from support.pages import CHECKOUT, PAGES, commands, name, words

FROM_THE_SYSTEM = {
    ".", "accelerate", "cat", "cd", "cp", "curl", "git", "hf", "install", "jq", "journalctl",
    "llama-server", "minisign", "mv", "pip", "printf", "promtool", "python3", "sqlite3", "ssh",
    "systemctl", "touch", "usermod", "vllm", "xdg-open",
}  # fmt: skip
"""Programs of other packages that pages use."""

IN_BLOCKS = [(page, line) for page in PAGES for line in commands(page)]
IN_TEXT = [
    (page, code)
    for page in PAGES
    for code in re.findall(r"`((?:\.venv/bin/)?finetuned [^`]+|tools/[^`]+)`", page.read_text())
]
FINETUNED = re.compile(r"(?:sudo )?(?:\S*/)?finetuned (?=[a-z-])")


def program(line: str) -> list[str]:
    """
    Return the words of a command line from its program on.
    """
    found = words(line)
    while found and (found[0] == "sudo" or re.match(r"[A-Z_]+=", found[0])):
        found = found[1:]
    return found


def test_pages_hold_commands():
    """
    The laws below would hold of an empty list.
    """
    assert len(IN_BLOCKS) > 50
    assert len(IN_TEXT) > 5


@pytest.mark.parametrize(
    ("page", "line"), IN_BLOCKS, ids=[f"{name(p)}:{line[:50]}" for p, line in IN_BLOCKS]
)
def test_the_program_of_a_command_exists(page, line):
    """
    Nobody is told to run what is not there.
    """
    found = program(line)
    if not found or re.search(r"[{}<]|^(?:while|done|spec=|run=|EOF|\[)|^\s", line):
        return  # a row, a script's middle, or a form with places to fill in
    first = found[0]
    if first.startswith("tools/"):
        assert (CHECKOUT / first).is_file()
        assert (CHECKOUT / first).stat().st_mode & 0o111
    elif first.endswith("/python") and found[1:2] == ["-m"]:
        assert importlib.util.find_spec(found[2]) is not None
    elif "/" not in first:
        assert first in FROM_THE_SYSTEM | {"finetuned"}


def parser_of(line: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """
    Return the parser that a finetuned command ends at, and the words after it.

    Raises:
        KeyError: There is no such verb or sub-command.
    """
    parser, rest = build_parser(), line[1:]
    while True:
        subs = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if not subs or not rest or rest[0].startswith("-") or rest[0].isupper():
            return parser, rest
        parser, rest = subs[0].choices[rest[0]], rest[1:]


def flags(parser: argparse.ArgumentParser) -> set[str]:
    return {option for action in parser._actions for option in action.option_strings}


USES = [
    (page, line)
    for page, line in IN_BLOCKS + IN_TEXT
    if FINETUNED.match(line) or FINETUNED.match(" ".join(program(line)) + " ")
]


@pytest.mark.parametrize(("page", "line"), USES, ids=[f"{name(p)}:{line[:50]}" for p, line in USES])
def test_verbs_and_flags_of_finetuned_exist(page, line):
    """
    A verb or flag that is renamed is renamed in the pages.
    """
    parser, rest = parser_of(program(line))

    assert set() == {w for w in rest if re.match(r"--[a-z]", w)} - flags(parser)


def test_an_unknown_verb_or_flag_would_be_seen():
    """
    The reader of command lines is no rubber stamp.
    """
    with pytest.raises(KeyError):
        parser_of(["finetuned", "no-such-verb"])
    parser, rest = parser_of(["finetuned", "run", "--no-such-flag"])

    assert ["--no-such-flag"] == rest
    assert "--no-such-flag" not in flags(parser)
    assert "--until-idle" in flags(parser)


def test_a_help_prints_percent_signs_once():
    """
    argparse formats the help of an argument, and not the text at the end of a help page.
    """
    pages = {words: parser.format_help() for words, _, parser in parsers()}

    assert [] == [words for words, page in pages.items() if "%%" in page]
