"""
An adapter for each family of files: what a job goes on from, what stays, and what is asked.

Three files in a row, the first and the last of one kind, on a tiny real model.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finetuned.data.store import TokenisedDataset
from finetuned.data.suite import Question, questions_of
from finetuned.errors import EXIT_CONFIG
from finetuned.files.atomic import sha256_file
from finetuned.files.family_list import OWN, read_families
from finetuned.files.manifest import read_manifest, verify_manifest
from finetuned.files.run import read_json, read_metrics
from finetuned.layout import FAMILIES, FAMILY_LIST, MANIFEST, Layout
from finetuned.registry.backup import backup
from finetuned.registry.commit import commit_version
from finetuned.registry.versions import verify_version

SETTINGS = {"adapters": "families", "replay_rows": 200, "average": False}


@dataclass(frozen=True)
class Lineage:
    """
    The runs of three jobs and their candidates, named as versions are.
    """

    root: Path
    base: Path
    datasets: list[dict[str, Any]]
    runs: list[Path]
    versions: list[Path]


def write(path: Path, pairs: Sequence[tuple[str, str]]) -> None:
    rows = (json.dumps({"prompt": p, "completion": c}) + "\n" for p, c in pairs)
    path.write_text("".join(rows))


def users(first: int, n: int) -> list[tuple[str, str]]:
    return [(f"create the user u{i} with shell bash", f"useradd u{i}") for i in range(first, n)]


def sums(n: int) -> list[tuple[str, str]]:
    return [(f"what is {i} plus {i % 7}?", str(i + i % 7)) for i in range(n)]


def trained(
    root: Path,
    base: Path,
    datasets: list[dict[str, Any]],
    parent: Path | None,
    name: str,
    **training: Any,
) -> tuple[int, Path]:
    """
    Train one job; return the worker's status and its run.
    """
    from finetuned.training.worker import main
    from support.fork_run import fork_main, make_run

    run = make_run(
        root / f"r-{name}",
        base=base,
        datasets=datasets,
        job_id=f"j-{name}",
        parent=parent,
        training={**SETTINGS, **training},
    )
    return fork_main(main, run), run


@pytest.fixture(scope="module")
def lineage(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Lineage:
    import finetuned.training.trainer  # noqa: F401
    from support.fork_run import ingest

    root = tmp_path_factory.mktemp("families")
    write(root / "a.jsonl", users(0, 48))
    write(root / "b.jsonl", sums(48))
    write(root / "c.jsonl", users(100, 148))
    datasets = ingest(root, tiny_base, [("a.jsonl", 0), ("b.jsonl", 0), ("c.jsonl", 0)])
    runs, versions = list[Path](), list[Path]()
    for i, dataset in enumerate(datasets):
        parent = versions[-1] if versions else None
        status, run = trained(root, tiny_base, [dataset], parent, str(i))
        assert 0 == status, (run / "output.txt").read_text()
        version = root / f"v{i + 1:04d}"
        version.symlink_to(run / "candidate")
        runs.append(run)
        versions.append(version)
    return Lineage(root, tiny_base, datasets, runs, versions)


def digests(folder: Path) -> dict[str, str]:
    """
    Return the hash of every file of an adapter, those of other families left out.
    """
    return {
        str(p.relative_to(folder)): sha256_file(p)
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.relative_to(folder).parts[0] not in (FAMILIES, FAMILY_LIST, MANIFEST)
    }


def said(run: Path) -> str:
    heartbeat = read_json(run / "heartbeat.json")
    assert heartbeat is not None
    return str(heartbeat["optimizer_state"])


def test_a_file_of_a_known_kind_goes_on_from_its_familys_adapter(lineage: Lineage) -> None:
    """
    Its weights, its moments, its rows and its steps; another kind begins afresh.
    """
    first, second, third = (read_families(version) for version in lineage.versions)
    ids = [dataset["dataset_id"] for dataset in lineage.datasets]

    assert [(ids[0], OWN)] == [(f.name, f.folder) for f in first]
    assert [(ids[1], OWN), (ids[0], f"families/{ids[0]}")] == [(f.name, f.folder) for f in second]
    assert [(ids[0], OWN), (ids[1], f"families/{ids[1]}")] == [(f.name, f.folder) for f in third]
    assert [[ids[0], ids[2]], [ids[1]]] == [[x.dataset_id for x in f.files] for f in third]
    steps = [len(read_metrics(run)) for run in lineage.runs]
    manifests = [read_manifest(version) for version in lineage.versions]
    assert [steps[0], steps[1], steps[0] + steps[2]] == [m["lineage_step"] for m in manifests]
    assert [None, "v0001", "v0002"] == [m["parent"] for m in manifests]
    assert "fresh: first file of this family" in said(lineage.runs[1])
    assert f"continued from {ids[0]}" in said(lineage.runs[2])


def test_the_adapter_of_another_family_stays_bit_for_bit(lineage: Lineage) -> None:
    """
    Weights, moments, kept rows and tokenizer: what a job of another kind left.
    """
    first, second, third = lineage.versions
    a, b = (dataset["dataset_id"] for dataset in lineage.datasets[:2])

    assert digests(first) == digests(second / FAMILIES / a)
    assert digests(second) == digests(third / FAMILIES / b)
    assert digests(first) != digests(third)
    for version in lineage.versions:
        verify_manifest(version)
        for folder in (version / FAMILIES).glob("*"):
            verify_manifest(folder)


def questions(lineage: Lineage, number: int) -> list[Question]:
    return questions_of(TokenisedDataset.open(Path(lineage.datasets[number]["dir"])))


def test_each_question_is_asked_of_its_family(lineage: Lineage, tmp_path: Path) -> None:
    """
    What a family's adapter answered before is known, and is what the new version answers.
    """
    from finetuned.config import EvaluationConfig, ModelConfig
    from finetuned.core.suite_origin import SuiteOrigin
    from finetuned.data.render import Renderer
    from finetuned.data.suite import Suite
    from finetuned.evaluation.answers import AnswerStore
    from finetuned.evaluation.asked import Asked, asked_of
    from finetuned.evaluation.examiner import Examiner
    from finetuned.evaluation.identity import model_digest
    from finetuned.evaluation.subjects import Models, Subject

    models = Models(ModelConfig(device="cpu", dtype="float32"))
    loaded: list[Path | None] = []

    def load(subject: Subject) -> Any:
        loaded.append(subject.folder)
        return models.get(subject)

    def asked(version: Path) -> Asked:
        subject = Subject("candidate", lineage.base, version.resolve())
        return asked_of(subject, load, lambda one: model_digest(one.base, one.folder, ["cpu"]))

    store = AnswerStore(tmp_path / "answers.sqlite3")
    renderer = Renderer.load(lineage.base, max_length=512)
    examiner = Examiner(renderer, EvaluationConfig(max_new_tokens=8), store)
    both = [*questions(lineage, 1), *questions(lineage, 2)]
    suite = Suite("both", SuiteOrigin.NEW, "both", "", tuple(both))
    deadline = time.monotonic() + 600
    second, third = (asked(version) for version in lineage.versions[1:])
    before = examiner.measure(second, suite, deadline=deadline)
    loaded.clear()
    after = examiner.measure(third, suite, deadline=deadline)
    store.close()
    own = lineage.versions[2].resolve()
    answers = [{q.id: m.outcomes[q.id].raw for q in questions(lineage, 1)} for m in (before, after)]

    assert after.complete
    assert len(questions(lineage, 1)) == after.n_cached
    assert [own] == loaded
    assert answers[0] == answers[1]
    assert [q.id for q in both] == sorted(after.outcomes, key=[q.id for q in both].index)


def test_the_engine_answers_with_the_familys_adapter_under_one_name(lineage: Lineage) -> None:
    """
    As many models as there are families, on one base.
    """
    from finetuned.core.generation import EngineSettings, Generate, HeldModel, Sampling
    from finetuned.serving.engine.load import ModelLoader

    folder = lineage.versions[2].resolve()
    source = HeldModel(name="current", base=lineage.base, folder=folder)
    held = ModelLoader(EngineSettings(device="cpu")).load(source)

    def served(text: str) -> tuple[str, Path | None]:
        order = Generate(
            id="1",
            model="current",
            sampling=Sampling(max_tokens=4),
            messages=({"role": "system", "content": "be brief"}, {"role": "user", "content": text}),
        )
        found = held.served_for(order)
        return found.name, found.source.folder

    other = folder / FAMILIES / lineage.datasets[1]["dataset_id"]
    assert ("current", folder) == served("create the user ann with shell zsh")
    assert ("current", other) == served("what is 5 plus 90?")
    assert 2 == len(held.families)


def test_a_version_with_families_is_published_whole(lineage: Lineage, tmp_path: Path) -> None:
    """
    Its other adapters are files of it like all others: linked, hashed, and copied to its backup.
    """
    layout = Layout(tmp_path)
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    candidate = lineage.versions[2].resolve()
    name = commit_version(layout, candidate, {"run_id": "r1", "parent": None})
    verify_version(layout, name)
    b = lineage.datasets[1]["dataset_id"]
    weights = f"{FAMILIES}/{b}/adapter_model.safetensors"
    version, copy = layout.versions / name, backup(layout, name)

    assert (candidate / weights).samefile(version / weights)
    assert not (version / weights).samefile(copy / weights)
    assert digests(version / FAMILIES / b) == digests(copy / FAMILIES / b)
    verify_manifest(version / FAMILIES / b)  # its own is there: the next job looks into it
    assert read_families(version) == read_families(copy) == read_families(candidate)


def test_nothing_lies_between_a_version_and_a_file_of_another_kind(lineage: Lineage) -> None:
    """
    Candidate and parent are adapters of unlike files: the gate does not try weights between them.
    """
    from finetuned.evaluation.interpolate import is_possible
    from finetuned.evaluation.subjects import Subject

    first, second, third = (
        Subject("candidate", lineage.base, v.resolve()) for v in lineage.versions
    )

    assert not is_possible(first, second)
    assert not is_possible(second, third)
    assert is_possible(first, first)


def test_a_few_rows_go_where_their_questions_would(lineage: Lineage, tmp_path: Path) -> None:
    """
    Fewer rows than tell a kind begin no family of their own.
    """
    from support.fork_run import ingest

    write(tmp_path / "d.jsonl", sums(60)[50:])
    datasets = ingest(tmp_path, lineage.base, [("d.jsonl", 0)])
    status, run = trained(tmp_path, lineage.base, datasets, lineage.versions[2], "few")

    assert 0 == status, (run / "output.txt").read_text()
    families = read_families(run / "candidate")
    assert lineage.datasets[1]["dataset_id"] == families[0].name
    assert 2 == len(families)
    assert "too few to tell" in said(run)


def test_a_damaged_adapter_of_another_family_is_not_carried_along(
    lineage: Lineage, tmp_path: Path
) -> None:
    """
    A new manifest would call it sound: the job ends before it begins.
    """
    version = tmp_path / "v0003"
    shutil.copytree(lineage.versions[2].resolve(), version)
    other = version / "adapter_model.safetensors"  # the job's own is in a folder beside it
    data = other.read_bytes()
    other.unlink()
    other.write_bytes(data[:-2] + b"??")
    status, run = trained(tmp_path, lineage.base, lineage.datasets[1:2], version, "damaged")
    error = read_json(run / "error.json")

    assert 0 != status
    assert error is not None
    assert "CorruptFile" == error["error_type"]
    assert str(other) in error["error_message"]
    assert not (run / "candidate").exists()


def test_families_are_never_dropped_by_a_setting(lineage: Lineage, tmp_path: Path) -> None:
    """
    With one adapter for all, the others of the parent would be lost: the job says what to do.
    """
    status, run = trained(
        tmp_path, lineage.base, lineage.datasets[:1], lineage.versions[2], "one", adapters="one"
    )

    assert EXIT_CONFIG == status
    error = read_json(run / "error.json")
    assert error is not None
    assert 'set it to "families"' in error["error_message"]
    assert not (run / "candidate").exists()


def test_a_kill_while_the_candidate_is_written_leaves_nothing_half(
    lineage: Lineage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The next run of the job finds the same family and leaves the same candidate.
    """
    import finetuned.training.family_folders as room
    from finetuned.training.worker import main
    from support.fork_run import fork_main, make_run

    def run(name: str, resume_from: list[Path]) -> Path:
        return make_run(
            tmp_path / name,
            base=lineage.base,
            datasets=lineage.datasets[2:],
            job_id="j-2",
            parent=lineage.versions[1],
            resume_from=resume_from,
            training=SETTINGS,
        )

    killed = run("killed", [])
    with monkeypatch.context() as patched:
        patched.setattr(room, "write_families", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        assert -signal.SIGKILL == fork_main(main, killed)
    assert not (killed / "candidate").exists()
    again = run("again", [killed])
    assert 0 == fork_main(main, again), (again / "output.txt").read_text()

    same = ("adapter_model.safetensors", "training_state/optimizer.safetensors", FAMILY_LIST)
    for name in same:
        files = [folder / "candidate" / name for folder in (again, lineage.runs[2])]
        assert sha256_file(files[0]) == sha256_file(files[1]), name
