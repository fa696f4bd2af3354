"""
Retiring a job that has corrections, under SIGKILL at its system calls.

The law: after the next start the file of corrections is there once, whole, and the job is retired.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from finetuned.config import Config
from finetuned.core.job import JobEvent
from finetuned.files.atomic import write_atomic
from finetuned.files.journal import Journal
from finetuned.files.run import CORRECTIONS, CORRECTIONS_REPORT
from finetuned.layout import Layout
from finetuned.supervisor.context import Context
from finetuned.supervisor.corrections import corrections_name
from finetuned.supervisor.inbox.retire import retire_job
from finetuned.supervisor.status import StatusBoard
from support.desk import desk
from support.journals import TO_EVALUATING, add_job
from support.kills import DONE, Step, calls_in, kill_before, needs_strace, traced
from support.versions import commit

KEY, RUN = "d00000001", "r000009"
ROWS = b"".join(b'{"prompt": "%d", "completion": "a"}\n' % n for n in range(500))
SAMPLE = 6
NAMES = ("link", "linkat", "rename", "renameat2")


@pytest.fixture
def folder() -> Iterator[Path]:
    """
    A folder in memory if there is one: a killed process loses nothing that it had written.
    """
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        yield Path(name)


def make_root(root: Path) -> str:
    """
    Make a root with a held job whose corrections lie in its run's folder; return the job's id.
    """
    root.mkdir()
    with desk(root) as context:
        journal, layout = context.journal, context.layout
        job_id = add_job(journal, KEY, "a" * 16)
        for step in TO_EVALUATING:
            journal.jobs.move(job_id, step)
        (layout.runs / RUN).mkdir(parents=True)
        write_atomic(layout.runs / RUN / CORRECTIONS, ROWS)
        write_atomic(layout.runs / RUN / CORRECTIONS_REPORT, orjson.dumps({"rows": 500}))
        version = commit(layout, eval_run_id=RUN)
        journal.conclude(job_id, JobEvent.HOLD, version=version, parent=None, reason="")
        (layout.processing / KEY).mkdir()
        (layout.processing / KEY / "x").write_text("1")
    return job_id


def opened(root: Path) -> Context:
    """
    Return the context of a daemon that starts on *root*.
    """
    layout = Layout(root)
    return Context(layout, Config(), Journal(layout.journal), StatusBoard(layout.status_file))


@needs_strace
@pytest.mark.timeout(600)
def test_a_killed_daemon_delivers_corrections_once(folder: Path) -> None:
    """
    Whether or not the file was claimed before the next start.
    """
    root, pristine = folder / "root", folder / "pristine"
    job_id = make_root(root)
    name, layout = corrections_name(job_id), Layout(root)
    shutil.copytree(root, pristine)

    def begin() -> Step:
        context = opened(root)
        return lambda: retire_job(context, context.journal.jobs.get(job_id))

    log = folder / "trace"
    assert DONE == traced(begin, log)
    calls = calls_in(log)
    others = [call for call in calls if call[0] not in NAMES]
    spread = [others[(2 * n + 1) * len(others) // (2 * SAMPLE)] for n in range(SAMPLE)]
    chosen = [*(call for call in calls if call[0] in NAMES), *spread]
    assert any(call[0] in ("link", "linkat") for call in chosen)
    for number, where in enumerate(chosen):
        shutil.rmtree(root)
        shutil.copytree(pristine, root)
        kill_before(begin, log, *where)
        if number % 2 and (layout.inbox / name).exists():
            (layout.processing / "d00000002").mkdir()
            (layout.inbox / name).rename(layout.processing / "d00000002" / name)
        context = opened(root)
        for job in context.journal.jobs.unretired():
            retire_job(context, job)
        assert context.journal.jobs.unretired() == [], where
        context.journal.close()
        found = [path.read_bytes() for path in layout.inbox.rglob(name)]
        assert found == [ROWS], where
    print(f"\nkilled at {len(chosen)} of {len(calls)} calls")
