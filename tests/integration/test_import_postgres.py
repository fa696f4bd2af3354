"""
Exports that a real PostgreSQL makes of ai_decisions: each form of dump gives the same rows.

Skipped where PostgreSQL is not installed; on Debian: apt-get install postgresql.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetuned.errors import CannotImport
from finetuned.sources.imports.decision_files import read
from finetuned.sources.imports.found import FoundRow, Source

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/nowhere"))
pytestmark = [
    pytest.mark.skipif(not (BIN / "initdb").exists(), reason="PostgreSQL is not installed"),
    pytest.mark.slow,
]

TABLE = """
CREATE TYPE feedback AS ENUM ('thumbs_up', 'thumbs_down');
CREATE TABLE ai_decisions (
    id uuid PRIMARY KEY, "timestamp" timestamptz NOT NULL, appliance_id text, customer_id text,
    query text, query_hash text, parsed_intent jsonb,
    confidence numeric(4,3) CHECK (confidence < 2),
    llm_model text, llm_tokens_used int, llm_duration_ms int, playbook_yaml text,
    execution_status text, execution_duration_seconds real, execution_output text,
    execution_errors text[], user_feedback feedback, user_comment text,
    is_training_data boolean DEFAULT false, human_verified boolean, correct_intent jsonb
);
CREATE INDEX ON ai_decisions ("timestamp");
CREATE TABLE other (a text);
INSERT INTO other VALUES ('COPY ai_decisions (query) FROM stdin;'), (E'\\\\.');
COMMENT ON TABLE ai_decisions IS 'what was asked; it''s all there -- /* really';
CREATE FUNCTION f() RETURNS text LANGUAGE sql
    AS $$ SELECT 'INSERT INTO ai_decisions VALUES (1);' $$;
"""

QUERIES = [
    "point api.local at 10.0.0.5",
    'it\'s "quoted"; -- and /* commented */ $$ $a$',
    "a tab\tand a\nnew line\\.\n\\N and \\t as text, a CR\r here",
    "Grüße an 世界 \U0001f600",
    "\\.",
    "COPY ai_decisions FROM stdin;",
    "create user jdoe with password hunter22",
]


def run(*command: str | Path, data: Path, text: str | None = None) -> str:
    """
    Run a program of PostgreSQL, as its user if the tests run as root.
    """
    who = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    environment = {
        **os.environ,
        "PGHOST": str(data.parent),
        "PGDATABASE": "postgres",
        "LC_ALL": "C",
    }
    done = subprocess.run(
        [str(BIN / command[0]), *map(str, command[1:])],
        input=None if text is None else text.encode(),
        env=environment,
        cwd=data.parent,
        capture_output=True,
        check=False,
        **who,  # type: ignore[arg-type]
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()  # not text=True, which would change a CR


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """A server with the table in it; its data folder."""
    folder = Path(tempfile.mkdtemp(prefix="finetuned-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    try:
        run("initdb", "-D", data, "-A", "trust", "--encoding=UTF8", "--no-sync", data=data)
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        run("pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start", data=data)
        try:
            run("psql", "-q", "-v", "ON_ERROR_STOP=1", data=data, text=TABLE + rows())
            yield data
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "stop", data=data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rows() -> str:
    """
    Return INSERTs of one row for each query.
    """
    found = []
    for n, query in enumerate(QUERIES):
        intent = {"action": "user_add", "username": f"u{n}", "password": "hunter22"}
        text = f"$q${query}$q$"
        found.append(
            f"(gen_random_uuid(), '2025-11-0{n + 1}T10:00:00Z', "
            f"NULL, 'c', {text}, 'h', '{json.dumps(intent)}', 0.9{n}, 'm', 1, 2, {text}, "
            f"'success', 1.5, {text}, ARRAY[{text}, NULL], NULL, NULL, false, {n % 2 == 0}, NULL)"
        )
    return f"INSERT INTO ai_decisions VALUES {', '.join(found)};"  # noqa: S608


def found_in(path: Path) -> list[tuple[object, ...]]:
    """
    Return what is found, without the lines and without what tells one row from another.
    """
    rows = list(read(Source(path, 1 << 20)))
    assert all(isinstance(row, FoundRow) for row in rows), rows
    return [
        (row.row, row.confidence, row.verified, row.reasons, row.facts["execution_status"])
        for row in rows
        if isinstance(row, FoundRow)
    ]


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--data-only"],
        ["--inserts"],
        ["--column-inserts", "--data-only"],
        ["--rows-per-insert=3"],
        ["--data-only", "--column-inserts", "--rows-per-insert=100", "--table=ai_decisions"],
        ["--quote-all-identifiers"],
    ],
    ids=" ".join,
)
def test_each_form_of_a_plain_dump_gives_the_same_rows(
    server: Path, tmp_path: Path, flags: list[str]
) -> None:
    """
    Queries with quotes, tabs, line feeds, and with what ends a dump, come back to the letter.
    """
    path = tmp_path / "dump.sql"
    path.write_text(run("pg_dump", *flags, data=server), newline="")
    found = found_in(path)

    assert len(QUERIES) == len(found)
    asked = [row["messages"][0]["content"] for row, *_ in found]  # type: ignore[index]
    assert QUERIES[:-1] == asked[:-1]
    assert "create user jdoe with password secret://u6" == asked[-1]
    assert [True, False] * 3 + [True] == [verified for _, _, verified, *_ in found]


def test_csv_and_json_of_psql_give_the_rows_of_the_dump(server: Path, tmp_path: Path) -> None:
    """
    As ``\\copy`` and ``row_to_json`` write them.
    """
    dump, table, lines = tmp_path / "dump.sql", tmp_path / "rows.csv", tmp_path / "rows.jsonl"
    dump.write_text(run("pg_dump", data=server), newline="")
    select = 'SELECT * FROM ai_decisions ORDER BY "timestamp"'
    table.write_text(
        run("psql", "-c", f"COPY ({select}) TO STDOUT WITH CSV HEADER", data=server), newline=""
    )
    lines.write_text(
        run("psql", "-At", "-c", f"SELECT row_to_json(r) FROM ({select}) r", data=server)  # noqa: S608
    )

    assert found_in(dump) == found_in(table) == found_in(lines)


@pytest.mark.parametrize("form", ["custom", "tar", "directory"])
def test_an_archive_is_refused_and_the_named_command_makes_a_plain_dump(
    server: Path, tmp_path: Path, form: str
) -> None:
    """
    The line with pg_restore is one that works.
    """
    folder = server.parent / form
    run("pg_dump", f"--format={form}", f"--file={folder}", data=server)
    with pytest.raises(CannotImport, match=f"{form} format") as refused:
        next(iter(read(Source(folder, 1 << 20))))
    command = str(refused.value).partition("make a plain one: ")[2].split()
    run(*command, data=server)

    assert len(QUERIES) == len(found_in(server.parent / f"{form}.sql"))


def test_a_dump_that_was_cut_anywhere_is_refused(server: Path, tmp_path: Path) -> None:
    """
    Whatever the line is at which it breaks off.
    """
    whole = run("pg_dump", "--inserts", data=server)
    path = tmp_path / "dump.sql"
    ends = whole.rindex("-- PostgreSQL database dump complete")
    for cut in range(400, ends, 997):
        path.write_text(whole[:cut], newline="")
        with pytest.raises(CannotImport):
            list(read(Source(path, 1 << 20)))
