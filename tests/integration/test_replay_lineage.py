"""
Replay: some rows of what the lineage learnt, once each, and never a row of anything else.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuned.data.replay import Reservoir
from finetuned.data.store import PROMPTS_HELD_OUT, SEQUENCES, TokenisedDataset
from finetuned.data.store import SEQUENCE as RECORD
from finetuned.files.heartbeat import read_beat
from finetuned.files.manifest import read_manifest
from finetuned.files.run import read_metrics

PRESENTATIONS = 30
EPOCHS = 2
FILES = (("a.jsonl", 60), ("a2.jsonl", 90), ("b.jsonl", 60), ("c.jsonl", 40), ("d.jsonl", 120))
"""Files of one letter hold the same prompts, so a2 repeats what a holds out."""


def start_run(world: dict[str, Any], name: str, file: str, parent: str | None, **more: Any) -> Path:
    from support.fork_run import make_run

    training = {
        "lora_dropout": 0.0,
        "per_device_train_batch_size": 8,
        "replay_presentations": PRESENTATIONS,
        "num_train_epochs": EPOCHS,
    }
    run = make_run(
        world["root"] / name,
        base=world["base"],
        datasets=[world["datasets"][file]],
        job_id=more.pop("job_id", f"j-{file}"),
        parent=world["root"] / parent / "candidate" if parent else None,
        resume_from=more.pop("resume_from", []),
        training=training | more.pop("training", {}),
    )
    spec = json.loads((run / "spec.json").read_bytes())
    (run / "spec.json").write_text(json.dumps(spec | {"live_evals": False} | more))
    return run


def train(*runs: Path) -> None:
    """
    Do the runs one after another in one process, as a live worker does.
    """
    from finetuned.files.spec import TrainingSpec, read_spec
    from finetuned.process.lifeline import Lifeline
    from finetuned.training import training_run
    from finetuned.training.model_keeper import ModelKeeper
    from support.fork_run import fork_main

    def main(_: list[str]) -> int:
        keeper = ModelKeeper()
        for run in runs:
            training_run.train(run, read_spec(run, TrainingSpec), Lifeline(), keeper)
        return 0

    assert 0 == fork_main(main, runs[0]), (runs[0] / "output.txt").read_text()


@pytest.fixture(scope="module")
def world(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """
    Jobs a, a2, b, a rejected job c, job d after it, and one after a rollback to a2.
    """
    import finetuned.training.trainer  # noqa: F401  imported once, for every fork
    from support.fork_run import ingest

    root = tmp_path_factory.mktemp("lineage")
    entries = ingest(root, tiny_base, list(FILES))
    world: dict[str, Any] = {
        "root": root,
        "base": tiny_base,
        "datasets": {entry["name"][: -len(".jsonl")]: entry for entry in entries},
    }
    train(
        start_run(world, "first", "a", None),
        start_run(world, "second", "a2", "first"),
        start_run(world, "third", "b", "second"),
        start_run(world, "rejected", "c", "third"),
        start_run(world, "fourth", "d", "third"),
        start_run(world, "rolled_back", "d", "second", rolled_back=True),
    )
    return world


LINEAGES = {
    "first": ["a"],
    "second": ["a", "a2"],
    "third": ["a", "a2", "b"],
    "rejected": ["a", "a2", "b", "c"],
    "fourth": ["a", "a2", "b", "d"],
    "rolled_back": ["a", "a2", "d"],
}
"""What the model of each run has learnt; the last file is the run's own."""


def dataset_of(world: dict[str, Any], file: str) -> TokenisedDataset:
    return TokenisedDataset.open(Path(world["datasets"][file]["dir"]))


def training_rows(world: dict[str, Any], *files: str) -> set[str]:
    found = [dataset_of(world, file) for file in files]
    return {dataset.example_id(i) for dataset in found for i in range(len(dataset))}


def listed(run: Path, key: str) -> list[str]:
    return [name for record in read_metrics(run) for name in record[key]]


def reservoir_of(run: Path) -> Reservoir:
    return Reservoir.load(run / "candidate" / "training_state" / "replay")


def prompt_hashes(world: dict[str, Any]) -> dict[str, int]:
    """
    Return the prompt hash of every accepted row of every dataset, trained or not.
    """
    hashes = {}
    for entry in world["datasets"].values():
        for record in np.fromfile(Path(entry["dir"]) / SEQUENCES, dtype=RECORD):
            hashes[f"{entry['dataset_id']}:{record['line']}"] = int(record["prompt_hash"])
    return hashes


@pytest.mark.parametrize("name", [name for name in LINEAGES if name != "first"])
def test_only_training_rows_of_the_lineage_are_replayed(world: dict[str, Any], name: str) -> None:
    """
    What a rejected job or a version that was rolled back had learnt is not among them.
    """
    replayed = set(listed(world["root"] / name, "replayed"))

    assert replayed
    assert set() == replayed - training_rows(world, *LINEAGES[name][:-1])


def test_a_first_job_has_nothing_to_replay(world: dict[str, Any]) -> None:
    """
    Without a parent there is no earlier row.
    """
    assert [] == listed(world["root"] / "first", "replayed")


@pytest.mark.parametrize("name", LINEAGES)
def test_the_next_job_draws_from_exactly_what_the_lineage_learnt(
    world: dict[str, Any], name: str
) -> None:
    """
    A reservoir with room holds each training row of the lineage, and no other.
    """
    reservoir = reservoir_of(world["root"] / name)

    assert training_rows(world, *LINEAGES[name]) == set(reservoir.example_ids)


@pytest.mark.parametrize("name", LINEAGES)
def test_no_prompt_that_is_held_out_anywhere_is_kept(world: dict[str, Any], name: str) -> None:
    """
    Not by another file either: a2 repeats the prompts that a holds out.
    """
    hashes = prompt_hashes(world)
    held_out: set[int] = set()
    for entry in world["datasets"].values():
        held_out |= set(np.fromfile(Path(entry["dir"]) / PROMPTS_HELD_OUT, dtype="<u8").tolist())
    run = world["root"] / name

    assert held_out & set(hashes.values())
    assert set() == held_out & {hashes[row] for row in reservoir_of(run).example_ids}
    assert set() == held_out & {hashes[row] for row in listed(run, "replayed")}


@pytest.mark.parametrize("name", [name for name in LINEAGES if name != "first"])
def test_as_much_is_replayed_as_the_run_says(world: dict[str, Any], name: str) -> None:
    """
    Of each family what its quota is, at most half of the job, and each row equally often.
    """
    run = world["root"] / name
    own, drawn = dataset_of(world, LINEAGES[name][-1]), listed(run, "replayed")
    said = [sentence.split() for sentence in read_beat(run).replay]
    times = Counter(drawn)

    assert len(drawn) == sum(int(words[0]) for words in said) <= EPOCHS * len(own)
    assert len(LINEAGES[name]) - 1 == sum(int(words[3]) for words in said)
    assert len(drawn) == read_manifest(run / "candidate")["n_replayed"]
    for file in LINEAGES[name][:-1]:
        of_file = [times[row] for row in training_rows(world, file)]
        assert sum(of_file) > 0
        assert max(of_file) - min(of_file) <= 1


@pytest.mark.parametrize("name", LINEAGES)
def test_a_row_is_listed_as_new_or_as_replayed(world: dict[str, Any], name: str) -> None:
    """
    New rows come once per epoch, and no replayed row is one of them.
    """
    run, own = world["root"] / name, training_rows(world, LINEAGES[name][-1])

    assert dict.fromkeys(own, EPOCHS) == Counter(listed(run, "examples"))
    assert set() == own & set(listed(run, "replayed"))


def replayed_by_step(*runs: Path) -> dict[int, list[str]]:
    """
    Return what each step replayed; a later run did again what it repeats.
    """
    return {r["step"]: r["replayed"] for run in runs for r in read_metrics(run)}


def test_the_same_job_replays_the_same_rows_and_another_job_others(world: dict[str, Any]) -> None:
    """
    The draw is a function of the job and of what the lineage learnt.
    """
    again = start_run(world, "again", "d", "third")
    other = start_run(world, "other", "d", "third", job_id="j-other")
    train(again)
    train(other)

    expected = replayed_by_step(world["root"] / "fourth")
    assert expected == replayed_by_step(again)
    assert set(listed(world["root"] / "fourth", "replayed")) != set(listed(other, "replayed"))


def test_a_resumed_run_replays_each_row_once(world: dict[str, Any]) -> None:
    """
    Killed between checkpoints and gone on with, a job replays what it would have.
    """
    from finetuned.training.worker import main
    from support.fork_run import fork_main, fork_start

    killed = start_run(world, "killed", "d", "third")
    pid = fork_start(main, killed)
    deadline = time.monotonic() + 60
    while len(read_metrics(killed)) < 8 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    resumed = start_run(world, "resumed", "d", "third", resume_from=[killed])
    assert 0 == fork_main(main, resumed), (resumed / "output.txt").read_text()

    assert -signal.SIGKILL == os.waitstatus_to_exitcode(status)
    assert read_metrics(resumed)[0]["step"] > 1
    assert any(record["replayed"] for record in read_metrics(resumed))
    expected = replayed_by_step(world["root"] / "fourth")
    assert expected == replayed_by_step(killed, resumed)
    assert reservoir_of(world["root"] / "fourth").example_ids == reservoir_of(resumed).example_ids


def test_replay_switched_off_replays_nothing_and_forgets_nothing(world: dict[str, Any]) -> None:
    """
    0 presentations train new rows alone; the sample goes on, for a job that wants it again.
    """
    off = start_run(world, "off", "b", "second", training={"replay_presentations": 0})
    train(off)

    assert [] == listed(off, "replayed")
    assert 0 == read_manifest(off / "candidate")["n_replayed"]
    assert reservoir_of(world["root"] / "third").example_ids == reservoir_of(off).example_ids
