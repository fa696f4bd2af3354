import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.files.claims import claim, claimed_file, claimed_keys, retire, unclaim
from finetuned.files.inbox import scan
from finetuned.files.inbox_names import (
    OWN_NAMES,
    decode_name,
    escape_name,
    is_dataset_name,
    is_draft,
    safe_stem,
    why_ignored,
)
from finetuned.layout import Layout
from finetuned.supervisor.context import check_root


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path)
    check_root(layout)
    return layout


def entries(layout):
    return {e.path: e for e in scan(layout)}


def test_only_jsonl_files_one_level_deep_are_seen(layout):
    """
    In any case; drafts, hidden files and deeper folders are nobody's dataset.
    """
    for name in ("a.jsonl", ".b.jsonl", "c.jsonl.part", "d.jsonl.tmp", "e.json", "high/F.JSONL"):
        (layout.inbox / name).write_text("{}")
    (layout.inbox / "other").mkdir()
    (layout.inbox / "other" / "g.jsonl").write_text("{}")

    assert {b"a.jsonl": "normal", b"high/F.JSONL": "high"} == {
        p: e.priority for p, e in entries(layout).items() if e.problem is None
    }


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("a.json", "finetuned convert inbox/a.json"),
        ("a.ndjson", "finetuned convert inbox/a.ndjson"),
        ("high/a b.csv", "finetuned convert 'inbox/high/a b.csv'"),
        ("a.jsonl.gz", "finetuned convert inbox/a.jsonl.gz"),
        ("a.parquet", "finetuned convert inbox/a.parquet"),
        ("a.txt", "finetuned convert inbox/a.txt"),
        ("a.tar.gz", "unpack it"),
        ("low/a.zip", "unpack it"),
        ("low/a.jsonl.zst", "zstd -dc inbox/low/a.jsonl.zst > NEW.jsonl"),
        ("a.docx", "only names that end in .jsonl"),
        ("folder/", "move its .jsonl files"),
        ("high/done/", "move its .jsonl files"),
    ],
)
def test_a_name_that_is_ignored_has_a_reason_and_a_way_out(layout, name, hint):
    """
    Whoever drops data.json and waits must not wait for ever.
    """
    path = layout.inbox / name
    path.mkdir() if name.endswith("/") else path.write_text("{}")

    (entry,) = scan(layout)
    assert name.rstrip("/") == os.fsdecode(entry.path)
    assert "ignored" in entry.problem
    assert hint in entry.problem


def test_drafts_and_the_inbox_itself_need_no_word(layout):
    """
    A warning for each upload in progress would bury those that matter.
    """
    for name in (".a.jsonl", "b.jsonl.part", "c.csv.tmp", "README.md"):
        (layout.inbox / name).write_text("{}")

    assert [] == list(scan(layout))


@given(st.binary(min_size=1, max_size=20), st.booleans(), st.sampled_from([b"", b"low"]))
def test_every_name_is_a_dataset_a_draft_or_explained(name, is_folder, folder):
    """
    No name is passed over in silence, whatever its bytes, but those of the inbox itself.
    """
    reason = why_ignored(name, is_folder=is_folder, folder=folder)
    silent = is_dataset_name(name) or is_draft(name)

    assert silent == (reason is None) or (not folder and os.fsdecode(name) in OWN_NAMES)


def test_high_comes_before_normal_before_low(layout):
    """
    The scan is in the order of claiming.
    """
    for name in ("low/a.jsonl", "a.jsonl", "normal/a.jsonl", "high/z.jsonl"):
        (layout.inbox / name).write_text("{}")

    assert ["high", "normal", "normal", "low"] == [e.priority for e in scan(layout)]


def test_equal_names_never_overwrite(layout):
    """
    Every claim and every last place is keyed; namesakes never meet.
    """
    for key in ("d1", "d2"):
        (layout.inbox / "a.jsonl").write_text(key)
        claim(layout, entries(layout)[b"a.jsonl"], key)
    for key in ("d1", "d2"):
        retire(layout, key, folder=layout.done, label="a")

    assert {"d1", "d2"} == {p.read_text() for p in layout.done.iterdir()}
    assert [] == claimed_keys(layout)


@pytest.mark.parametrize(
    "name",
    [b"-rf \xff\x1b[2J.jsonl", b"a.jsonl", "gr\u00f6\u00dfe %41.jsonl".encode(), b"a\nb.jsonl"],
)
def test_a_claim_keeps_the_files_own_name(layout, name):
    """
    A crash right after the rename loses nothing: the name is in the claim, as plain ASCII.
    """
    (layout.inbox / os.fsdecode(name)).write_text("x")
    claim(layout, next(scan(layout)), "d1")
    found = claimed_file(layout, "d1")

    assert name == decode_name(found.name)
    assert found.name.isascii()
    assert "x" == found.read_text()


def test_the_longest_and_strangest_name_can_be_claimed(layout):
    """
    255 bytes that are not UTF-8 are a name like any other.
    """
    (layout.inbox / os.fsdecode(b"\xff" * 249 + b".jsonl")).write_text("x")
    claim(layout, next(scan(layout)), "d1")

    assert "x" == claimed_file(layout, "d1").read_text()


def test_a_file_that_changed_goes_back_where_it_was(layout):
    """
    Unless its name is taken by then: nothing is overwritten on the way back either.
    """
    (layout.inbox / "high" / "a.jsonl").write_text("1")
    claim(layout, next(scan(layout)), "d1")

    assert unclaim(layout, "d1", b"high/a.jsonl")
    assert [b"high/a.jsonl"] == list(entries(layout))
    claim(layout, next(scan(layout)), "d2")
    (layout.inbox / "high" / "a.jsonl").write_text("2")
    assert not unclaim(layout, "d2", b"high/a.jsonl")
    assert "1" == claimed_file(layout, "d2").read_text()


def test_retiring_twice_is_harmless(layout):
    """
    A crash between rename and record is finished by doing it again.
    """
    (layout.inbox / "a.jsonl").write_text("1")
    claim(layout, next(scan(layout)), "d1")
    first = retire(layout, "d1", folder=layout.done, label="a")

    assert first == retire(layout, "d1", folder=layout.done, label="a")
    assert "1" == first.read_text()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"plain.jsonl", "plain.jsonl"),
        ("größe.jsonl".encode(), "größe.jsonl"),
        (b"\xff.jsonl", "\\xff.jsonl"),
        (b"a\x1b[2J", "a\\x1b[2J"),
        (b"a\nb", "a\\nb"),
    ],
)
def test_names_are_shown_without_what_a_terminal_obeys(name, text):
    """
    A hostile name is data in log and status.
    """
    assert text == escape_name(name)


@pytest.mark.parametrize("name", [b"../../etc/x.jsonl", b"-rf.jsonl", b"\xff\xfe.jsonl", b".jsonl"])
def test_a_label_is_a_harmless_file_name(name):
    """
    What we name after a dropped file cannot leave its folder nor read as an option.
    """
    stem = safe_stem(name)

    assert stem
    assert not stem.startswith(("-", "."))
    assert "/" not in stem
