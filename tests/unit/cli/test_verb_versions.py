"""
``finetuned versions``: which versions a roll-back may name, and what it says of the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetuned.cli.program import main
from finetuned.core.books import RowCounts
from finetuned.core.family_choice import profile
from finetuned.core.job import JobEvent
from finetuned.files.family_list import OWN, Family, FamilyFile, write_families
from finetuned.files.journal import Journal
from finetuned.files.tables.datasets import Claim
from finetuned.layout import Layout, Priority
from finetuned.registry.current_model import promote
from finetuned.registry.head import move_head
from finetuned.supervisor.context import check_root
from support.journals import TO_EVALUATING
from support.versions import commit

COUNTS = RowCounts(read=100, refused=2, held_out=5, reserved=1, to_train=92)
VERDICTS = {JobEvent.ACCEPT: "promoted", JobEvent.HOLD: "held", JobEvent.REJECT: "rejected"}


class Root:
    """
    A root in which jobs were judged, each on top of the head of its time.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.journal = Journal(layout.journal)

    def judge(self, event: JobEvent) -> str:
        """Learn a file of 92 rows, judge the candidate, and let the links follow."""
        journal, head = self.journal, self.journal.heads.version()
        (key,) = journal.datasets.next_keys(1)
        journal.datasets.add([Claim(key, f"{key}.jsonl", b"x", Priority.NORMAL, 1)])
        journal.datasets.accept(
            key, dataset_id=key * 2, sha256=key, n_train=92, n_heldout=5, counts=COUNTS
        )
        job = journal.jobs.add(Priority.NORMAL, [key])
        for step in TO_EVALUATING:
            journal.jobs.move(job, step)
        release = journal.promotions.incumbent()
        name = commit(
            self.layout, head, verdict=VERDICTS[event], reason="too few right", release=release
        )
        journal.conclude(job, event, version=name, parent=head, reason="too few right")
        if event is JobEvent.ACCEPT:
            promote(self.layout, name)
        move_head(self.layout, journal.heads.version())
        return name


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """
    v0001 (released) <- v0002 (held) <- v0003 (released) <- v0004 (held), v0005 rejected on it.
    """
    layout = Layout(tmp_path)
    check_root(layout)
    root = Root(layout)
    with root.journal.together():
        for event in (
            *(JobEvent.ACCEPT, JobEvent.HOLD, JobEvent.ACCEPT),
            *(JobEvent.HOLD, JobEvent.REJECT),
        ):
            root.judge(event)
    yield root
    root.journal.close()


def run(root: Root, *args: str) -> int:
    return main(["versions", *args, "--root", str(root.layout.root)])


def test_a_version_with_families_is_shown_with_their_files(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    And one without says nothing of families; words of prompts are not shown.
    """
    known = profile(["add ann"])
    families = [
        Family("aa", OWN, (FamilyFile("aa", "users.jsonl"),), known),
        Family("bb", "families/bb", (FamilyFile("bb", "sums.jsonl"),), known),
    ]
    write_families(root.layout.versions / "v0003", families)
    assert 0 == run(root, "show", "v0003")
    shown = json.loads(capsys.readouterr().out)["families"]
    assert 0 == run(root, "show", "v0001")

    assert "families" not in json.loads(capsys.readouterr().out)
    assert [
        {"name": "aa", "folder": ".", "files": [{"dataset_id": "aa", "name": "users.jsonl"}]},
        {
            "name": "bb",
            "folder": "families/bb",
            "files": [{"dataset_id": "bb", "name": "sums.jsonl"}],
        },
    ] == shown


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("v0005", "the gate rejected v0005 (too few right): that is no way back; to put it in use"),
        ("v0004", "v0004 was never in use, and v0003, which is, was not trained on top of it"),
        ("v0009", "there is no version v0009"),
    ],
)
def test_what_is_no_way_back_is_refused_with_the_way_out(
    root: Root, capsys: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    """
    Rejected, or never in use and on no way back; nothing was changed.
    """
    before = root.journal.promotions.number()
    assert 1 == run(root, "rollback", "--to", name, "--head")
    said = capsys.readouterr().err

    assert why in said
    assert name == "v0009" or f"finetuned versions promote {name}" in said
    assert (before, "v0004") == (root.journal.promotions.number(), root.journal.heads.version())


def test_a_way_back_was_in_use_once_or_is_below_the_release(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A held version below the release; one released before; and then one on the branch that was left.
    """
    for name in ("v0002", "v0001", "v0003"):
        assert 0 == run(root, "rollback", "--to", name)
        assert name == root.journal.promotions.incumbent()
    assert 0 == run(root, "promote", "v0004")
    assert 0 == run(root, "rollback", "--to", "v0001")
    assert 0 == run(root, "rollback", "--to", "v0004")

    assert "not learnt" not in capsys.readouterr().out  # the head is where it was


def test_the_rows_that_training_leaves_are_counted(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    And those that come back when a version is put in use again.
    """
    assert 0 == run(root, "rollback", "--to", "v0001", "--head")
    assert "; 3 files with 276 rows are not learnt any more" in capsys.readouterr().out
    assert 0 == run(root, "rollback", "--to", "v0003", "--head", "--json")
    answer = json.loads(capsys.readouterr().out)

    assert ("v0003", "v0003", []) == (answer["current"], answer["head"], answer["unlearnt"])
    assert ["d00000002", "d00000003"] == answer["learnt_again"]
    assert 0 == run(root, "promote", "v0004")
    assert "1 file with 92 rows is learnt again" in capsys.readouterr().out
