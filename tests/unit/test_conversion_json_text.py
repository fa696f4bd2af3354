"""
JSON text in any layout is split into its values, wherever the pieces of it end.
"""

from __future__ import annotations

import io
import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.data.strict_json import Oversized
from finetuned.sources.conversion.json_text import ValueSplitter, values_of
from finetuned.sources.conversion.row import CannotConvert

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\{}[],: \n\u00e4', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), max_size=4)


def split(data: bytes, *, in_array: bool, size: int = 7, limit: int = 10_000) -> list[object]:
    splitter = ValueSplitter(in_array=in_array, max_bytes=limit)
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    return [v for piece in pieces for v in splitter.feed(piece)] + list(splitter.close())


@settings(deadline=None)
@given(ROWS, st.sampled_from([None, 1, "\t"]), st.booleans(), st.integers(1, 40), st.booleans())
def test_every_value_comes_out_once_and_on_one_line(
    rows: list[dict[str, object]], indent: int | str | None, in_array: bool, size: int, mark: bool
) -> None:
    """
    Of an array or one after another, pretty-printed or not, read in pieces of any size.
    """
    text = (
        json.dumps(rows, indent=indent)
        if in_array
        else "".join(json.dumps(row, indent=indent) for row in rows)
    )
    found = split((b"\xef\xbb\xbf" if mark else b"") + text.encode(), in_array=in_array, size=size)

    lines = [line for _, line in found]
    assert rows == [json.loads(line) for line in lines]
    assert not any(b"\n" in line for line in lines)


def test_numbers_and_blanks_inside_of_texts_stay_as_they_are() -> None:
    """
    A number that a parser would round is written as it was.
    """
    data = b'{\n "a": 1.10, "b": 123456789012345678901234567890,\n\n "c": "x  \\n  y\\\\"\n}'

    assert [
        (1, b'{ "a": 1.10, "b": 123456789012345678901234567890, "c": "x  \\n  y\\\\" }')
    ] == split(data, in_array=False)


def test_a_break_between_two_numbers_does_not_join_them() -> None:
    """
    Text that is not JSON must not become JSON with another value.
    """
    assert [(1, b'{"a": [1 2]}')] == split(b'{"a": [1\n2]}', in_array=False)


def test_each_value_has_the_line_on_which_it_begins() -> None:
    """
    A person finds it there.
    """
    data = b'[\n\n{"a":\n1},\n  7, {"b": 2}\n]\n'

    assert [(3, b'{"a": 1}'), (5, b"7"), (5, b'{"b": 2}')] == split(data, in_array=True)


def test_separators_that_are_missing_or_too_many_lose_nothing() -> None:
    """
    Objects glued together, separated by commas, record separators or nothing; several arrays.
    """
    assert [b"{}", b"[]", b'{"a":1}'] == [v for _, v in split(b'{},[]{"a":1}', in_array=False)]
    assert [b"{}", b"{}"] == [v for _, v in split(b"\x1e{}\n\x1e{}\n", in_array=False)]
    assert [b"{}", b"[1]"] == [v for _, v in split(b"[{},]\n[ [1] ]", in_array=True)]
    assert [] == split(b" [ ] ", in_array=True)


@pytest.mark.parametrize(
    ("data", "in_array", "said"),
    [
        (b'[{"a": 1},\n{"a": 2', True, "line 2: the value that begins here is not closed"),
        (b'[{"a": 1}\n,', True, "line 2: the array is not closed"),
        (b'{"a": "b}\n', False, "line 1: the value that begins here is not closed"),
        (b"{}\n}", False, "line 2: found } without its opening bracket"),
        (b"[{}]\nrest", True, "line 2: found 'rest' outside of the array"),
        (b"[{}]\n{}", True, "line 2: found '{' outside of the array"),
    ],
)
def test_text_that_is_cut_or_has_something_beside_it_is_refused(
    data: bytes, in_array: bool, said: str
) -> None:
    """
    What follows could belong to anything.
    """
    with pytest.raises(CannotConvert, match=said.replace("}", r"\}").replace("{", r"\{")):
        split(data, in_array=in_array)


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_a_value_that_is_too_long_is_passed_over_without_being_held(size: int) -> None:
    """
    Its length and beginning are told, and the next value has its line.
    """
    long = b'{"a": "' + b"x" * 3000 + b'",\n\n"b": 1}'
    first, second = split(b"[" + long + b',\n{"c": 1}]', in_array=True, size=size, limit=1000)

    assert (1, Oversized(len(long), long[:800])) == first
    assert (4, b'{"c": 1}') == second


def test_memory_does_not_grow_with_a_value() -> None:
    """
    One of 32 MiB costs less than 8 MiB.
    """
    huge = io.BytesIO(b'{"text": "' + b"a" * 2**25 + b'"}')
    tracemalloc.start()
    ((_, value),) = values_of(huge.read, in_array=False, max_bytes=2**20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert Oversized(2**25 + 12, b'{"text": "' + b"a" * 790) == value
    assert peak < 8 << 20
