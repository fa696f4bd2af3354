"""
Files of other shapes become JSON lines with the same rows, or one sentence says why not.
"""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import json
import lzma
import os
from pathlib import Path

import pytest

from finetuned.data.reader import to_example
from finetuned.sources.conversion import CannotConvert, Conversion, convert
from finetuned.sources.conversion.table import ENOUGH

ROWS = [
    {"prompt": "Who sends, and when?", "completion": 'Ann; at "noon"\nand later.'},
    {"prompt": "007", "completion": "1.10"},
    {"prompt": "Größe?", "completion": "å"},
]
CSV = (
    'prompt,completion\r\n"Who sends, and when?","Ann; at ""noon""\nand later."\r\n'
    "007,1.10\r\n\r\nGröße?,å\r\n"
)
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS)
TARGET = "out.jsonl"
REPORTED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "reported"


def converted(folder: Path, data: bytes | str, *, max_bytes: int = 10_000) -> Conversion:
    source = folder / "in"
    source.write_bytes(data.encode() if isinstance(data, str) else data)
    before = source.stat()
    result = convert(source, folder / TARGET, max_bytes=max_bytes)
    assert before.st_mtime_ns == source.stat().st_mtime_ns
    assert [] == [name for name in os.listdir(folder) if name.startswith(".")]
    return result


def rows_of(folder: Path) -> list[object]:
    return [json.loads(line) for line in (folder / TARGET).read_text().splitlines()]


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=4),
        "".join(json.dumps(row, indent=1) for row in ROWS),
        "\ufeff" + ",\n".join(map(json.dumps, ROWS)),
        "\ufeff" + JSONL.replace("\n", "\r\n"),
        JSONL.replace("\n", "\r"),
        JSONL.encode("utf-16"),
        JSONL.encode("utf-16-be"),
        json.dumps(ROWS, ensure_ascii=False).encode("utf-32"),
        CSV,
        "\ufeff\n" + CSV.replace("Ann; at", "'Ann; at'").replace("'", ""),
        CSV.encode("utf-16"),
        gzip.compress(CSV.encode(), mtime=0),
        bz2.compress(json.dumps(ROWS).encode()),
        lzma.compress(gzip.compress(JSONL.encode("utf-16"), mtime=0)),
    ],
)
def test_every_shape_gives_the_same_rows(tmp_path: Path, data: bytes | str) -> None:
    """
    In their order, with every letter; the original is only read.
    """
    result = converted(tmp_path, data)

    assert ROWS == rows_of(tmp_path)
    assert (3, 3, []) == (result.rows_in, result.rows_out, result.refused)
    assert 0o644 == (tmp_path / TARGET).stat().st_mode & 0o777


@pytest.mark.skipif(not REPORTED.is_dir(), reason="shared/data is not here")
@pytest.mark.parametrize("name", ["array_one_line", "array_pretty", "objects_pretty", "gzip"])
def test_files_that_people_reported_give_their_rows(tmp_path: Path, name: str) -> None:
    """
    60 rows each, all of which the reader knows.
    """
    result = convert(REPORTED / f"12_{name}.jsonl", tmp_path / TARGET, max_bytes=10_000)

    assert (60, 60) == (result.rows_in, result.rows_out)
    assert 60 == len([to_example(row) for row in rows_of(tmp_path)])


def test_rows_in_are_rows_out_and_refused(tmp_path: Path) -> None:
    """
    What is no JSON object is refused with its line, as strictly as a dropped line is.
    """
    result = converted(
        tmp_path,
        '[{"a": 1},\n7,\n{"a": NaN}, {"a": 1, "a": 2},\n{"text": "' + "b" * 200 + '"}]',
        max_bytes=100,
    )

    assert [{"a": 1}] == rows_of(tmp_path)
    assert (5, 1, 4) == (result.rows_in, result.rows_out, result.rows_refused)
    assert [
        (2, "found 7, expected an object"),
        (3, "found NaN, expected a number or null"),
        (3, "found the key 'a' twice in one object, expected once"),
        (4, "it has 212 bytes, at most 100 are allowed"),
    ] == [(row.place, row.reason) for row in result.refused]


def test_cells_stay_text_unless_the_column_is_known(tmp_path: Path) -> None:
    """
    A number of a table is how somebody wrote it; messages and marks must be what they are.
    """
    converted(
        tmp_path,
        "id;Messages;weight;label;tools\n"
        '007;"[{""role"": ""user"", ""content"": 1.10}]";0;TRUE;\n'
        "8;[];0.5;maybe;\n",
    )

    assert [
        {"id": "007", "messages": [{"role": "user", "content": 1.1}], "weight": 0, "label": True},
        {"id": "8", "messages": [], "weight": 0.5, "label": "maybe"},
    ] == rows_of(tmp_path)


def test_a_row_of_a_table_that_does_not_fit_is_refused_with_its_line(tmp_path: Path) -> None:
    """
    A cell too many is usually a comma without quotes; guessing would move cells.
    """
    result = converted(tmp_path, 'prompt,completion,tools\na,"b\nc",\nd,e,f,g\nh,i\nj,k,{oops}\n')

    assert [{"prompt": "a", "completion": "b\nc"}] == rows_of(tmp_path)
    assert [4, 5, 6] == [row.place for row in result.refused]
    assert "it has 4 cells and the first line names 3 columns" in result.refused[0].reason
    assert "column tools is not JSON (column 2: found" in result.refused[2].reason


@pytest.mark.parametrize("columns", ENOUGH)
def test_the_columns_of_a_table_are_those_of_a_format(columns: tuple[str, ...]) -> None:
    """
    A table that is converted holds rows that the reader knows.
    """
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    shared = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    values: dict[str, object] = {"messages": turns, "conversations": shared}

    assert to_example({column: values.get(column, "a") for column in columns})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("prompt,answer\na,b\n", "its columns are prompt, answer, which make no row; rename"),
        ("prompt,prompt,completion\na,b,c\n", "names 'prompt' twice"),
        ("prompt,,completion\na,b,c\n", "a column without a name"),
        ('prompt,completion\na,b\nc,"d\n', "line 3: the row that begins here cannot be read"),
        ('[{"a": 1}, {"a": ', "line 1: the value that begins here is not closed"),
        (gzip.compress(JSONL.encode(), mtime=0)[:-20], "the compressed data is damaged or cut"),
        (
            gzip.compress(JSONL.encode(), mtime=0)[:-4] + b"aaaa",
            "the compressed data is damaged or cut",
        ),
        (JSONL.encode("utf-16") + b"\0", "the text is not utf-16"),
        (b"prompt,completion\n\xe4,b\n", "iconv -f WINDOWS-1252 -t UTF-8"),
        ("prompt,completion\n" + "a" * 20_000, "line 2 has more than 10000 characters"),
        ("Once upon a time\n", "it is text without any JSON object, which is not converted; put"),
        (b"PK\x03\x04aaaa", "it is a zip archive (or an Excel sheet), which is not converted"),
    ],
)
def test_what_cannot_be_read_to_its_end_is_not_converted(
    tmp_path: Path, data: bytes | str, said: str
) -> None:
    """
    Half a file would look like a whole one; the sentence says where it ends or what to do.
    """
    with pytest.raises(CannotConvert) as caught:
        converted(tmp_path, data)

    assert str(caught.value).startswith(said) or said in str(caught.value)
    assert ["in"] == os.listdir(tmp_path)


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    """
    Not even if it appears while the rows are written.
    """
    (tmp_path / TARGET).write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"):
        converted(tmp_path, JSONL)
    (tmp_path / TARGET).unlink()

    def somebody_else(_n_bytes: int) -> None:
        (tmp_path / TARGET).write_text("mine")

    (tmp_path / "many").write_text(JSONL * 100)
    with pytest.raises(FileExistsError):
        convert(tmp_path / "many", tmp_path / TARGET, max_bytes=1000, on_progress=somebody_else)

    assert "mine" == (tmp_path / TARGET).read_text()
    assert {"in", "many", TARGET} == set(os.listdir(tmp_path))


def test_nothing_is_written_if_no_row_can_be_used(tmp_path: Path) -> None:
    """
    An empty file in the inbox would be set aside with another reason.
    """
    result = converted(tmp_path, "[1, 2]".replace("[", "[{},").replace("{}", '{"a": NaN}'))

    assert (None, 3, 0) == (result.target, result.rows_in, result.rows_out)
    assert ["in"] == os.listdir(tmp_path)


@pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed here"
)
def test_parquet_without_pyarrow_names_the_package(tmp_path: Path) -> None:
    """
    With the command that installs it.
    """
    with pytest.raises(CannotConvert, match=r"pip install 'finetuned\[parquet\]'"):
        converted(tmp_path, b"PAR1 and so on")


def test_parquet_gives_its_rows_without_what_they_lack(tmp_path: Path) -> None:
    """
    A column says with null that a row has no such key; bytes and NaN cannot be said in JSON.
    """
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"messages": [{"role": "user", "content": "a", "name": None}], "n": 2**60, "raw": None},
        {"messages": [{"role": "user", "content": "b", "name": "c"}], "n": None, "raw": b"d"},
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    result = converted(tmp_path, (tmp_path / "a.parquet").read_bytes())

    assert [{"messages": [{"role": "user", "content": "a"}], "n": 2**60}] == rows_of(tmp_path)
    assert [(2, "column raw holds bytes, which JSON cannot say")] == [
        (row.place, row.reason) for row in result.refused
    ]
