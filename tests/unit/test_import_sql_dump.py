"""
Dumps of PostgreSQL, read as rows: every value to the letter, and every cut told.
"""

from __future__ import annotations

import io
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.errors import CannotImport
from finetuned.files.sql_dump import BEGINS, ENDS, DumpedRow, Seen, rows_of

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
VALUES = st.lists(
    st.lists(st.none() | TEXT | st.sampled_from(["\\.", "\\N", "';", "--", "/*", "$$", "\r\n"]),
             min_size=2, max_size=2),
    max_size=5,
)  # fmt: skip
COLUMNS = ("a", "B b")
_ESCAPES = {
    "\\": "\\\\",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def read(text: str, table: str = "t", *, step: int = 1 << 20) -> list[DumpedRow]:
    stream = io.BytesIO(text.encode())
    return list(rows_of(lambda n: stream.read(min(n, step)), table, max_bytes=1 << 16))


def copied(rows: list[list[str | None]]) -> str:
    """
    Return what COPY writes of some rows.
    """
    lines = [
        "\t".join("\\N" if v is None else "".join(_ESCAPES.get(c, c) for c in v) for v in row)
        for row in rows
    ]
    return "".join(f"{line}\n" for line in ['COPY public.t (a, "B b") FROM stdin;', *lines, "\\."])


def inserted(rows: list[list[str | None]]) -> str:
    """
    Return one INSERT of some rows.
    """
    quoted = (
        ", ".join("NULL" if v is None else "'" + v.replace("'", "''") + "'" for v in row)
        for row in rows
    )
    values = ", ".join(f"({row})" for row in quoted)
    return f'INSERT INTO public.t (a, "B b") VALUES {values};\n' if rows else ""  # noqa: S608


@settings(max_examples=60, deadline=None)
@given(VALUES, st.integers(1, 40))
def test_what_copy_and_insert_write_is_read_to_the_letter(
    rows: list[list[str | None]], step: int
) -> None:
    """
    Whatever is in a value, and wherever the blocks end in which the file is read.
    """
    expected = [dict(zip(COLUMNS, row, strict=True)) for row in rows]

    assert expected == [row.values for row in read(copied(rows), step=step)]
    assert expected == [row.values for row in read(inserted(rows), step=step)]
    assert all(row.wrong is None for row in read(copied(rows) + inserted(rows)))


@settings(max_examples=60, deadline=None)
@given(VALUES, st.booleans(), st.data())
def test_every_cut_of_a_dump_is_told(
    rows: list[list[str | None]], with_copy: bool, data: st.DataObject
) -> None:
    """
    A beginning of what pg_dump writes is never taken for all of it.
    """
    body = copied(rows) if with_copy else inserted(rows)
    dump = f"--\n{BEGINS}\n--\n\nSET client_encoding = 'UTF8';\n{body}\n--\n{ENDS}\n--\n"
    assert len(rows) == len(read(dump))
    end = dump.index(ENDS)
    cut = data.draw(st.integers(len(f"--\n{BEGINS}\n"), end + len(ENDS) - 1))

    with pytest.raises(CannotImport, match=r"breaks off|cannot be read"):
        read(dump[:cut])


@settings(max_examples=100, deadline=None)
@given(st.text("COPYINSERT t()'\"$;,\\.N-/*\n\te10a", max_size=60))
def test_any_text_is_rows_or_one_clear_refusal(text: str) -> None:
    """
    Nothing else is raised, whatever the text is.
    """
    for begin in ("", "COPY t (a) FROM stdin;\n", "INSERT INTO t (a, b) VALUES ("):
        with suppress(CannotImport):
            read(begin + text)


def test_escapes_of_every_kind_are_read() -> None:
    """
    As older programs and people write them.
    """
    copy = "COPY t (a) FROM stdin;\n\\x41\\101\\q\\u\n\\.\n"
    insert = "INSERT INTO t (a) VALUES (E'\\x41\\u00e9\\'''\\n');"

    assert [{"a": "AAqu"}, {"a": "Aé''\n"}] == [row.values for row in read(copy + insert)]


def test_rows_of_other_tables_comments_and_functions_are_none_of_ours() -> None:
    """
    Also if they hold the text of a statement about the table.
    """
    text = """\\restrict abc
    /* INSERT INTO t (a) VALUES (1); /* and inside */ ; */ INSERT INTO t (a) VALUES ('yes');
    -- INSERT INTO t (a) VALUES (2);
    CREATE FUNCTION f() AS $b$ INSERT INTO t (a) VALUES (3); ' $b$;
COPY other (a) FROM stdin;
INSERT INTO t (a) VALUES (4);
\\.
    INSERT INTO other VALUES ('x; INSERT INTO t (a) VALUES (5);');
    insert into other values (1); insert into s.t (a) values (-1.5);
"""
    seen = Seen({})
    stream = io.BytesIO(text.encode())
    rows = list(rows_of(stream.read, "t", max_bytes=1000, seen=seen))

    assert [("yes", 2), ("-1.5", 9)] == [(row.values["a"], row.line) for row in rows]
    assert ["t", "other"] == list(seen.tables)


def test_columns_come_from_the_table_if_the_statement_names_none() -> None:
    """
    Constraints are no columns.
    """
    text = """CREATE TABLE IF NOT EXISTS public.t (
        a integer DEFAULT f('x, y') NOT NULL, "B" numeric(10,2),
        CONSTRAINT c CHECK (a > 1), PRIMARY KEY (a), UNIQUE (a, "B"));
        INSERT INTO t VALUES (1, 2::numeric(3,1)), (TRUE, NULL) ON CONFLICT DO NOTHING;"""

    assert [{"a": "1", "B": "2"}, {"a": "true", "B": None}] == [row.values for row in read(text)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("INSERT INTO t VALUES (1);", "names no columns"),
        ("COPY t FROM stdin;\n1\n\\.\n", "names no columns"),
        ("INSERT INTO t (a) SELECT 1;", "expected VALUES"),
        ("INSERT INTO t (a) VALUES (now());", "expected a value"),
        ("INSERT INTO t (a) VALUES (E'\\ud800');", "which is none"),
        ("COPY t (a) FROM stdin WITH (FORMAT csv);\n1\n\\.\n", "export it as CSV"),
        ("SET client_encoding = 'LATIN1';\n", "--encoding=UTF8"),
        ("SET standard_conforming_strings = off;\n", "standard_conforming_strings"),
        ("INSERT INTO t (a) VALUES ('x", "has no end"),
        ("/* never closed", "has no end"),
        ("CREATE FUNCTION f() AS $x$ ...", "has no end"),
    ],
)
def test_what_is_not_read_is_said_with_its_line(text: str, says: str) -> None:
    """
    No statement about the table is passed over.
    """
    with pytest.raises(CannotImport, match="line 1") as refused:
        read(text)
    assert says in str(refused.value)


def test_a_row_with_too_few_values_is_one_row_that_is_wrong() -> None:
    """
    The others are read; so is one with a byte that is no UTF-8, or that is too long.
    """
    text = "COPY t (a, b) FROM stdin;\n1\n1\t2\n\\xff\t1\n" + "x" * 70000 + "\ty\n\\.\n"
    wrong = [row.wrong for row in read(text)]

    assert wrong[1] is None
    assert ["1 values", "not UTF-8", "70002 bytes"] == [
        said for said, row in zip(["1 values", "not UTF-8", "70002 bytes"],
                                  [wrong[0], wrong[2], wrong[3]], strict=True) if said in str(row)
    ]  # fmt: skip
