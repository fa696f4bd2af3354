"""
spec.json and heartbeat.json: what is asked of a run and what it shows, read as written.
"""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from finetuned.config import Config, DataConfig
from finetuned.core.job import JobKind
from finetuned.core.phase import Phase
from finetuned.core.run import RunKind
from finetuned.errors import ConfigError, RecordError, Unavailable
from finetuned.files.dataset_result import (
    DatasetOutcome,
    DatasetResult,
    read_result,
    result_path,
    write_result,
)
from finetuned.files.heartbeat import HEARTBEAT, Beat, Heartbeat, known_fields, read_beat
from finetuned.files.run import read_error, read_exit, write_error, write_exit
from finetuned.files.spec import (
    SPEC,
    ClaimedFile,
    EvaluationSpec,
    HeldOutRows,
    IngestionSpec,
    JobQuestions,
    SubjectSpec,
    TrainedDataset,
    TrainingDataset,
    TrainingSpec,
    create_run,
    read_spec,
)

HERE = Path("/r")

INGESTION = IngestionSpec(
    kind=RunKind.INGESTION,
    run_id="r1",
    files=(ClaimedFile(dataset_key="d1", path=HERE / "a", name="a", bytes=3),),
    datasets_dir=HERE,
    base=HERE,
    data=DataConfig(max_length=128),
    enable_thinking=True,
    model_max_length=None,
    benchmarks=HERE,
)
TRAINING = TrainingSpec(
    kind=RunKind.TRAINING,
    run_id="r1",
    worker_growth=1.5,
    job_id="j1",
    job_kind=JobKind.CONSOLIDATION,
    attempt=2,
    config=Config(),
    base=HERE,
    base_version="v0001",
    parent=HERE / "v0002",
    datasets=(TrainingDataset(dir=HERE, dataset_id="a", sha256=None, name="a"),),
    canaries=HERE / "c",
    earlier=(HERE / "d",),
    resume_from=(HERE / "r0",),
    rolled_back=True,
    live_evals=False,
)
SUBJECT = SubjectSpec(base=HERE, folder=HERE / "v", version="v0001")
EVALUATION = EvaluationSpec(
    kind=RunKind.EVALUATION,
    run_id="r1",
    config=Config(),
    candidate=SUBJECT,
    incumbent=SUBJECT,
    benchmarks=HERE,
    answers=HERE / "answers",
    job=JobQuestions(
        job_id="j1",
        job_kind=JobKind.TRAINING,
        base=SubjectSpec(base=HERE),
        datasets=(TrainedDataset(dataset_id="a", name="a", n_examples=3),),
        new=(HeldOutRows(dir=HERE, name="a"),),
        old=(),
        also=("infra_200",),
    ),
)
WATCH = EvaluationSpec(
    kind=RunKind.WATCH,
    run_id="r2",
    config=Config(),
    candidate=SUBJECT,
    benchmarks=HERE,
    answers=HERE / "answers",
)
SPECS = [INGESTION, TRAINING, EVALUATION, WATCH]


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.kind)
def test_a_worker_reads_what_the_supervisor_wrote(tmp_path, spec):
    """
    Every key of every kind of spec.
    """
    create_run(tmp_path / "r1", spec)

    assert spec == read_spec(tmp_path / "r1", type(spec))


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.kind)
def test_a_key_that_a_worker_does_not_know_is_an_error_with_the_files_name(tmp_path, spec):
    """
    What changes the meaning of a run is never dropped.
    """
    create_run(tmp_path, spec)
    body = json.loads((tmp_path / SPEC).read_bytes())
    (tmp_path / SPEC).write_text(json.dumps({**body, "resume_form": []}))

    with pytest.raises(RecordError, match=r"spec\.json: unknown key resume_form"):
        read_spec(tmp_path, type(spec))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"kind": "sleeping"}'])
def test_half_a_spec_is_no_spec(tmp_path, body):
    """
    Cut, foreign, or of a kind that does not exist.
    """
    (tmp_path / SPEC).write_bytes(body)

    with pytest.raises(RecordError, match=r"spec\.json"):
        read_spec(tmp_path, TrainingSpec)


def test_a_missing_spec_may_come_later(tmp_path):
    """
    A folder that cannot be read for now is not a bug.
    """
    with pytest.raises(Unavailable, match="spec_missing"):
        read_spec(tmp_path, TrainingSpec)


# -- heartbeat ---------------------------------------------------------------------


def test_a_beat_is_read_as_it_was_written(tmp_path):
    """
    Each with its count; fields stay until they are set anew.
    """
    heartbeat = Heartbeat(tmp_path)
    heartbeat.beat(force=True, phase=Phase.TRAINING, loss=0.5, train_loss_history=(0.7, 0.5))
    heartbeat.beat(force=True, batch_step=3)
    beat = read_beat(tmp_path)

    assert (2, Phase.TRAINING, 0.5, 3) == (beat.beats, beat.phase, beat.loss, beat.batch_step)
    assert (0.7, 0.5) == beat.train_loss_history


def test_a_detail_is_of_its_phase_only(tmp_path):
    """
    It ends with the next beat that names a phase, be it the same.
    """
    heartbeat = Heartbeat(tmp_path, interval_seconds=0)
    heartbeat.beat(phase=Phase.LOADING, phase_detail="base")
    heartbeat.beat(rows=1)
    said = heartbeat.now.phase_detail
    heartbeat.beat(phase=Phase.LOADING)

    assert ("base", None) == (said, heartbeat.now.phase_detail)


def test_beats_that_come_fast_are_counted_and_not_all_written(tmp_path):
    """
    A disk is not asked a thousand times a second; what was done is not lost.
    """
    heartbeat = Heartbeat(tmp_path, interval_seconds=60)
    for step in range(1000):
        heartbeat.beat(batch_step=step)
    assert 1 == read_beat(tmp_path).beats
    heartbeat.beat(force=True)

    assert (1001, 999) == (read_beat(tmp_path).beats, read_beat(tmp_path).batch_step)


def test_a_field_that_no_heartbeat_has_is_a_bug(tmp_path):
    """
    It would be written and never shown.
    """
    with pytest.raises(TypeError):
        Heartbeat(tmp_path).beat(current_stepp=1)


def test_a_loss_that_is_no_number_is_unknown_to_the_reader(tmp_path):
    """
    JSON has no NaN.
    """
    heartbeat = Heartbeat(tmp_path)
    heartbeat.beat(force=True, loss=float("nan"), train_loss_history=(1.0, float("nan")))
    beat = read_beat(tmp_path)

    assert (None, (1.0, None)) == (beat.loss, beat.train_loss_history)


def test_a_full_disk_drops_the_beat_and_not_the_work(tmp_path):
    """
    The folder is gone: the worker goes on.
    """
    Heartbeat(tmp_path / "gone").beat(force=True, phase=Phase.LOADING)

    assert read_beat(tmp_path / "gone") is None


def test_only_rank_0_writes(tmp_path, monkeypatch):
    """
    One author per folder, however many processes.
    """
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    Heartbeat(tmp_path).beat(force=True, phase=Phase.LOADING)
    write_error(tmp_path, RuntimeError("boom"))

    assert [] == list(tmp_path.iterdir())


def test_what_a_worker_did_not_say_is_not_in_the_file(tmp_path):
    """
    The file stays small enough to be replaced four times a second.
    """
    assert {"pid": 7, "beats": 0, "phase": Phase.DONE} == known_fields(
        Beat(pid=7, phase=Phase.DONE)
    )
    assert {None, 0} >= {f.default for f in fields(Beat) if f.name != "pid"}


@pytest.mark.parametrize("body", [b"", b'{"pid"', b"[]"])
def test_a_cut_heartbeat_says_nothing(tmp_path, body):
    """
    The next one comes in a moment.
    """
    (tmp_path / HEARTBEAT).write_bytes(body)

    assert read_beat(tmp_path) is None


# -- the end -----------------------------------------------------------------------


def test_the_exit_record_says_status_and_whether_the_worker_stays(tmp_path):
    """
    With the process that wrote it.
    """
    assert read_exit(tmp_path) is None
    write_exit(tmp_path, 75, stays=False)
    ended = read_exit(tmp_path)

    assert (75, False) == (ended.status, ended.stays)
    assert ended.pid > 0


def test_an_error_keeps_its_class_message_and_reason(tmp_path):
    """
    The reason is there only if the file system refused.
    """
    assert read_error(tmp_path) is None
    try:
        raise Unavailable("disk_full", "no space left")
    except Unavailable as problem:
        write_error(tmp_path, problem)
    error = read_error(tmp_path)

    assert ("Unavailable", "disk_full") == (error.error_type, error.reason)
    assert "test_spec.py" in "".join(error.traceback)
    write_error(tmp_path, RuntimeError("boom"))
    assert read_error(tmp_path).reason is None


@pytest.mark.parametrize("outcome", DatasetOutcome)
def test_a_result_of_a_file_is_read_as_written(tmp_path, outcome):
    """
    Under the key of its claim; missing while the worker is at it.
    """
    result = DatasetResult(result=outcome, dataset_id="a", bytes=3, report={"rows_read": 1})
    result_path(tmp_path, "d1").parent.mkdir()
    assert read_result(tmp_path, "d1") is None
    write_result(tmp_path, "d1", result)

    assert result == read_result(tmp_path, "d1")


def test_an_error_that_nobody_raised_on_purpose_says_what_it_is(tmp_path):
    """
    "'1'" is all that a KeyError says of itself; a refusal of ours already says what to do.
    """
    folder = tmp_path / "r000007"
    folder.mkdir()
    write_error(folder, KeyError("1"))
    bug = read_error(folder)
    write_error(folder, ConfigError("model.base is not there; set it"))
    ours = read_error(folder)

    assert "KeyError" == bug.error_type
    assert "KeyError: '1'; this is a bug, its traceback is in models/runs/r000007/error.json" == (
        bug.error_message
    )
    assert "model.base is not there; set it" == ours.error_message
