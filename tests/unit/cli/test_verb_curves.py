"""
``finetuned curves``: jobs of a journal and logs of any kind, as far as they can be read.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetuned.cli.program import main
from finetuned.core.run import RunKind, RunOutcome
from finetuned.files.heartbeat import HEARTBEAT
from finetuned.files.job_curves import Records
from finetuned.files.journal import Journal
from finetuned.files.run import EVALS, HELD_OUT, METRICS, append_metrics
from finetuned.layout import Layout
from finetuned.supervisor.context import check_root
from support.journals import add_job, promote_job


def write_steps(run: Path, first: int, last: int, *, more: float = 0.0) -> None:
    for step in range(first, last + 1):
        loss = 2.5 * 0.97**step + 0.1 + more
        figures = {"grad_norm": 1.0, "learning_rate": 5e-4, "tokens": 100, "seconds": 0.5}
        append_metrics(run, {"step": step, "loss": loss, **figures}, METRICS)


@pytest.fixture
def root(tmp_path: Path) -> Layout:
    """
    Two jobs: one that was interrupted and resumed, and one that is being trained.
    """
    layout = Layout(tmp_path / "root")
    layout.root.mkdir()
    check_root(layout)
    journal = Journal(layout.journal)
    first = promote_job(journal, "d00000001", "ab" * 8, "v0001")
    second = add_job(journal, "d00000002", "cd" * 8)
    for run, job, resumed in (("1", first, None), ("2", first, "r1"), ("3", second, None)):
        journal.runs.add(f"r{run}", RunKind.TRAINING, job_id=job, resumed_from=resumed)
        (layout.runs / f"r{run}").mkdir(parents=True)
    journal.runs.end("r1", RunOutcome.INTERRUPT)
    journal.runs.end("r2", RunOutcome.FINISH)
    journal.close()
    write_steps(layout.runs / "r1", 1, 60, more=5.0)
    write_steps(layout.runs / "r2", 41, 100)
    (layout.runs / "r2" / HEARTBEAT).write_text('{"batch_total_steps": 100}')
    for step in range(5, 101, 5):
        append_metrics(layout.runs / "r2", {"step": step, "loss": 1 / step}, HELD_OUT)
    write_steps(layout.runs / "r3", 1, 30)
    with (layout.runs / "r3" / METRICS).open("ab") as metrics:
        metrics.write(b'{"step": 31, "lo')
    return layout


def curves(layout: Layout, *args: str) -> int:
    return main(["curves", *args, "--root", str(layout.root)])


def test_a_resumed_job_is_one_curve(root: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The last run counts at each step, the run before it where it alone was.
    """
    assert 0 == curves(root, "--version", "v0001", "--json")
    (job,) = json.loads(capsys.readouterr().out)["jobs"]

    loss = dict(job["curves"]["loss"])
    assert (100, 100, False) == (job["steps"], job["planned_steps"], job["running"])
    assert 5 < loss[40] < 7
    assert loss[41] < 2
    assert 20 == len(job["curves"]["held_out_loss"])
    assert 200.0 == job["curves"]["tokens_per_second"][0][1]


def test_a_job_that_goes_on_and_has_no_eval_is_said_to_be_both(
    root: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The last line is half written: it is left out, as the next look will find it whole.
    """
    assert 0 == curves(root)
    out = capsys.readouterr().out

    assert "30 steps; it is being trained, these are the figures so far" in out
    assert "Held-out loss was measured 0 times" in out
    assert "[measure_the_held_out_loss]" in out


def test_several_jobs_have_a_line_each_and_one_page(
    root: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The page refers to nothing outside.
    """
    page = tmp_path / "page.html"
    assert 0 == curves(root, "--last", "5", "--html", str(page))
    first, second, _ = capsys.readouterr().out.splitlines()

    assert ("j000001", "j000002") == (first.split()[0], second.split()[0])
    text = page.read_text()
    assert "<svg" in text
    assert "training rows" in text
    for reference in ('src="', 'href="http', "url(http"):
        assert reference not in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("nothing of a training\n", "says nothing of a training; 1 of its lines"),
        ('{"event": "supervisor_started"}\n', "says nothing of a training"),
    ],
)
def test_a_log_that_says_nothing_is_refused_in_one_sentence(
    root: Layout,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    words: str,
) -> None:
    """
    Exit status 1, and what was found instead.
    """
    log = tmp_path / "some.log"
    log.write_text(content)

    assert 1 == curves(root, "--training-log", str(log))
    (said,) = capsys.readouterr().err.splitlines()
    assert words in said


def test_a_log_of_the_daemon_names_its_jobs(
    root: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A line that is being written is counted and left out.
    """
    log = tmp_path / "supervisor.log"
    log.write_text('{"event": "run_started", "job_id": "j000001"}\n{"event": "run_en')

    assert 0 == curves(root, "--training-log", str(log))
    said = capsys.readouterr()
    assert said.out.startswith("j000001  v0001")
    assert "1 unreadable lines" in said.err


@pytest.mark.parametrize("kind", ["folder", "metrics", "printed", "state"])
def test_logs_of_other_shapes_are_read(
    root: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """
    A run folder, its metrics, what transformers prints, and what it saves.
    """
    history = [{"loss": 2.5 * 0.9**i + 0.1, "step": i} for i in range(1, 40)]
    log = root.runs / "r2"
    if kind == "metrics":
        log = log / METRICS
    elif kind == "printed":
        log = tmp_path / "output.log"
        log.write_text("".join(f"12:00 {{'loss': '{h['loss']}', 'epoch': 1}}\n" for h in history))
    elif kind == "state":
        log = tmp_path / "trainer_state.json"
        log.write_text(json.dumps({"log_history": history, "max_steps": 40}))

    assert 0 == curves(root, "--training-log", str(log), "--json")
    (job,) = json.loads(capsys.readouterr().out)["jobs"]
    assert job["steps"] == (100 if kind in ("folder", "metrics") else 39)
    assert job["findings"]


def test_what_does_not_exist_is_refused(
    root: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A job, a version, a log, a root without a journal.
    """
    assert 1 == curves(root, "--job", "j000099")
    assert 1 == curves(root, "--version", "v0099")
    with pytest.raises(SystemExit) as left:
        curves(root, "--training-log", str(tmp_path / "none.log"))
    assert 2 == left.value.code
    capsys.readouterr()
    assert 1 == main(["curves", "--root", str(tmp_path)])
    assert "no journal yet" in capsys.readouterr().err


def test_records_of_an_older_version_and_of_no_version_are_read_as_far_as_they_go(
    tmp_path: Path,
) -> None:
    """
    No answers, no tokens, NaN written as null, a step that is text: no error, no point.
    """
    for record in (
        {"step": 1, "loss": 2.0},
        {"step": 2, "loss": None, "skipped": True},
        {"step": "3", "loss": 1.0},
        {"loss": 1.0},
    ):
        append_metrics(tmp_path, record, METRICS)
    append_metrics(tmp_path, {"step": 1, "loss": 2.0, "kl": 0.0}, EVALS)
    append_metrics(
        tmp_path, {"step": 2, "answers": [{"id": 3}, "x", {"id": "q", "loss": 1}]}, EVALS
    )
    records = Records()
    records.add_run(tmp_path)
    found = records.curves()

    assert ((1,), (2.0,)) == (found.loss.steps, found.loss.values)
    assert (2,) == found.skipped
    assert 1 == len(found.held_out)
    assert not found.held_out_fixed
