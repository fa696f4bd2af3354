"""
``finetuned canary``: what the parser refuses, and what its help names.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from finetuned.cli.canary import TEXT_SCORERS
from finetuned.cli.program import main
from finetuned.core.scoring.scorer import CHOICE, SCORERS
from finetuned.data.suite import load_suite
from finetuned.files.shipped import shipped


def test_the_scorers_of_the_help_are_those_that_there_are() -> None:
    """
    The parser does not load the scorers to know them.
    """
    assert [name for name in SCORERS if name != CHOICE] == list(TEXT_SCORERS)


@pytest.mark.parametrize(
    "args",
    [
        ["--id", "a"],
        ["--id", "a", "--prompt", "p"],
        ["--id", "a", "--prompt", "p", "--expected", "e", "--as-is"],
        ["--id", "a", "--prompt", "p", "--expected", "e", "--line", "1"],
        ["--from-production", "f", "--prompt", "p"],
        ["--from-production", "f", "--as-is", "--expected", "e"],
        ["--from-production", "f", "--line", "0"],
        ["--from-production", ""],
        ["--suite", "examples/canaries", "--id", "a"],
        ["--suite", "examples/canaries", "--as-is"],
        ["--suite", ""],
    ],
)
def test_arguments_that_do_not_fit_together_are_wrong_usage(
    args: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Nothing is written, and the usage is shown.
    """
    with pytest.raises(SystemExit) as ended:
        main(["canary", "add", *args, "--root", str(tmp_path)])

    assert 2 == ended.value.code
    assert capsys.readouterr().err.startswith("usage: finetuned canary")
    assert [] == list(tmp_path.iterdir())


def test_a_list_that_is_not_there_is_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    And the first command to type is named.
    """
    assert 0 == main(["canary", "list", "--root", str(tmp_path)])
    assert "finetuned canary add" in capsys.readouterr().out


def test_the_examples_are_added_by_name_all_or_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    They come with the program; a second time changes nothing.
    """
    add = ["canary", "add", "--suite", "examples/canaries", "--root", str(tmp_path)]
    example = load_suite(shipped().benchmarks / "examples" / "canaries.jsonl")
    path = tmp_path / "benchmarks" / "canaries.jsonl"

    assert 0 == main(add)
    assert f"{len(example.questions)} canaries were added" in capsys.readouterr().out
    added = path.read_bytes()
    assert example.questions == load_suite(path).questions
    assert 0 != main(add)
    assert "already; nothing was changed" in capsys.readouterr().err
    assert added == path.read_bytes()
