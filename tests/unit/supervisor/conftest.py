import pytest

from finetuned.supervisor.runs import ahead, jobs, run
from support.desk import PaperWorker, desk


@pytest.fixture
def context(tmp_path):
    with desk(tmp_path) as context:
        yield context


@pytest.fixture
def workers(monkeypatch):
    """
    The workers that are started, oldest first; none of them is a process.
    """
    started = []

    def spawn(_context, kind, *, launch=None, run_dir=None):
        worker = PaperWorker(kind, pid=4_000_000 + len(started), launched=launch is not None)
        started.append(worker)
        return worker

    for module in (run, ahead, jobs):
        monkeypatch.setattr(module, "spawn", spawn)
    return started
