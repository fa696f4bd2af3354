"""
A claimed file is moved and never lost: each step can be repeated, and names are never reused.
"""

import errno

import pytest

from finetuned.files.claims import (
    claim,
    claimed_file,
    claimed_keys,
    last_claim,
    retire,
    unclaim,
)
from finetuned.files.inbox import scan
from finetuned.layout import Layout

KEY = "d00000007"


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path)
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    return layout


def dropped(layout, name="a.jsonl", text="{}\n"):
    """
    Put a file into the inbox; return what a scan says of it.
    """
    (layout.inbox / name).write_text(text)
    (entry,) = scan(layout)
    return entry


def test_a_file_that_was_taken_back_leaves_no_folder(layout):
    """
    An empty folder in processing/ would look like a claim.
    """
    entry = dropped(layout)
    (layout.inbox / "a.jsonl").unlink()
    with pytest.raises(FileNotFoundError):
        claim(layout, entry, KEY)

    assert [] == claimed_keys(layout)


def test_without_processing_the_file_stays_and_the_error_is_another_one(layout):
    """
    FileNotFoundError would mean that the file is gone, and its record would be dropped.
    """
    entry = dropped(layout)
    layout.processing.rmdir()
    with pytest.raises(NotADirectoryError) as caught:
        claim(layout, entry, KEY)

    assert (errno.ENOTDIR, str(layout.processing)) == (caught.value.errno, caught.value.filename)
    assert (layout.inbox / "a.jsonl").is_file()


def test_a_claim_that_ended_and_an_inbox_that_is_gone_are_told_apart(layout):
    """
    Of the first nothing is left to do; of the second nothing is known.
    """
    assert claimed_file(layout, KEY) is None
    (layout.processing / KEY).mkdir()
    assert claimed_file(layout, KEY) is None
    (layout.processing / KEY).rmdir()
    layout.processing.rmdir()
    with pytest.raises(FileNotFoundError):
        claimed_file(layout, KEY)


def test_the_claims_on_disk_are_listed_oldest_first(layout):
    """
    Recovery takes them in in the order in which they arrived; a stray file is no claim.
    """
    for name in ("d00000011", "d00000002", "d00000010"):
        (layout.processing / name).mkdir()
    (layout.processing / "d00000001").write_text("")

    assert ["d00000002", "d00000010", "d00000011"] == claimed_keys(layout)


@pytest.mark.parametrize(
    ("folder", "name", "expected"),
    [
        ("processing", "d00000012", 12),
        ("done", "a.d00000013.jsonl", 13),
        ("quarantine", "a.d00000014.reason.json", 14),
        ("done", "d00000099.d00000015.jsonl", 99),
        ("done", "a.d123456789.jsonl", 123456789),
        ("done", "d1234.jsonl", 0),
        ("done", "add00000016.jsonl", 0),
        ("inbox", "a.d00000017.jsonl", 0),
    ],
)
def test_the_highest_number_of_any_claim_is_found(layout, folder, name, expected):
    """
    After the journal is lost the next key must lie above all that were ever given.
    """
    (getattr(layout, folder) / name).write_text("")

    assert expected == last_claim(layout)


def test_without_folders_no_claim_was_made(tmp_path):
    """
    The root is new.
    """
    assert 0 == last_claim(Layout(tmp_path))


def test_an_original_in_its_last_place_is_never_overwritten(layout):
    """
    A claim of the same key that is still in processing/ stays there for a person to look at.
    """
    claim(layout, dropped(layout, text="new\n"), KEY)
    final = layout.done / f"a.{KEY}.jsonl"
    final.write_text("old\n")

    assert final == retire(layout, KEY, folder=layout.done, label="a")
    assert "old\n" == final.read_text()
    assert "new\n" == claimed_file(layout, KEY).read_text()


def test_a_retirement_that_was_interrupted_is_completed(layout):
    """
    The file had moved, its empty folder was still there.
    """
    (layout.processing / KEY).mkdir()
    (layout.done / f"a.{KEY}.jsonl").write_text("{}\n")

    assert layout.done / f"a.{KEY}.jsonl" == retire(layout, KEY, folder=layout.done, label="a")
    assert [] == claimed_keys(layout)


def test_a_file_whose_name_is_taken_stays_claimed(layout):
    """
    Somebody dropped another file of that name: neither of the two is lost.
    """
    claim(layout, dropped(layout, text="first\n"), KEY)
    dropped(layout, text="second\n")

    assert not unclaim(layout, KEY, b"a.jsonl")
    assert "first\n" == claimed_file(layout, KEY).read_text()
    assert "second\n" == (layout.inbox / "a.jsonl").read_text()


def test_what_is_not_claimed_needs_no_way_back(layout):
    """
    The call is repeated after a crash.
    """
    claim(layout, dropped(layout), KEY)
    assert unclaim(layout, KEY, b"a.jsonl")
    assert [] == claimed_keys(layout)
    assert unclaim(layout, KEY, b"a.jsonl")
    assert (layout.inbox / "a.jsonl").is_file()
