"""
What strict JSON lets through, and how lines are found.
"""

from __future__ import annotations

import json
import os
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.data.strict_json import MAX_DEPTH, Oversized, iter_lines, parse_line
from finetuned.errors import MalformedExample

SUITE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "hostile"
CASES = sorted((SUITE / "json_test_suite").glob("*.json"))

# A key given twice is legal JSON, and two parsers read two values from it.
LEGAL_BUT_AMBIGUOUS = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def _refusal(line: bytes) -> MalformedExample:
    with pytest.raises(MalformedExample) as caught:
        parse_line(line)
    return caught.value


@pytest.mark.skipif(not CASES, reason="shared/data/hostile/json_test_suite is not here")
def test_every_case_of_the_json_test_suite_is_judged_as_it_must_be() -> None:
    """
    All y_ cases parse but the ambiguous two, all n_ cases are refused, i_ cases never crash.
    """
    assert 318 == len(CASES)
    parsed = set()
    for case in CASES:
        try:
            parse_line(case.read_bytes())
            parsed.add(case.name)
        except MalformedExample:
            pass

    must = {case.name for case in CASES if case.name.startswith("y_")}
    must_not = {case.name for case in CASES if case.name.startswith("n_")}
    assert must - LEGAL_BUT_AMBIGUOUS == must & parsed
    assert set() == must_not & parsed


@settings(max_examples=60)
@given(VALUES, st.booleans())
def test_what_json_writes_is_read_back_unchanged(value: object, ascii_only: bool) -> None:
    """
    Strictness takes nothing from a value that was written properly.
    """
    assert value == parse_line(json.dumps(value, ensure_ascii=ascii_only).encode())


@settings(max_examples=60)
@given(TEXT, VALUES, VALUES, st.booleans())
def test_a_key_given_twice_is_refused_whatever_stands_around_it(
    key: str, first: object, second: object, nested: bool
) -> None:
    """
    Colons in keys and values do not hide the second key.
    """
    name = json.dumps(key)
    text = f"{{{name}: {json.dumps(first)}, {name}: {json.dumps(second)}}}"
    line = f'{{"a": [1, {text}]}}' if nested else text

    assert "duplicate_key" == _refusal(line.encode()).code


def test_a_key_spelled_with_escapes_is_still_the_same_key() -> None:
    """
    "a" and "\\u0061" are one key.
    """
    assert "duplicate_key" == _refusal(b'{"a":1,"\\u0061":2}').code
    assert "duplicate_key" == _refusal(b'{"\\u003a":1,":":2}').code
    # An escaped colon in the value that is kept must not stand in for the lost pair's.
    assert "duplicate_key" == _refusal(b'{"a":1,"a":"\\u003a"}').code
    assert "duplicate_key" == _refusal(b'{"a":1,"a":"\\u003A"}').code


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_is_counted_exactly(opening: bytes, closing: bytes) -> None:
    """
    64 levels are read, 65 are not, 100,000 neither.
    """
    parse_line(opening * MAX_DEPTH + b"1" + closing * MAX_DEPTH)

    for depth in (MAX_DEPTH + 1, 1000, 100_000):
        line = opening * depth + b"1" + closing * depth
        assert "too_deep" == _refusal(line).code
    assert "too_deep" == _refusal(opening * 100_000).code


def test_brackets_inside_strings_do_not_nest() -> None:
    """
    Only structure counts towards the depth.
    """
    text = '[{"' * 200
    assert [text] == parse_line(json.dumps([text]).encode())


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"[NaN]", "not_a_number"),
        (b"[-Infinity]", "not_a_number"),
        (b"1e999", "number_range"),
        (b"18446744073709551616", "number_range"),
        (b"-9223372036854775809", "number_range"),
        (b"9" * 100_000, "number_range"),
        (b'"\\ud800"', "not_utf8"),
        (b'{"\\udc00":1}', "not_utf8"),
        (b'"\xff"', "not_utf8"),
        (b"\xef\xbb\xbf{}", "not_utf8"),
        ('{"a":1}'.encode("utf-16"), "not_utf8"),
        ('{"a":1}'.encode("utf-16-le"), "not_utf8"),
        (b"\0\0\0\0", "not_utf8"),
        (b'{"a":"\0"}', "not_json"),
        (b"{}\x0c", "not_json"),
        (b'{"a":1} {"b":2}', "not_json"),
        (b"", "not_json"),
    ],
)
def test_each_kind_of_damage_has_its_code(line: bytes, code: str) -> None:
    """
    A report can count causes, not only failures.
    """
    assert code == _refusal(line).code


def test_the_reason_says_where_what_and_what_instead() -> None:
    """
    Columns count characters from 1, so an editor goes there.
    """
    reason = _refusal('{"ä": tru}'.encode()).reason

    assert "column 7: found 'tru}'; expecting value" == reason


def _lines(
    data: bytes, max_line_bytes: int, read_bytes: int
) -> list[tuple[int, int, bytes | Oversized]]:
    with tempfile.TemporaryFile() as f:
        f.write(data)
        f.flush()
        os.lseek(f.fileno(), 0, os.SEEK_SET)
        return list(iter_lines(f.fileno(), max_line_bytes, read_bytes=read_bytes))


@given(st.text("ab \r\n\x0b\x1c\x85").map(str.encode), st.integers(1, 9), st.integers(1, 7))
def test_lines_do_not_depend_on_how_they_are_read(data: bytes, limit: int, read: int) -> None:
    """
    Lines end at b"\\n" only, wherever the reads happened to end.
    """
    expected: list[tuple[int, int, object]] = []
    offset = 0
    for number, piece in enumerate(data.split(b"\n"), 1):
        line = piece.removesuffix(b"\r")
        if len(line) > limit:
            expected.append((number, offset, len(piece)))
        elif line.strip():
            expected.append((number, offset, line))
        offset += len(piece) + 1

    found = [
        (number, offset, line.n_bytes if isinstance(line, Oversized) else line)
        for number, offset, line in _lines(data, limit, read)
    ]
    assert expected == found


def test_a_byte_order_mark_before_a_line_is_skipped() -> None:
    """
    Programs of Windows write one, and cat leaves those of later files inside; the offset is
    that of the line itself, because lines are read again by it.
    """
    data = b"\xef\xbb\xbf{}\n\xef\xbb\xbf[]\r\n\xef\xbb\xbf\n{}"

    assert [(1, 3, b"{}"), (2, 9, b"[]"), (4, 17, b"{}")] == _lines(data, 100, 2)


def test_a_long_line_is_skipped_without_being_held() -> None:
    """
    64 MiB on one line cost less than 4 MiB, and the next line is read.
    """
    with tempfile.TemporaryFile() as f:
        f.truncate(64 << 20)
        f.seek(64 << 20)
        f.write(b"\nnext")
        f.flush()
        os.lseek(f.fileno(), 0, os.SEEK_SET)
        tracemalloc.start()
        lines = list(iter_lines(f.fileno(), 1 << 16))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert [(1, 0, Oversized(64 << 20, bytes(800))), (2, (64 << 20) + 1, b"next")] == lines
    assert peak < 4 << 20


def test_every_byte_read_is_shown_to_the_hash() -> None:
    """
    A hash of the chunks is the hash of the file.
    """
    seen: list[bytes] = []
    with tempfile.TemporaryFile() as f:
        f.write(b"a\n\nb\r\nlast")
        f.flush()
        os.lseek(f.fileno(), 0, os.SEEK_SET)
        list(iter_lines(f.fileno(), 100, on_bytes=seen.append, read_bytes=3))

    assert b"a\n\nb\r\nlast" == b"".join(seen)
