"""
``finetuned completion``: what a shell offers is what the parser takes.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from finetuned.cli.completion import SHELLS, commands_of
from finetuned.cli.program import NAMES, build_parser, main

COMMANDS = list(commands_of(build_parser()))


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert 0 == main(["completion", shell])
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_the_script(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Nothing is listed by hand, so nothing is forgotten.
    """
    text = script(shell, capsys)

    for command in COMMANDS:
        for word in command.following:
            assert word in text or f"-l {word.removeprefix('--')} " in text


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_that_its_shell_reads(
    shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """
    A syntax error would be shown at every start of a shell.
    """
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell}")
    path = tmp_path / "script"
    path.write_text(script(shell, capsys))

    subprocess.run([program, "-n", path], check=True)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["v"], ["versions"]),
        (["versions", "pr"], ["promote", "prune"]),
        (["--version", "versions", "rollback", "--t"], ["--to", "--to-base"]),
        (["versions", "pin", "list", "--j"], ["--json"]),
        (["completion", ""], ["bash", "zsh", "fish", "--help"]),
        (["make", "syllo", "--d"], ["--difficulty"]),
    ],
)
def test_bash_offers_what_may_follow(
    typed: list[str], offered: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The words before the cursor decide, options among them or not.
    """
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    code = (
        script("bash", capsys)
        + 'COMP_WORDS=(finetuned "$@"); COMP_CWORD=$#; _finetuned; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    found = subprocess.run(
        [bash, "-c", code, "bash", *typed], capture_output=True, text=True, check=True
    )

    assert offered == found.stdout.split()


def test_every_verb_can_be_completed() -> None:
    """
    The first word too.
    """
    assert [*NAMES] == [name for name, _ in COMMANDS[0].commands]
