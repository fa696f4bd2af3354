"""
What the ingestion worker says of a file decides where the file goes, exactly once.
"""

import orjson
import pytest

from finetuned.core.dataset_state import DatasetState
from finetuned.core.run import RunOutcome
from finetuned.errors import ConfigError, Unavailable
from finetuned.files.claims import claimed_file
from finetuned.files.dataset_result import DatasetOutcome, DatasetResult, write_result
from finetuned.files.line_mark import LineMark, LineRange
from finetuned.files.rows import RunRow
from finetuned.files.run import write_error
from finetuned.files.spec import IngestionSpec, read_spec
from finetuned.supervisor.inbox.intake import Intake
from finetuned.supervisor.inbox.validation import CRASHES_PER_FILE, STUCK_PER_FILE


@pytest.fixture
def intake(context, workers, monkeypatch, tmp_path):
    monkeypatch.setattr(type(context), "base", lambda _: tmp_path)
    context.layout.benchmarks.mkdir(exist_ok=True)
    return Intake(context)


def drop(context, intake, *names):
    """
    Put files into the inbox by rename and have them claimed; return their keys.
    """
    for name in names:
        (context.layout.inbox / name).write_text(f'{{"text": "{name}"}}\n')
    intake.look(100.0, woken=True, renamed={name.encode() for name in names})
    intake.claim_stable()
    return sorted(context.journal.datasets.keys())


def state(context, key):
    return context.journal.datasets.get(key).state


def run_folder(workers):
    return workers[-1].runs[-1]


def result(workers, key, **said):
    folder = run_folder(workers)
    (folder / "results").mkdir(exist_ok=True)
    write_result(folder, key, DatasetResult(**said))


def test_everything_claimed_is_asked_of_the_worker_in_order(context, intake, workers):
    """
    The spec names each file with its size at the claim, and where the tokenizer is.
    """
    keys = drop(context, intake, "a.jsonl", "b.jsonl")
    intake.validation.start()
    spec = read_spec(run_folder(workers), IngestionSpec)

    assert keys == [file.dataset_key for file in spec.files]
    assert ["a.jsonl", "b.jsonl"] == [file.name for file in spec.files]
    assert all(
        file.path.is_file() and file.bytes == file.path.stat().st_size for file in spec.files
    )
    assert intake.validation.busy


def test_a_claim_whose_file_is_gone_is_forgotten(context, intake, workers):
    """
    Somebody took it back by hand: there is nothing to validate.
    """
    (key,) = drop(context, intake, "a.jsonl")
    claimed_file(context.layout, key).unlink()
    intake.validation.start()

    assert context.journal.datasets.get(key) is None
    assert not intake.validation.busy


def test_an_accepted_file_waits_for_a_job(context, intake, workers):
    """
    Its result is taken as soon as it is there, while the worker goes on with the others.
    """
    first, second = drop(context, intake, "a.jsonl", "b.jsonl")
    intake.validation.start()
    result(workers, first, result=DatasetOutcome.ACCEPTED, dataset_id="a" * 16, sha256="a" * 64)
    intake.validation.poll()

    assert DatasetState.ACCEPTED is state(context, first)
    assert DatasetState.CLAIMED is state(context, second)
    assert [first] == [a.key for a in context.journal.datasets.without_job()]


@pytest.mark.parametrize(
    "said",
    [
        {"result": DatasetOutcome.QUARANTINED, "dataset_id": "a" * 16, "reason": "6 of 9 are bad"},
        {"result": DatasetOutcome.UNREADABLE, "reason": "6 of 9 are bad"},
    ],
)
def test_a_refused_file_ends_in_rejected_with_its_reason_beside_it(context, intake, workers, said):
    """
    Nothing that a person dropped is deleted.
    """
    (key,) = drop(context, intake, "a.jsonl")
    intake.validation.start()
    result(workers, key, **said)
    intake.validation.poll()
    rejected = context.layout.quarantine

    assert DatasetState.QUARANTINED is state(context, key)
    assert [f"a.{key}.jsonl"] == [p.name for p in rejected.glob("*.jsonl")]
    (reason,) = rejected.glob("*.reason.json")
    assert "6 of 9 are bad" == orjson.loads(reason.read_bytes())["reason"]


@pytest.mark.parametrize("outcome", [DatasetOutcome.QUARANTINED, DatasetOutcome.ACCEPTED])
def test_what_was_refused_is_written_before_the_journal_has_it(
    context, intake, workers, monkeypatch, outcome
):
    """
    A daemon killed in between looks at the file again; what is on record it never would.
    """
    (key,) = drop(context, intake, "a.jsonl")
    intake.validation.start()
    data = context.layout.datasets / ("a" * 16)
    for folder in (data, run_folder(workers) / key):
        folder.mkdir(parents=True)
        (folder / "rejects.jsonl").write_text("{}\n")
    result(workers, key, result=outcome, dataset_id="a" * 16, sha256="a" * 64, reason="bad")

    def killed(*_, **__):
        raise KeyboardInterrupt

    for name in ("accept", "quarantine"):
        monkeypatch.setattr(type(context.journal.datasets), name, killed)
    with pytest.raises(KeyboardInterrupt):
        intake.validation.poll()

    expected = {"a.d00000001.rejects.jsonl"}
    if outcome is DatasetOutcome.QUARANTINED:
        expected |= {"a.d00000001.reason.json"}
    assert expected == {path.name for path in context.layout.quarantine.iterdir()}


def test_a_file_that_changed_goes_back_and_must_be_still_again(context, intake, workers):
    """
    Its writer was not done.
    """
    (key,) = drop(context, intake, "a.jsonl")
    intake.validation.start()
    result(workers, key, result=DatasetOutcome.UNSTABLE, reason="it grew")
    intake.validation.poll()

    assert (context.layout.inbox / "a.jsonl").is_file()
    assert context.journal.datasets.get(key) is None
    assert not intake.scanned  # or --until-idle would leave it there and exit 0
    intake.look(101.0, woken=True, renamed=set())
    assert 0 == intake.stable_files
    assert intake.files_waiting


def test_the_end_of_the_worker_is_recorded_and_its_last_results_taken(context, intake, workers):
    """
    Results that came with the end count like the others.
    """
    (key,) = drop(context, intake, "a.jsonl")
    intake.validation.start()
    result(workers, key, result=DatasetOutcome.ACCEPTED, dataset_id="a" * 16, sha256="a" * 64)
    workers[0].finish(0)
    intake.validation.poll()

    assert DatasetState.ACCEPTED is state(context, key)
    assert not intake.validation.busy
    assert [] == context.journal.runs.unfinished()


def crash(context, intake, workers, status=-11):
    intake.validation.start()
    workers[-1].status = status
    intake.validation.poll()


def test_a_file_that_kills_the_validation_twice_is_put_aside_alone(context, intake, workers):
    """
    The one it died on is the first without a result; the others are not blamed.
    """
    bad, good = drop(context, intake, "a.jsonl", "b.jsonl")
    for _ in range(CRASHES_PER_FILE):
        crash(context, intake, workers)

    assert DatasetState.QUARANTINED is state(context, bad)
    assert DatasetState.CLAIMED is state(context, good)
    assert "failed twice" in context.journal.datasets.get(bad).reason


def test_a_validation_that_hangs_is_killed_and_its_file_named(context, intake, workers):
    """
    A chat template that never ends must not stop all other files for ever.
    """
    (key,) = drop(context, intake, "a.jsonl")
    for _ in range(CRASHES_PER_FILE):
        intake.validation.start()
        intake.validation._run.progress_at -= 1e6
        intake.validation.poll()
        intake.validation.poll()

    assert DatasetState.QUARANTINED is state(context, key)
    assert "no progress" in context.journal.datasets.get(key).reason


def hang(intake, workers, key, first, last):
    """
    Run the validation until it is killed for no progress in these lines; return what it was told.
    """
    intake.validation.start()
    folder = run_folder(workers)
    with LineMark(folder) as mark:
        mark.set(key, first, last)
    intake.validation._run.progress_at -= 1e6
    intake.validation.poll()
    intake.validation.poll()
    return read_spec(folder, IngestionSpec).files[0].stuck


def test_a_row_on_which_the_validation_hangs_is_left_out_at_the_next_try(context, intake, workers):
    """
    Code in C obeys no time limit, and worker_stuck_seconds is long: one time names the row, and
    the rest of the file is read. Of rows that are tokenised together, the next try finds the one.
    """
    (key,) = drop(context, intake, "a.jsonl")
    together, one = LineRange(1, 256), LineRange(7, 7)

    assert () == hang(intake, workers, key, 1, 256)
    assert (together,) == hang(intake, workers, key, 7, 7)
    assert DatasetState.CLAIMED is state(context, key)
    intake.validation.start()
    (file,) = read_spec(run_folder(workers), IngestionSpec).files
    assert (together, one) == file.stuck


def test_a_file_of_rows_that_hang_is_put_aside_with_their_numbers(context, intake, workers):
    """
    Each costs worker_stuck_seconds, in which no other file is read.
    """
    (key,) = drop(context, intake, "a.jsonl")
    for line in range(1, STUCK_PER_FILE + 1):
        assert DatasetState.CLAIMED is state(context, key)
        hang(intake, workers, key, line, line)

    assert DatasetState.QUARANTINED is state(context, key)
    reason = context.journal.datasets.get(key).reason
    assert "no progress for 600 s at line 4, and before that at line 1, line 2, line 3" in reason


def test_the_mark_of_another_file_blames_no_row(context, intake, workers):
    """
    The worker had not begun with the file on which it was killed.
    """
    (key,) = drop(context, intake, "a.jsonl")
    hang(intake, workers, "d00000099", 7, 7)

    assert () == hang(intake, workers, key, 0, 0)
    assert DatasetState.QUARANTINED is state(context, key)


def test_a_stop_waits_only_so_long_for_a_validation_that_hangs(context, intake, workers):
    """
    It is asked once, then killed; its file is validated again after the next start.
    """
    (key,) = drop(context, intake, "a.jsonl")
    intake.validation.start()
    intake.validation.stop()
    intake.validation.stop()
    assert 1 == workers[0].asked
    intake.validation._run.asked_at -= 1e6
    intake.validation.poll()
    intake.validation.poll()

    assert not intake.validation.busy
    assert DatasetState.CLAIMED is state(context, key)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (ConfigError("data.max_length is wrong"), 78, "configuration: data.max_length is wrong"),
        (Unavailable("disk_full", "no space"), 75, "disk_full: disk_full: no space"),
    ],
)
def test_what_is_not_the_files_fault_blocks_and_costs_nothing(
    context, intake, workers, error, status, reason
):
    """
    The file stays claimed and is validated once the reason is gone.
    """
    (key,) = drop(context, intake, "a.jsonl")
    for _ in range(CRASHES_PER_FILE + 1):
        intake.validation.start()
        write_error(run_folder(workers), error)
        workers[-1].finish(status)
        intake.validation.poll()

    assert DatasetState.CLAIMED is state(context, key)
    assert reason == context.blocked()


def test_the_outcome_on_record_tells_a_stop_from_an_end(context, intake, workers):
    """
    Both end with a status; only one was asked for.
    """
    drop(context, intake, "a.jsonl")
    intake.validation.start()
    intake.validation.stop()
    workers[0].finish(75)
    intake.validation.poll()
    crash(context, intake, workers)
    outcomes = context.journal._database.read(RunRow, "SELECT * FROM runs ORDER BY id")

    assert [RunOutcome.STOPPED, RunOutcome.ENDED] == [row.outcome for row in outcomes]
    assert [75, -11] == [row.exit_status for row in outcomes]
    assert context.blocked() is None


def test_a_result_that_cannot_be_read_does_not_stop_the_others(context, intake, workers):
    """
    Its file is not blamed and stays claimed; the daemon says what to do, and goes on.
    """
    first, second = drop(context, intake, "a.jsonl", "b.jsonl")
    intake.validation.start()
    result(workers, second, result=DatasetOutcome.ACCEPTED, dataset_id="a" * 16, sha256="a" * 64)
    (run_folder(workers) / "results" / f"{first}.json").write_text('{"key_of_tomorrow": 1}')
    workers[0].finish(0)
    intake.validation.poll()

    assert DatasetState.CLAIMED is state(context, first)
    assert "restart the daemon" in context.blocked()
    assert DatasetState.ACCEPTED is state(context, second)
    assert not intake.validation.busy


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ({"result": DatasetOutcome.ACCEPTED}, 1),
        ({"result": DatasetOutcome.QUARANTINED, "reason": "bad"}, 10),
    ],
)
def test_the_rows_of_a_file_are_on_the_books_with_its_result(
    context, intake, workers, said, refused
):
    """
    Counted in the transaction that records what became of the file.
    """
    split = {"train_rows": 6, "heldout_rows": 2, "reserved_rows": 1}
    report = {"rows_read": 10, "rows_rejected": 1, "split": split}
    (key,) = drop(context, intake, "a.jsonl")
    intake.validation.start()
    result(workers, key, dataset_id="a" * 16, sha256="a" * 64, report=report, **said)
    intake.validation.poll()
    books = context.journal.books.balance(list)

    assert (True, 10, 0) == (books.balanced, books.dropped, books.uncounted_files)
    assert refused == books.rows.refused
