"""
What was appended to a file after it was read is found and cut off in whole lines.
"""

from hashlib import sha256

import pytest

from finetuned.files.late_lines import Change, change_since, cut_off, first_late_byte

READ = b'{"text": "one"}\n'
DIGEST = sha256(READ).hexdigest()


@pytest.mark.parametrize(
    ("now", "change"),
    [
        (READ, Change.NONE),
        (READ + b"{}\n", Change.APPENDED),
        (READ[:-1], Change.REWRITTEN),
        (b"", Change.REWRITTEN),
        (READ.replace(b"one", b"two"), Change.REWRITTEN),
        (READ.replace(b"one", b"three") + b"{}\n", Change.REWRITTEN),
    ],
)
def test_a_change_is_told_by_size_and_bytes(tmp_path, now, change):
    """
    Rows that follow are one thing; rows that are no longer what was trained are another.
    """
    path = tmp_path / "a"
    path.write_bytes(now)

    assert change is change_since(path, n_bytes=len(READ), digest=DIGEST, mtime_ns=1)


def test_a_file_that_looks_the_same_is_not_read(tmp_path):
    """
    Every file is retired: one look at its name must do. A time alone is no change.
    """
    path = tmp_path / "a"
    path.write_bytes(READ)
    mtime_ns = path.stat().st_mtime_ns
    assert Change.NONE is change_since(path, n_bytes=len(READ), digest="0", mtime_ns=mtime_ns)
    assert Change.NONE is change_since(path, n_bytes=len(READ), digest="0")

    assert Change.NONE is change_since(path, n_bytes=len(READ), digest=DIGEST, mtime_ns=1)


@pytest.mark.parametrize(
    ("read", "late", "start"),
    [
        (b"one\n", b"two\n", 4),
        (b"one", b"\ntwo\n", 3),
        (b"one\ntw", b"o\n", 4),
        (b"on", b"e\n", 0),
        (b"", b"one\n", 0),
        (b"one\n" + b"2" * (3 << 20), b"2\n", 4),
    ],
)
def test_a_line_that_was_read_in_half_is_late_as_a_whole(tmp_path, read, late, start):
    """
    Its first half was refused, and means nothing without the second.
    """
    path = tmp_path / "a"
    path.write_bytes(read + late)

    assert start == first_late_byte(path, len(read))


def test_what_is_cut_off_appears_whole_and_once(tmp_path):
    """
    A second call, after a crash, leaves the file alone that is there.
    """
    source, target = tmp_path / "a", tmp_path / "b.jsonl"
    source.write_bytes(b"one\ntwo\nthree\n")
    assert cut_off(source, 4, 8, target)
    assert b"two\n" == target.read_bytes()
    assert cut_off(source, 4, 14, target)

    assert b"two\n" == target.read_bytes()
    assert ["a", "b.jsonl"] == sorted(p.name for p in tmp_path.iterdir())


def test_white_space_is_no_line(tmp_path):
    """
    The last newline of a file may come late; there is no row in it.
    """
    source = tmp_path / "a"
    source.write_bytes(b"one\n \n\n")

    assert not cut_off(source, 3, 7, tmp_path / "b")
    assert [source] == list(tmp_path.iterdir())
