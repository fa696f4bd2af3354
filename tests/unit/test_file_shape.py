"""
What people call JSON lines is recognised by its first bytes, and JSON lines are never mistaken.
"""

import bz2
import gzip
import json
import lzma

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.data.file_shape import (
    CONVERTIBLE,
    HEAD_BYTES,
    WAY_OUT,
    FileShape,
    encoding_of,
    recognise,
    table_of,
    way_out,
)

ROWS = [{"prompt": f"Is {i} odd?", "completion": "Yes." if i % 2 else "No."} for i in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = "id,prompt,completion\n1,Is 1 odd?,Yes.\n"


def shape(data: bytes | str) -> FileShape:
    data = data.encode() if isinstance(data, str) else data
    return recognise(data[:HEAD_BYTES], whole=len(data) <= HEAD_BYTES)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (LINES, FileShape.LINES),
        ("\ufeff" + LINES, FileShape.LINES),
        (LINES.replace("\n", "\r\n"), FileShape.LINES),
        (json.dumps(ROWS), FileShape.ARRAY),
        (json.dumps(ROWS, indent=2), FileShape.ARRAY),
        ("\ufeff\n " + json.dumps(ROWS), FileShape.ARRAY),
        ("[]", FileShape.ARRAY),
        ("".join(json.dumps(row, indent=2) + "\n" for row in ROWS), FileShape.OBJECTS),
        ('{"prompt": "a",\n "completion": "b"}\n', FileShape.OBJECTS),
        ("".join(map(json.dumps, ROWS)), FileShape.OBJECTS),
        (",\n".join(map(json.dumps, ROWS)), FileShape.OBJECTS),
        ("".join(f"\x1e{json.dumps(row)}\n" for row in ROWS), FileShape.OBJECTS),
        (LINES.replace("\n", "\r"), FileShape.RETURNS),
        (CSV, FileShape.TABLE),
        ("\ufeff" + CSV.replace(",", ";"), FileShape.TABLE),
        (CSV.replace(",", "\t"), FileShape.TABLE),
        ("text\nA sentence.\n", FileShape.TABLE),
        (LINES.encode("utf-16"), FileShape.UTF16),
        (LINES.encode("utf-16-le"), FileShape.UTF16),
        (LINES.encode("utf-16-be"), FileShape.UTF16),
        (LINES.encode("utf-32"), FileShape.UTF32),
        (gzip.compress(LINES.encode(), mtime=0), FileShape.GZIP),
        (bz2.compress(LINES.encode()), FileShape.BZIP2),
        (lzma.compress(LINES.encode()), FileShape.XZ),
        (b"\x28\xb5\x2f\xfd rest", FileShape.ZSTD),
        (b"PK\x03\x04 rest", FileShape.ZIP),
        (b"a" + b"\0" * 256 + b"ustar", FileShape.TAR),
        (b"PAR1 rest", FileShape.PARQUET),
        (b"ARROW1\0\0 rest", FileShape.ARROW),
        ("Once upon a time\nthere was a row.\n", FileShape.TEXT),
        (b"\x89PNG\r\n\x1a\n", FileShape.BINARY),
        (b"\0" * 100, FileShape.BINARY),
    ],
)
def test_a_shape_is_told_from_the_first_bytes(data, expected):
    """
    A gzip is no UTF-16, and a mark of Windows is no mistake.
    """
    assert expected == shape(data)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "\n\n",
        '{"prompt": "a\n' + LINES,  # a first line that was cut
        "# rows of May\n" + LINES,
        "{\n" + LINES,
        "prompt, completion\n" + LINES,
        "[1, 2]\n" + LINES,
        "[1, 2]",
        '[{"a": 1}]\n[{"a": 2}]\n',
        '{"text":' * 100_000,
        '{"text": "' + "a" * (2 * HEAD_BYTES) + '"}\n' + LINES,
        '{"prompt": "ä"}\n'.encode("latin-1"),
    ],
)
def test_bad_lines_are_left_to_the_reader_of_lines(data):
    """
    One bad line, even the first, must not set aside the good ones after it.
    """
    assert FileShape.LINES == shape(data)


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.lists(st.integers())),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
    st.booleans(),
)
def test_json_lines_are_never_taken_for_anything_else(rows, end, ascii_only):
    """
    Whatever stands in the objects.
    """
    text = "".join(json.dumps(row, ensure_ascii=ascii_only) + end for row in rows)

    assert FileShape.LINES == shape(text.encode("utf-8", "surrogatepass"))


def test_a_large_array_is_told_from_its_beginning():
    """
    The file is not read to its end.
    """
    assert FileShape.ARRAY == shape(json.dumps(ROWS * 9999))


def test_a_head_that_is_cut_within_a_character_does_not_matter():
    """
    Half of a letter at the end is no binary data.
    """
    assert FileShape.LINES == shape('{"text": "' + "ä" * HEAD_BYTES + '"}\n')


def test_every_shape_has_a_way_out():
    """
    It is converted, or the sentence says what else to do.
    """
    assert set(FileShape) - {FileShape.LINES} == CONVERTIBLE | WAY_OUT.keys()
    assert set() == CONVERTIBLE & WAY_OUT.keys()
    assert way_out(FileShape.GZIP, "do this").endswith("do this")
    assert way_out(FileShape.ZSTD, "", "a.jsonl").endswith("zstd -dc a.jsonl > NEW.jsonl")
    assert [] == [shape for shape in WAY_OUT if "{file}" in way_out(shape, "")]


@pytest.mark.parametrize(
    ("line", "delimiter", "columns"),
    [
        ("prompt,completion", ",", ("prompt", "completion")),
        ('id;"the, prompt";Prompt ;x\r\n1;2', ";", ("id", "the, prompt", "Prompt", "x")),
        ("question,answer", None, None),
        ('{"prompt": 1, "completion": 2}', None, None),
    ],
)
def test_a_header_is_split_at_the_delimiter_that_gives_known_columns(line, delimiter, columns):
    """
    Commas, tabs, semicolons and bars, with quotes.
    """
    found = table_of(line)

    assert (delimiter, columns) == (
        (None, None) if found is None else (found.delimiter, found.columns)
    )


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_the_encoding_found_reads_the_text(encoding):
    """
    With its mark or without it.
    """
    data = LINES.encode(encoding)

    assert LINES == data.decode(encoding_of(data[:4]))
