import json
import shutil
from pathlib import Path

import jsonschema
import pytest

from finetuned.files.heartbeat import Beat
from finetuned.supervisor.status import DEFAULTS, StatusBoard

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "reference" / "training_status.schema.json").read_text()
)


def beat(**fields):
    known = {"current_step": 7, "loss": 0.5, "train_loss_history": (0.9, 0.5), **fields}
    return Beat(pid=1, beats=1, **known)


def test_the_schema_names_every_field_and_no_other():
    """
    The contract and the file are the same list.
    """
    assert set(DEFAULTS) == set(SCHEMA["properties"]) == set(SCHEMA["required"])


def test_a_crash_never_zeroes_a_field(tmp_path):
    """
    The next start goes on from the last snapshot.
    """
    board = StatusBoard(tmp_path / "s.json")
    board.take_heartbeat(beat())
    board.write(durable=True)
    again = StatusBoard(tmp_path / "s.json")

    assert (7, 0.5) == (again.fields["current_step"], again.fields["loss"])


def test_fields_never_disappear_between_writes(tmp_path):
    """
    A heartbeat that knows less does not erase what was known.
    """
    board = StatusBoard(tmp_path / "s.json")
    board.take_heartbeat(beat(validation_loss=0.4))
    board.take_heartbeat(beat())
    board.write(durable=False)
    written = json.loads((tmp_path / "s.json").read_bytes())

    assert 0.4 == written["validation_loss"]
    assert set(DEFAULTS) == set(written)


def test_a_damaged_snapshot_is_no_reason_to_fail(tmp_path):
    """
    Half a file from another program's editor is replaced, not obeyed.
    """
    (tmp_path / "s.json").write_bytes(b'{"recent_examples": null, "loss": 3')
    board = StatusBoard(tmp_path / "s.json")

    assert [] == board.fields["recent_examples"]


def test_a_list_that_is_none_in_the_snapshot_does_not_end_the_daemon(tmp_path):
    """
    A heartbeat that lacks the field derives others from it: each list begins empty.
    """
    lists = [name for name, default in DEFAULTS.items() if isinstance(default, list)]
    (tmp_path / "s.json").write_text(json.dumps(dict.fromkeys(lists)))
    board = StatusBoard(tmp_path / "s.json")
    board.take_heartbeat(Beat(pid=1))

    assert "active_alerts" in lists
    assert {name: [] for name in lists} == {name: board.fields[name] for name in lists}


@pytest.mark.parametrize(
    "strange",
    [
        {"job": 5},
        {"eval_samples": [1]},
        {"recent_examples": [{"prompt": "p"}]},
        {"active_alerts": [None]},
        {"train_loss_history": ["a"]},
        {"restarts": "many"},
        {"fixed_eval_em": "x"},
        {"last_verdict": [1]},
        {"queue": 3, "phase": None, "loss": {}},
    ],
)
def test_nothing_in_a_strange_snapshot_ends_the_daemon(tmp_path, strange):
    """
    It would be read again at the next start, and end that one too.
    """
    path = tmp_path / "s.json"
    path.write_text(json.dumps({**DEFAULTS, "current_step": 7, **strange}))
    board = StatusBoard(path)
    board.take_heartbeat(beat())
    board.show_job({"id": "j000001"})
    board.write(durable=False)

    assert 7 == board.fields["current_step"]
    assert isinstance(board.fields["restarts"], int)
    assert isinstance(board.fields["queue"], dict)


def test_an_unknown_field_is_a_bug(tmp_path):
    """
    What the schema does not know is not written.
    """
    with pytest.raises(KeyError):
        StatusBoard(tmp_path / "s.json").update(no_such_field=1)


def test_accuracy_is_what_the_samples_say(tmp_path):
    """
    The corrected recipe and accuracy_last_20 agree.
    """
    samples = tuple({"answer_matches": i % 4 != 0, "model_answer": "x"} for i in range(20))
    board = StatusBoard(tmp_path / "s.json")
    board.take_heartbeat(beat(eval_samples=samples, total_evals=20, total_correct=15))

    assert 75.0 == board.fields["accuracy_last_20"] == board.fields["accuracy_percent"]


def test_the_first_write_is_valid(tmp_path):
    """
    From the first second on, before any worker lived.
    """
    board = StatusBoard(tmp_path / "s.json")
    board.update(max_output_tokens=1, context_window=1, batch_queue_size=0)
    board.write(durable=True)

    jsonschema.validate(json.loads((tmp_path / "s.json").read_bytes()), SCHEMA)


def test_the_recipe_for_failed_rules_works_before_the_first_verdict(tmp_path):
    """
    An empty list of rules; null would make jq fail. Also on a file that an older daemon left.
    """
    (tmp_path / "s.json").write_bytes(b'{"last_verdict": null}')

    assert [] == StatusBoard(tmp_path / "s.json").fields["last_verdict"]["rules"]


def test_a_phase_is_known_since_it_began_and_its_detail_ends_with_the_beat(tmp_path):
    """
    The same phase said again does not begin again.
    """
    board = StatusBoard(tmp_path / "s.json")
    board.update(phase="loading")
    board.fields["phase_since"] = began = "2026-01-01T00:00:00Z"
    board.update(phase="loading")
    board.take_heartbeat(Beat(pid=1, phase_detail="the rows of the job"))
    seen = board.fields["phase_since"], board.fields["phase_detail"]
    board.update(phase="rehearsing")
    board.take_heartbeat(Beat(pid=1))

    assert (began, "the rows of the job") == seen
    assert board.fields["phase_since"] > began
    assert board.fields["phase_detail"] is None


def test_an_eta_is_never_zero(tmp_path):
    """
    The last step is done, the candidate is still written and evaluated: that is not 0 seconds.
    """
    board = StatusBoard(tmp_path / "s.json")
    board.take_heartbeat(beat(eta_seconds=4.5))
    assert 4.5 == board.fields["eta_seconds"]
    board.take_heartbeat(beat(eta_seconds=0.0))
    assert board.fields["eta_seconds"] is None


def test_the_eta_of_a_training_ends_with_it(tmp_path):
    """
    An evaluation that has answered nothing yet has no ETA, and not that of the training before.
    """
    board = StatusBoard(tmp_path / "s.json")
    board.take_heartbeat(beat(eta_seconds=4.5, tokens_per_second=100.0))
    board.take_heartbeat(Beat(pid=1, beats=1, evaluation_done=0, evaluation_total=10))

    assert board.fields["eta_seconds"] is None
    assert board.fields["tokens_per_second"] is None
    assert 10 == board.fields["evaluation_total"]


def test_what_was_said_of_a_job_ends_with_it(tmp_path):
    """
    After a skip no file, step or ETA of the skipped job is shown; the lineage's step stays.
    """
    board = StatusBoard(tmp_path / "s.json")
    board.show_job({"id": "j000001"})
    job = {"batch_step": 3, "batch_total_steps": 9, "total_steps": 13, "current_file": "a.jsonl"}
    alerts = ({"name": "kl_to_incumbent", "detail": "0.5"},)
    board.take_heartbeat(beat(eta_seconds=4.5, active_alerts=alerts, kl_to_incumbent=0.5, **job))
    board.show_job({"id": "j000001"})
    assert "a.jsonl" == board.fields["current_file"]
    assert "kl_to_incumbent" == board.fields["alert_summary"]
    board.show_job(None)
    in_force = ("active_alerts", "alert_summary", "kl_to_incumbent")
    assert [[], None, None] == [board.fields[name] for name in in_force]

    shown = [board.fields[name] for name in (*job, "eta_seconds", "job")]
    assert [0, 0, 7, None, None, None] == shown
    assert 7 == board.fields["current_step"]


def test_a_new_job_does_not_begin_with_the_steps_of_the_last(tmp_path):
    """
    Its model is still being loaded.
    """
    board = StatusBoard(tmp_path / "s.json")
    board.show_job({"id": "j000001"})
    board.take_heartbeat(beat(batch_step=3, batch_total_steps=9))
    board.show_job({"id": "j000002"})

    assert (0, 0) == (board.fields["batch_step"], board.fields["batch_total_steps"])


def test_only_the_folder_of_the_status_is_made_again(tmp_path):
    """
    A root that is gone stays gone: it may be a disk that is not mounted.
    """
    root = tmp_path / "root"
    path = root / "status" / "training_status.json"
    path.parent.mkdir(parents=True)
    board = StatusBoard(path)
    path.parent.rmdir()
    board.write(durable=False)

    assert board.fields["pid"] == json.loads(path.read_bytes())["pid"]
    shutil.rmtree(root)
    with pytest.raises(FileNotFoundError):
        board.write(durable=True)
    assert not root.exists()
