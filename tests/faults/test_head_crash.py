"""
Head and release under SIGKILL: each of their changes, killed at each of its system calls.

The law: the next start finds two links that name whole versions, loses no file and no row, learns
no row twice, and ends where an uninterrupted daemon ends; what a person asked for was done whole
or not at all. A sample of the calls is tried; FINETUNED_LONG=1 tries every one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from finetuned.cli.program import main
from finetuned.config import Config
from finetuned.core.books import Fate
from finetuned.core.job import JobState
from finetuned.files.journal import Journal
from finetuned.layout import Layout
from finetuned.registry.current_model import incumbent
from finetuned.registry.head import linked_head
from finetuned.registry.versions import verify_version
from finetuned.supervisor.context import Context
from finetuned.supervisor.inbox.retire import retire_job
from finetuned.supervisor.loop import Supervisor
from finetuned.supervisor.old_heads import OldHeads
from finetuned.supervisor.promotion_watch import PromotionWatch
from finetuned.supervisor.recover import check_head, check_incumbent, open_journal
from finetuned.supervisor.runs.jobs import JobRunner
from finetuned.supervisor.status import StatusBoard
from finetuned.supervisor.verdict.follow import follow_journal
from support.kills import DONE, Step, calls_in, kill_before, needs_strace, traced
from support.paper_daemon import configuration, drop, paper_workers, run_daemon
from support.versions import damage

SAMPLE = 2
"""Calls of each change that are tried without FINETUNED_LONG, spread over all of them."""

NEXT = "equal-next.jsonl"
"""Dropped after each kill: the daemon goes on, and leaves the release where the change left it."""


@dataclass(frozen=True)
class Change:
    """
    One change of head or release.
    """

    files: tuple[str, ...]
    """Dropped one after another, each worked off, except a last one that is to be judged."""
    begin: Callable[[Layout, Config], Step]
    judged: bool = False
    """Whether the last file is left trained, with its evaluation begun."""
    asked: bool = False
    """Whether it is asked for from outside, and is done whole or not at all; else it is done."""
    prepare: Callable[[Layout], object] = lambda _: None
    """What happens before."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the section registry."""
    watch_minutes: int = 0
    """How long a promotion is watched."""
    next: str | None = NEXT
    """Dropped afterwards, if the next daemon is to do more than to put things right."""

    @property
    def config(self) -> Config:
        """The configuration."""
        found = configuration()
        return replace(
            found,
            registry=replace(found.registry, **self.settings),
            watch=replace(found.watch, minutes=self.watch_minutes),
        )


def context_on(layout: Layout, config: Config) -> Context:
    return Context(layout, config, Journal(layout.journal), StatusBoard(layout.status_file))


def judging(layout: Layout, config: Config) -> Step:
    """
    The job whose evaluation is over: judged, recorded, and its originals moved.
    """
    context = context_on(layout, config)
    runner = JobRunner(context)
    runner.recover()
    (job,) = context.journal.jobs.in_states(JobState.TRAINED)
    runner.start_evaluation(job.id)

    def step() -> None:
        runner.poll()
        for ended in context.journal.jobs.unretired():
            retire_job(context, ended)

    return step


def command(*words: str) -> Callable[[Layout, Config], Step]:
    """
    What a person types.
    """
    return lambda layout, _: lambda: main([*words, "--root", str(layout.root)])


def watching(layout: Layout, config: Config) -> Step:
    """
    The release does harm in use.
    """
    return PromotionWatch(context_on(layout, config)).look


def report_harm(layout: Layout) -> None:
    said = {"version": "v0003", "requests": 100, "errors": 90}
    (layout.control / "health.json").write_bytes(orjson.dumps(said))


def falling_back(layout: Layout, config: Config) -> Step:
    """
    Release or head is damaged.
    """
    context = context_on(layout, config)

    def step() -> None:
        check_incumbent(context)
        check_head(context)
        follow_journal(context)

    return step


def tidying(layout: Layout, config: Config) -> Step:
    """
    There are more old heads than are kept.
    """
    return OldHeads(context_on(layout, config)).look


def rebuilding(layout: Layout, _: Config) -> Step:
    """
    The journal is gone or unreadable.
    """
    return lambda: open_journal(layout)


def lose_journal(layout: Layout) -> None:
    layout.journal.unlink()


def corrupt_journal(layout: Layout) -> None:
    layout.journal.write_bytes(b"no journal at all" * 100)


def take_back_the_last(layout: Layout) -> None:
    assert 0 == main(["versions", "rollback", "--head", "--root", str(layout.root)])


def retry_the_last(layout: Layout) -> None:
    """
    Queue the rejected file again and train it, as far as its evaluation.
    """
    assert 0 == main(["retry", "d00000002", "--root", str(layout.root)])
    run_daemon(layout, configuration(), until=is_judging)


def is_judging(supervisor: Supervisor) -> bool:
    return bool(supervisor._context.journal.jobs.in_states(JobState.EVALUATING))


HELD_BETWEEN = ("better-1", "equal-2", "better-3", "equal-4")

CHANGES = {
    "promoted": Change(("better-1", "equal-2", "better-3"), judging, judged=True),
    "held": Change(("better-1", "equal-2"), judging, judged=True),
    "rejected": Change(("better-1", "worse-2"), judging, judged=True),
    "second-try": Change(("better-1", "forgets-2"), judging, judged=True),
    "retried": Change(("better-1", "worse-2"), judging, prepare=retry_the_last),
    "retry": Change(
        ("better-1", "better-2"),
        command("retry", "d00000002"),
        asked=True,
        prepare=take_back_the_last,
    ),
    "rollback": Change(HELD_BETWEEN, command("versions", "rollback"), asked=True),
    "rollback-with-head": Change(
        HELD_BETWEEN, command("versions", "rollback", "--head"), asked=True
    ),
    "promote": Change(HELD_BETWEEN, command("versions", "promote", "v0002"), asked=True),
    "harm": Change(HELD_BETWEEN, watching, prepare=report_harm, watch_minutes=1000),
    "damaged-release": Change(
        HELD_BETWEEN,
        falling_back,
        prepare=lambda layout: damage(layout.versions / "v0003"),
        settings={"backup": False},
    ),
    "damaged-head": Change(
        HELD_BETWEEN, falling_back, prepare=lambda layout: damage(layout.versions / "v0004")
    ),
    "old-heads": Change(
        ("better-1", "equal-2", "equal-3", "equal-4"),
        tidying,
        settings={"keep_heads": 1, "held_trash_bytes": 0},
        next=None,
    ),
    "lost-journal": Change(("better-1", "equal-2", "worse-3"), rebuilding, prepare=lose_journal),
    "corrupt-journal": Change(
        ("better-1", "equal-2", "worse-3"), rebuilding, prepare=corrupt_journal
    ),
}


@pytest.fixture
def workers() -> Iterator[None]:
    with paper_workers():
        yield


@dataclass(frozen=True)
class End:
    """
    Where a daemon ends, by what people would ask about it.
    """

    head: tuple[str, ...]
    """Names of the files that the head has learnt, oldest first."""
    release: tuple[str, ...]
    """Likewise of the release."""
    fates: Mapping[str, Fate]
    """File -> what became of it."""
    trash: tuple[str, ...]
    """The versions in the trash, and what is left of an emptying that was interrupted."""


def go_on(layout: Layout, change: Change, damaged: Collection[str]) -> End:
    """
    Drop another file, start the daemon, let it work until it is idle, and hold the laws.
    """
    if change.next is not None:
        drop(layout, change.next)
    run_daemon(layout, change.config)
    journal = Journal(layout.journal)
    try:
        head, release = journal.heads.version(), journal.promotions.incumbent()
        assert (head, release) == (linked_head(layout), incumbent(layout))
        learnt = {v: tuple(d.name for d in journal.learnt(v)) for v in (head, release)}
        lineage = journal.head_lineage()
        books = journal.books.balance(journal.head_lineage)
        entries = journal.books.entries(lineage)
        for job in journal.jobs.in_states():
            assert job.retired, job
    finally:
        journal.close()
    assert books.balanced
    assert 0 == books.uncounted_files
    fates = {entry.dataset.name: entry.fate for entry in entries}
    assert len(fates) == len(entries) == len(change.files) + (change.next is not None)
    assert 12 * len(entries) == books.dropped
    whole = [v for v in lineage if (layout.versions / v).is_dir() and v not in damaged]
    manifests = [verify_version(layout, v).manifest for v in whole]
    trained = Counter(d.dataset_id for manifest in manifests for d in manifest.datasets)
    assert {1} == set(trained.values())
    trash = sorted(path.name.rpartition("-")[0] for path in layout.trash.iterdir())
    return End(learnt[head], learnt[release], fates, tuple(trash))


def originals(layout: Layout) -> Counter[str]:
    """
    Return the hashes of all that lies in the inbox and below it, each with how often.
    """
    files = (path for path in layout.inbox.rglob("*.jsonl") if path.is_file())
    return Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


def check_links(layout: Layout, damaged: set[str]) -> None:
    """
    Both links name whole versions, except one that was damaged before; told from the disk alone.
    """
    for name in (incumbent(layout), linked_head(layout)):
        if name is not None and name not in damaged:
            verify_version(layout, name)


def damaged_versions(layout: Layout) -> set[str]:
    found = set()
    for folder in layout.versions.iterdir():
        try:
            verify_version(layout, folder.name)
        except Exception:
            found.add(folder.name)
    return found


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """
    A folder in memory if there is one: a killed process loses nothing that it had written.
    """
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def made(folder: Path) -> dict[tuple[object, ...], Path]:
    """
    Roots that were made already, by what was dropped into them.
    """
    return {}


def make(layout: Layout, change: Change, made: dict[tuple[object, ...], Path]) -> None:
    """
    Bring a root to the moment before the change.
    """
    config = replace(change.config, registry=replace(change.config.registry, keep_heads=9))
    key = (change.files, change.judged, change.settings.get("backup"))
    if key not in made:
        shutil.rmtree(layout.root, ignore_errors=True)  # of the change before
        layout.root.mkdir()
        for name in change.files:
            drop(layout, f"{name}.jsonl")
            last = change.judged and name == change.files[-1]
            run_daemon(layout, config, **({"until": is_judging} if last else {}))
        made[key] = layout.root.with_name(f"made-{len(made)}")
        layout.root.rename(made[key])
    copy(made[key], layout.root)
    change.prepare(layout)


def copy(source: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target, symlinks=True)


def chosen(calls: list[tuple[str, int]]) -> list[tuple[str, int]]:
    if os.environ.get("FINETUNED_LONG"):
        return calls
    return [calls[(2 * n + 1) * len(calls) // (2 * SAMPLE)] for n in range(SAMPLE)]


@needs_strace
@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.timeout(3600 if os.environ.get("FINETUNED_LONG") else 600)
def test_a_change_killed_at_any_call_is_made_whole_or_not_at_all(
    folder: Path, workers: None, made: dict[tuple[object, ...], Path], name: str
) -> None:
    """
    The next daemon ends where one ends that was never killed; a person's order may be lost whole,
    and is done once if it is given again.
    """
    change, layout, pristine = CHANGES[name], Layout(folder / "root"), folder / "pristine"
    make(layout, change, made)
    copy(layout.root, pristine)
    kept, damaged = originals(layout), damaged_versions(layout)

    def begin() -> Step:
        return change.begin(layout, change.config)

    log = folder / "trace"
    assert DONE == traced(begin, log)
    calls = calls_in(log)
    ends = [go_on(layout, change, damaged)]
    if change.asked:
        copy(pristine, layout.root)
        ends.append(go_on(layout, change, damaged))  # as if nobody had asked
        assert ends[0] != ends[1]
    for call, ordinal in chosen(calls):
        copy(pristine, layout.root)
        kill_before(begin, log, call, ordinal)
        check_links(layout, damaged)
        if change.asked:
            copy(layout.root, folder / "killed")
            assert DONE == traced(begin, log)
            assert ends[0] == go_on(layout, change, damaged), (call, ordinal, "asked again")
            copy(folder / "killed", layout.root)
        assert go_on(layout, change, damaged) in ends, (call, ordinal)
        assert not kept - originals(layout), (call, ordinal)
    print(f"\n{name}: killed at {len(chosen(calls))} of {len(calls)} calls")
