"""
One turn of the loop, on a root without processes: what ends it, and what does not.
"""

import json
import sqlite3

import pytest
from structlog.testing import capture_logs

from finetuned.config import Config
from finetuned.errors import EXIT_CONFIG, CorruptRow
from finetuned.layout import Layout
from finetuned.supervisor.context import check_root
from finetuned.supervisor.loop import Supervisor
from support.journals import add_accepted

BAD = {
    "jobs": "UPDATE jobs SET state = 'x'",
    "datasets": "UPDATE datasets SET priority = 'x'",
}
GOOD = {
    "jobs": "UPDATE jobs SET state = 'queued'",
    "datasets": "UPDATE datasets SET priority = 'normal'",
}


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path)


@pytest.fixture
def supervisor(layout, workers):
    supervisor = Supervisor(layout, Config(), until_idle=False)
    supervisor._context.journal.settings.pause("nothing is to be started here")
    yield supervisor
    supervisor._context.journal.close()


def damage(layout, sql):
    """
    Change the journal as another program, or another version of this one, would.
    """
    with sqlite3.connect(layout.journal) as db:
        db.execute(sql)


@pytest.mark.parametrize("table", ["jobs", "datasets"])
def test_a_row_that_cannot_be_read_is_a_reason_to_wait_and_no_end(supervisor, layout, table):
    """
    The daemon would be started again, find the same row, and end again. It says which row it
    is, goes on to obey orders, and works again once the row is put right.
    """
    journal = supervisor._context.journal
    add_accepted(journal, "d00000001", "a" * 16)
    if table == "jobs":
        journal.jobs.add("normal", ["d00000001"])
    supervisor.turn()
    damage(layout, BAD[table])
    with capture_logs() as logs:
        supervisor.turn()
        supervisor.turn()
    fields = supervisor._board.fields
    assert fields["phase"] in ("waiting", "paused")
    assert f"table {table}" in fields["waiting_reason"]
    assert 1 == [entry["event"] for entry in logs].count("work_blocked")
    damage(layout, GOOD[table])
    supervisor.turn()
    supervisor.turn()

    assert fields["waiting_reason"] is None


def test_a_stop_is_obeyed_though_the_journal_cannot_be_read(supervisor, layout):
    """
    Otherwise only SIGKILL would end it.
    """
    add_accepted(supervisor._context.journal, "d00000001", "a" * 16)
    damage(layout, "UPDATE datasets SET priority = 'x'")
    supervisor.turn()
    assert not supervisor._leaving
    (layout.control / "stop").touch()
    supervisor.turn()

    assert supervisor._leaving


def test_a_start_that_finds_such_a_row_is_not_repeated():
    """
    A service manager starts a daemon again after any other status than that of a wrong
    configuration.
    """
    assert EXIT_CONFIG == CorruptRow.exit_status


def test_a_start_says_nothing_of_the_daemon_before(layout, workers):
    """
    It was killed while it read a file, with a wrong config.toml that somebody put right since.
    """
    check_root(layout)
    last = {"phase": "validating", "validating": {"file": "a.jsonl"}, "config_error": "no"}
    layout.status_file.write_text(json.dumps(last))
    supervisor = Supervisor(layout, Config(), until_idle=False)
    supervisor._recover()
    fields = supervisor._board.fields
    supervisor._context.journal.close()

    assert (1, None, None) == (fields["restarts"], fields["validating"], fields["config_error"])
