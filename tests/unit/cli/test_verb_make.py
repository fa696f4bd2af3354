"""
``finetuned make``: rows to the standard output, into an inbox, or as test sets.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from finetuned.cli.make import DOMAINS, LEVELS, write_test_sets
from finetuned.cli.program import main
from finetuned.data import intents
from finetuned.sources import syllo

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def test_the_levels_and_domains_of_the_help_are_those_of_the_sources() -> None:
    """
    The parser does not load them to know them.
    """
    assert intents.DOMAINS == DOMAINS
    assert list(syllo.LEVELS) == list(LEVELS)


@pytest.mark.parametrize("dataset", ["intents", "syllo"])
def test_the_test_sets_of_the_repository_are_what_is_made(dataset: str, tmp_path: Path) -> None:
    """
    Whoever makes them again changes nothing.
    """
    for path in write_test_sets(tmp_path, dataset):
        assert (BENCHMARKS / path.name).read_bytes() == path.read_bytes()


def test_the_suites_of_the_domains_are_what_is_made(tmp_path: Path) -> None:
    """
    The committed files are copies, never editions of their own.
    """
    made = write_test_sets(tmp_path, "intents", DOMAINS)

    assert [f"{name}_100.jsonl" for name in DOMAINS] == [path.name for path in made]
    for path in made:
        assert (BENCHMARKS / "domains" / path.name).read_bytes() == path.read_bytes()


def test_domains_are_chosen_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Equal parts of those that are named; a name that is none is refused with the known ones.
    """
    args = ["make", "intents", "--rows", "20", "--inbox", str(tmp_path)]
    assert 0 == main([*args, "--domains", "pki, mail"])
    assert "mail 10, pki 10" in capsys.readouterr().out
    for wrong in ("dns,post", "dns,dns"):
        with pytest.raises(SystemExit) as ended:
            main([*args, "--domains", wrong])
        assert 2 == ended.value.code
    assert "no domain 'post'; there are dns, users" in capsys.readouterr().err


def test_rows_go_into_an_inbox_whole_and_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The inbox of the root, or a folder that is named.
    """
    (tmp_path / "inbox").mkdir()
    args = ["make", "syllo", "--rows", "6", "--root", str(tmp_path), "--inbox"]
    assert 0 == main(args)
    assert "easy 2, medium 2, hard 2" in capsys.readouterr().out
    assert 6 == len((tmp_path / "inbox" / "syllo.jsonl").read_bytes().splitlines())
    assert 0 == main([*args, str(tmp_path), "--name", "x.jsonl"])

    assert (tmp_path / "x.jsonl").read_bytes() == (tmp_path / "inbox/syllo.jsonl").read_bytes()


def test_what_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    1 for a refusal, 2 for a mistake in the arguments.
    """
    args = ["make", "syllo", "--rows", "3", "--inbox", str(tmp_path)]
    assert 1 == main([*args, "--name", "x.txt"])
    assert "finetuned make: 'x.txt' is not the name of a dataset" in capsys.readouterr().err
    assert 1 == main([*args[:-1], str(tmp_path / "gone")])
    with pytest.raises(SystemExit) as ended:
        main(["make", "intents", "--rows", "0"])
    assert 2 == ended.value.code
