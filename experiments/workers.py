"""
The product's own workers, run one at a time by an experiment: rows in, a model out, answers.

Ingestion and training are the processes that the daemon starts, with the same run folders. No
gate stands between them. Does not know what is compared.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuned.files.atomic import write_atomic
from finetuned.files.run import read_json

if TYPE_CHECKING:
    from finetuned.data.suite import Question
    from finetuned.inference.outcome import Outcome

CHECKOUT = Path(__file__).resolve().parents[1]
MICRO = CHECKOUT / "models" / "base" / "micro"
"""The embedded base."""

RUN_SECONDS = 7200.0
"""Longest one worker may take."""


class WorkerFailed(Exception):
    """
    A worker did not end with 0, or refused a file.
    """


def run_worker(room: str, run_dir: Path) -> None:
    """
    Run the worker of *room*, "ingestion" or "training", on a run folder with its spec.

    Raises:
        WorkerFailed: It ended with another status than 0; what it said is in output.txt.
    """
    with (run_dir / "output.txt").open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-m", f"finetuned.{room}.worker", str(run_dir)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=RUN_SECONDS,
            check=False,
        )
    if done.returncode != 0:
        raise WorkerFailed(f"{run_dir}: the {room} worker ended with {done.returncode}")


def made_datasets(root: Path) -> list[dict[str, Any]] | None:
    """
    Return what ``ingest`` returned for *root*, None if it has not been made.
    """
    made = read_json(root / "datasets.json")
    return None if made is None else list(made["datasets"])


def ingest(
    root: Path, files: Sequence[Path], data: Mapping[str, Any], base: Path = MICRO
) -> list[dict[str, Any]]:
    """
    Make a dataset of each file, once.

    Args:
        root: Of the experiment; ``datasets.json`` there says what was made.
        files: JSONL; the name without its suffix is the key.
        data: Settings of [data].
        base: Whose tokenizer is used.

    Returns:
        For each file its entry in a training spec: dir, dataset_id, sha256, name.

    Raises:
        WorkerFailed: Ingestion ended badly or refused a file.
    """
    if (made := made_datasets(root)) is not None:
        return made
    run_dir, datasets = root / "ingestion", root / "datasets"
    for folder in (run_dir, datasets):
        folder.mkdir(parents=True, exist_ok=True)
    listed = [{"dataset_key": f.stem, "path": str(f), "name": f.name} for f in files]
    spec = {
        "kind": "ingestion",
        "run_id": run_dir.name,
        "files": listed,
        "datasets_dir": str(datasets),
        "base": str(base),
        "data": dict(data),
        "enable_thinking": False,
        "model_max_length": None,
    }
    write_atomic(run_dir / "spec.json", json.dumps(spec).encode())
    run_worker("ingestion", run_dir)
    entries = []
    for file in listed:
        result = read_json(run_dir / "results" / f"{file['dataset_key']}.json") or {}
        if result.get("result") not in ("accepted", "duplicate"):
            raise WorkerFailed(f"{file['name']}: {result}")
        dataset_id = result["dataset_id"]
        entries.append(
            {
                "dir": str(datasets / dataset_id),
                "dataset_id": dataset_id,
                "sha256": result["sha256"],
                "name": file["name"],
            }
        )
    write_atomic(root / "datasets.json", json.dumps({"datasets": entries}).encode())
    return entries


def train(
    folder: Path,
    name: str,
    datasets: Sequence[Mapping[str, Any]],
    training: Mapping[str, Any],
    *,
    job: str,
    parent: Path | None = None,
    earlier: Sequence[str] = (),
    replay_weights: Mapping[str, float] | None = None,
    base: Path = MICRO,
) -> Path:
    """
    Train one job and return the folder of its candidate, *folder*/*name*.

    Goes on from the last checkpoint of an interrupted run; a candidate that is there is not
    trained again.

    Args:
        folder: Of this chain of jobs.
        name: Such as v0001: a later job's parent must be named as versions are.
        datasets: Entries of ``ingest``.
        training: Settings of [training].
        job: The order of the rows is drawn from it.
        parent: Candidate of the job before.
        earlier: Folders of the datasets that the jobs before have learnt.
        replay_weights: By dataset id, as core.forgetting says; 1 for a file not named.
        base: Model that is adapted.

    Raises:
        WorkerFailed: The worker ended badly.
    """
    version = folder / name
    before = sorted(folder.glob(f"run-{name}-*"))
    for run in before:
        if not version.exists() and (run / "candidate").is_dir():
            (run / "candidate").rename(version)
    if version.exists():
        return version
    run = folder / f"run-{name}-{len(before)}"
    run.mkdir(parents=True)
    spec = {
        "kind": "training",
        "run_id": f"{folder.name}-{run.name}",
        "job_id": job,
        "attempt": len(before) + 1,
        "base": str(base),
        "parent": str(parent) if parent else None,
        "datasets": list(datasets),
        "earlier": list(earlier),
        "replay_weights": dict(replay_weights or {}),
        "resume_from": [str(r / "checkpoints") for r in before],
        "live_evals": False,
        "config": {
            "model": {"device": "cpu", "dtype": "float32"},
            "training": dict(training),
        },
    }
    write_atomic(run / "spec.json", json.dumps(spec).encode())
    run_worker("training", run)
    (run / "candidate").rename(version)
    return version


class Asker:
    """
    One model that is asked, greedily, in this process and on one thread.
    """

    def __init__(self, candidate: Path | None, base: Path = MICRO) -> None:
        import torch

        from finetuned.config import ModelConfig
        from finetuned.data.render import Renderer
        from finetuned.model.load import load_version

        torch.set_num_threads(1)
        self._model = load_version(base, candidate, ModelConfig(device="cpu", dtype="float32"))
        self._renderer = Renderer.load(base, max_length=2048, enable_thinking=False)

    def outcomes(
        self, questions: Sequence[Question], *, max_new_tokens: int = 160, together: int = 32
    ) -> Iterable[Outcome]:
        """
        Yield what became of each question, in any order.
        """
        from finetuned.inference.ask import ask

        return ask(
            self._model,
            self._renderer,
            questions,
            max_new_tokens=max_new_tokens,
            batch_size=together,
            deadline=time.monotonic() + RUN_SECONDS,
        )

    def matches(self, datasets: Sequence[Mapping[str, Any]]) -> list[list[int]]:
        """
        Return for each dataset 1 for every held-out row answered exactly, else 0, in file order.
        """
        from finetuned.data.store import TokenisedDataset
        from finetuned.data.suite import questions_of

        found = []
        for dataset in datasets:
            questions = questions_of(TokenisedDataset.open(Path(dataset["dir"])))
            right = {o.question.id: int(bool(o.matches)) for o in self.outcomes(questions)}
            found.append([right[question.id] for question in questions])
        return found

    def right(self, suite: Path) -> dict[str, tuple[int, int]]:
        """
        Return right answers and items of each split of a suite's file.

        Items without metadata.split are of the split "all".
        """
        from finetuned.data.suite import load_suite

        questions = load_suite(suite).questions
        rows = [json.loads(line) for line in suite.read_text().splitlines()]
        splits = {
            question.id: row.get("metadata", {}).get("split", "all")
            for question, row in zip(questions, rows, strict=True)
        }
        found = dict.fromkeys(splits.values(), (0, 0))
        for outcome in self.outcomes(questions):
            split = splits[outcome.question.id]
            right, n = found[split]
            found[split] = (right + bool(outcome.correct), n + 1)
        return found

    def heldout(self, dataset: Path, *, answered: bool = True) -> tuple[int, int, float]:
        """
        Return right answers, held-out rows and their loss in nats per supervised token.

        Args:
            dataset: Folder of the dataset.
            answered: Whether answers are generated; if not, none is right.
        """
        from finetuned.data.store import TokenisedDataset
        from finetuned.data.suite import questions_of

        questions = questions_of(TokenisedDataset.open(dataset))
        if not answered:
            questions = [replace(question, generated=False) for question in questions]
        asked = list(self.outcomes(questions))
        tokens = sum(o.raw.n_tokens for o in asked)
        loss = sum(o.loss_sum for o in asked) / tokens
        return sum(bool(o.correct) for o in asked), len(asked), loss
