"""
``finetuned corrections``: wrong usage, and what is said of what was found.

A whole daemon and a real model are in tests/integration/test_self_correction.py.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from finetuned.cli.corrections import summary
from finetuned.cli.program import main
from finetuned.sources.correction import Collected, Counts


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--max", "2"], "--max must be >= 3"),
        (["--max-minutes", "0"], "--max-minutes must be above 0"),
        (["--max-minutes", "inf"], "--max-minutes must be above 0"),
        (["-o", "rows.json"], "must end in .jsonl"),
        (["-o", "there.jsonl"], "no file is overwritten"),
        (["-o", "new.jsonl", "--drop"], "not allowed with"),
    ],
)
def test_wrong_usage_is_said_before_a_model_is_loaded(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    With what was found and what is expected; exit status 2.
    """
    monkeypatch.chdir(tmp_path)
    Path("there.jsonl").write_text("{}\n")
    try:
        status = main(["corrections", "--root", str(tmp_path), *arguments])
    except SystemExit as end:  # argparse
        status = int(end.code or 0)
    assert status == 2
    assert says in capsys.readouterr().err
    assert Path("there.jsonl").read_text() == "{}\n"


def test_a_person_reads_all_counts_and_where_the_rows_are() -> None:
    """
    Nothing that was left out is left unsaid.
    """
    counts = Counts(
        looked_at=9,
        right=4,
        wrong=2,
        not_asked=Counter(text_row=3),
        codes=Counter({"MISSING_NUMBERS": 2}),
        made=Counter(hint=2, plain=2),
        not_made=Counter(attempt_empty_answer=2),
    )
    found = Collected(({"messages": []},) * 4, counts)

    assert summary(found, "v0003", None) == [
        "v0003 answers 2 of 6 trained rows wrong",
        "not asked: 3 text_row",
        "codes: MISSING_NUMBERS 2",
        "not made: 2 attempt_empty_answer",
        "4 rows could be made: -o FILE or --drop",
    ]
    assert summary(found, "v0003", Path("a.jsonl"))[-1] == "4 rows are in a.jsonl"
