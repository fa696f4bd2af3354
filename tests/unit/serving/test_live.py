import os
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from finetuned.core.run import RunKind
from finetuned.files.feedback import FeedbackFile
from finetuned.files.journal import Journal
from finetuned.files.journal_view import JournalView
from finetuned.files.run import utc_now
from finetuned.files.status_file import boot_id
from finetuned.layout import Layout
from finetuned.reports.lineage import Rail, rails
from finetuned.serving.gateway.live import LiveReader
from finetuned.serving.gateway.snapshot import Snapshot, VersionLine, changed
from finetuned.supervisor.status import DEFAULTS
from support.feedback import exchange
from support.live_roots import NO_MEMORY, make_root
from tests.support.journals import promote_job


@pytest.fixture
def layout(tmp_path):
    found = Layout(tmp_path)
    for folder in found.folders():
        folder.mkdir(parents=True, exist_ok=True)
    return found


@pytest.fixture
def reader(layout):
    found = LiveReader(layout)
    yield found
    found.close()


def write_status(layout, **fields):
    now = {"pid": os.getpid(), "boot_id": boot_id(), "heartbeat_at": utc_now(), "phase": "training"}
    layout.status_file.write_bytes(orjson.dumps({**DEFAULTS, **now, **fields}))


def test_a_root_without_anything_is_no_error(reader):
    """
    The page of a new root has empty parts and no complaint.
    """
    assert Snapshot() == reader.look(datetime.now(UTC))


def test_a_daemon_that_was_killed_is_said_at_the_next_look(layout, reader):
    """
    Its process is asked for, so that nobody waits for the status to grow old.
    """
    write_status(layout)
    alive = reader.look().now.alive
    write_status(layout, pid=2**22 + 1)
    gone = reader.look().now

    assert alive
    assert (False, "The daemon is gone") == (gone.alive, gone.headline[:18])


def test_the_journal_is_read_while_the_daemon_has_it_open(layout, reader):
    """
    What was committed a moment ago is shown, and the reader cannot write.
    """
    journal = Journal(layout.journal)
    promote_job(journal, "d00000001", "a" * 16, "v0001")
    first = reader.look()
    promote_job(journal, "d00000002", "b" * 16, "v0002")
    second = reader.look()
    view = JournalView(layout.journal)
    with pytest.raises(Exception, match="readonly"):
        view.versions.add("v0009", "promoted", parent=None)
    view.close()
    journal.close()

    assert ["v0001"] == [v.name for v in first.versions]
    assert ["v0002", "v0001"] == [v.name for v in second.versions]
    assert [True, False] == [v.in_use for v in second.versions]
    assert {"queue", "versions"} == set(changed(first, second))


def test_a_look_at_a_root_where_nothing_happens_changes_nothing(layout, reader):
    """
    A browser is sent nothing but a sign of life.
    """
    write_status(layout)
    first = reader.look()

    assert [] == list(changed(first, reader.look()))


def test_a_first_look_shows_all_that_is_there(tmp_path):
    """
    Also what depends on the newest version: who opens the page is not told "nothing yet".
    """
    reader = LiveReader(make_root(tmp_path, "failed"))
    found = reader.look()
    reader.close()

    assert (9, 9) == (len(found.forgetting.versions), len(found.versions))
    assert (2, 12) == (len(found.curves), len(found.queue.files))
    assert found.examples
    assert found.log
    assert found.incidents


def test_a_file_says_what_became_of_it(tmp_path):
    """
    In the words of its job if it has one: failed with the reason, promoted as which version.
    """
    reader = LiveReader(make_root(tmp_path, "failed"))
    files = {file.name: file for file in reader.look().queue.files}
    reader.close()

    assert {
        "firewall-09.jsonl": ("failed", None),
        "users-10.jsonl": ("being validated", None),
        "notes.jsonl": ("set aside", None),
        "samba-shares-09.jsonl": ("promoted", "v0009"),
        "mail-queue-05.jsonl": ("rejected", "v0005"),
    }.items() <= {name: (file.state, file.version) for name, file in files.items()}.items()
    assert NO_MEMORY == files["firewall-09.jsonl"].note


def test_the_loss_is_shown_from_the_first_step_on(layout, reader):
    """
    Until then the status has a 0 that no model ever reached.
    """
    job = {"id": "j000001", "datasets": ["a.jsonl"], "n_datasets": 1, "attempts": 0}
    write_status(layout, phase="loading", job=job)
    loading = reader.look().now.facts
    write_status(layout, job=job, batch_step=1, batch_total_steps=9, loss=2.5)

    assert ((), (("loss", "2.500"),)) == (loading, reader.look().now.facts)


def test_what_counts_nothing_says_what_it_does_and_for_how_long(layout, reader):
    """
    In the words of finetuned status: loading and the rehearsal take minutes on a small machine.
    """
    job = {"id": "j000001", "datasets": ["a.jsonl"], "n_datasets": 1, "attempts": 0}
    began = (datetime.now(UTC) - timedelta(seconds=80)).isoformat()
    write_status(layout, phase="rehearsing", phase_detail="512 tokens", phase_since=began, job=job)
    headline = reader.look().now.headline

    assert headline.startswith("Trying how large a batch fits into memory: 512 tokens, for 1 min")
    write_status(layout, phase="training", phase_since=began, job=job)
    assert "Training" == reader.look().now.headline


@pytest.mark.parametrize(
    ("state", "command"),
    [("empty", "finetuned run"), ("paused", "touch control/resume"), ("training", "")],
)
def test_who_waits_is_told_what_to_do(tmp_path, state, command):
    """
    A page that says that nothing goes on says how it goes on.
    """
    reader = LiveReader(make_root(tmp_path, state))
    found = reader.look().now
    reader.close()

    assert command == found.command
    assert bool(command) == bool(found.advice)


def test_curves_grow_by_whole_lines(layout, reader):
    """
    A line that is being written is read once it is whole.
    """
    journal = Journal(layout.journal)
    journal.runs.add("r000001", RunKind.TRAINING)
    run = layout.runs / "r000001"
    run.mkdir()
    metrics = run / "metrics.jsonl"
    metrics.write_bytes(b'{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    first = reader.look().curves[0].x
    with metrics.open("ab") as file:
        file.write(b'ss": null}\n{"step": 3, "loss": 1.0}\n')
    grown = reader.look().curves[0]
    journal.close()

    assert (1.0,) == first
    assert ((1.0, 2.0, 3.0), (2.0, None, 1.0)) == (grown.x, grown.lines[0].y)


@pytest.mark.parametrize("strange", [{"job": 5}, {"recent_examples": [3]}, {"gpus": {"a": 1}}])
def test_a_strange_status_empties_its_part_and_is_named(layout, reader, strange):
    """
    The rest of the page goes on.
    """
    write_status(layout, **strange)

    assert 1 == len(reader.look().unreadable)


def test_a_line_of_the_log_that_is_no_event_is_shown_as_it_is(layout, reader):
    """
    Nothing silent: a broken line is seen.
    """
    (layout.logs / "supervisor.log").write_bytes(b'{"event": "a_b", "x": 1}\n\xff half {\n')

    assert ["a b: x 1", "\ufffd half {"] == [line.text for line in reader.look().log]


def test_lines_of_siblings_meet_at_their_parent():
    """
    A rejected version is a lane of its own, which ends at what it was trained on.
    """
    known = [
        VersionLine(name=name, parent=parent, verdict="held", reason="", at="")
        for name, parent in (("v3", "v1"), ("v2", "v1"), ("v1", None))
    ]

    assert [
        Rail(0, (), (), below=True),
        Rail(1, (), (0,), below=True),
        Rail(0, (0, 1), (), below=False),
    ] == rails(known)


def test_the_number_of_answers_that_wait_for_review_is_followed(layout, reader):
    """
    Also while the service writes; without a service it is none.
    """
    before = reader.look().queue.reviews
    layout.serving.mkdir()
    file = FeedbackFile(layout.feedback)
    file.record([exchange(1), exchange(2)], threshold=0.9)
    two = reader.look().queue.reviews
    file.record([exchange(3)], threshold=0.9)
    three = reader.look().queue.reviews
    file.close()

    assert (0, 2, 3) == (before, two, three)
