"""
What a start repairs: the journal from manifests, half-built folders, a damaged version in use.
"""

import shutil

import orjson
import pytest

from finetuned.core.promotion import HeadCause, PromotionCause
from finetuned.core.run import RunKind
from finetuned.errors import ModelError
from finetuned.files.journal import Journal
from finetuned.registry.backup import backup
from finetuned.registry.current_model import incumbent, promote
from finetuned.registry.delete import delete
from finetuned.registry.head import move_head
from finetuned.registry.trash import empty_trash, list_trash
from finetuned.registry.versions import verify_version
from finetuned.supervisor import recover
from finetuned.supervisor.recover import (
    check_head,
    check_incumbent,
    end_orphans,
    open_journal,
    sweep,
)
from support.journals import release
from support.versions import commit, damage


@pytest.fixture
def lineage(context):
    """
    v0001 <- v0002 <- v0003 on disk and in the journal; the last is in use.
    """
    parent = None
    for _ in range(3):
        version = commit(context.layout, parent)
        context.journal.versions.add(version, "promoted", parent=parent)
        parent = version
    promote(context.layout, parent)
    release(context.journal, parent, PromotionCause.GATE)


def decided(context):
    last = context.journal.promotions.last()
    return last.version, last.cause


def reopened(context):
    """
    Open the journal as the next start does; it is closed again after what is read of it.
    """
    journal = open_journal(context.layout)
    found = (
        [v.id for v in journal.versions.all()],
        journal.promotions.last(),
        journal.runs.next_id(),
        journal.datasets.next_keys(1),
    )
    journal.close()
    return found


def test_a_journal_that_is_there_is_opened_and_nothing_is_added(context, lineage):
    """
    Manifests must not overrule what the journal decided.
    """
    release(context.journal, "v0001", PromotionCause.ROLLBACK)
    _, last, _, _ = reopened(context)

    assert ("v0001", PromotionCause.ROLLBACK) == (last.version, last.cause)
    assert [] == list(context.layout.models.glob("*.corrupt-*"))


@pytest.mark.parametrize("loss", ["gone", "empty", "corrupt"])
def test_a_lost_journal_is_made_again_from_what_lies_on_disk(context, lineage, loss):
    """
    Versions, the one in use, and no number is given twice; what was corrupt is kept aside.
    """
    layout = context.layout
    context.journal.close()
    (layout.runs / "r000041").mkdir()
    (layout.runs / "notes").mkdir()
    (layout.done / "a.d00000012.jsonl").write_text("")
    for suffix in ("-wal", "-shm"):
        layout.journal.with_name(layout.journal.name + suffix).unlink(missing_ok=True)
    layout.journal.unlink()
    if loss != "gone":
        layout.journal.write_bytes(b"" if loss == "empty" else b"no journal at all" * 100)
    versions, last, run, keys = reopened(context)

    assert ["v0001", "v0002", "v0003"] == versions
    assert ("v0003", PromotionCause.REBUILD) == (last.version, last.cause)
    assert ("r000042", ["d00000013"]) == (run, keys)
    aside = list(layout.models.glob("journal.sqlite3.corrupt-*"))
    assert [b"no journal at all" * 100] * (loss == "corrupt") == [p.read_bytes() for p in aside]


def test_a_version_that_cannot_be_read_does_not_hold_up_the_others(context, lineage):
    """
    Nor does a current_model that is no link: then no version is in use.
    """
    layout = context.layout
    context.journal.close()
    layout.journal.unlink()
    (layout.versions / "v0002" / "manifest.json").chmod(0o644)
    (layout.versions / "v0002" / "manifest.json").write_text("{")
    layout.current_model.unlink()
    layout.current_model.mkdir()
    versions, last, _, _ = reopened(context)

    assert ["v0001", "v0003"] == versions
    assert last is None


def test_half_built_folders_are_removed_and_nothing_else(context, lineage):
    """
    Their names tell them from what somebody may still need.
    """
    layout = context.layout
    halves = [
        layout.datasets / ".building-x",
        layout.versions / ".removing-v0009",
        layout.backups / ".building-v0001",
        layout.runs / ".building-r000009",
    ]
    kept = [layout.trash / ".building-x", layout.versions / ".mine", layout.runs / "building-x"]
    for folder in halves + kept:
        (folder / "inside").mkdir(parents=True)
    layout.datasets.joinpath("a").mkdir()
    sweep(layout)

    assert [] == [folder for folder in halves if folder.exists()]
    assert kept == [folder for folder in kept if folder.is_dir()]
    assert verify_version(layout, "v0003")


def test_a_good_version_in_use_is_left_alone(context, lineage):
    """
    Likewise the base model, which has no version.
    """
    check_incumbent(context)

    assert ("v0003", PromotionCause.GATE) == decided(context)
    release(context.journal, None, PromotionCause.ROLLBACK)
    check_incumbent(context)
    assert (None, PromotionCause.ROLLBACK) == decided(context)


def test_a_damaged_version_is_repaired_from_its_backup(context, lineage):
    """
    It stays in use: nothing was decided.
    """
    backup(context.layout, "v0003")
    damage(context.layout.versions / "v0003")
    check_incumbent(context)

    assert verify_version(context.layout, "v0003")
    assert ("v0003", PromotionCause.GATE) == decided(context)


def test_without_a_good_copy_the_nearest_good_ancestor_is_used(context, lineage):
    """
    In current_model and in the journal, with the cause that says that nobody chose it.
    """
    for version in ("v0002", "v0003"):
        damage(context.layout.versions / version)
    check_incumbent(context)

    assert ("v0001", PromotionCause.FALLBACK) == decided(context)
    assert "v0001" == incumbent(context.layout)


def test_if_no_ancestor_is_good_nothing_is_changed_and_the_message_says_what_to_do(
    context, lineage
):
    """
    The bare base model would lose everything that was learnt: a person has to say so.
    """
    for version in ("v0001", "v0002", "v0003"):
        damage(context.layout.versions / version)
    with pytest.raises(ModelError, match="versions rollback --to-base"):
        check_incumbent(context)

    assert ("v0003", PromotionCause.GATE) == decided(context)
    assert "v0003" == incumbent(context.layout)


def test_a_damaged_head_steps_back_and_the_release_stays(context, lineage):
    """
    Heads have no backup: the nearest ancestor that is good goes on, or the release.
    """
    journal = context.journal
    for parent in ("v0003", "v0004"):
        version = commit(context.layout, parent)
        journal.versions.add(version, "held", parent=parent)
        journal.heads.add(version, HeadCause.HELD)
    check_head(context)
    assert HeadCause.HELD is journal.heads.last().cause
    damage(context.layout.versions / "v0005")
    check_incumbent(context)
    check_head(context)

    last = journal.heads.last()
    assert ("v0004", HeadCause.FALLBACK) == (last.version, last.cause)
    assert ("v0003", PromotionCause.GATE) == decided(context)


def test_a_release_that_falls_back_leaves_a_good_head_where_it_is(context, lineage):
    """
    A head that is the release falls with it.
    """
    journal = context.journal
    journal.heads.add(commit(context.layout, "v0003"), HeadCause.HELD)
    damage(context.layout.versions / "v0003")
    check_incumbent(context)
    assert ("v0004", "v0002") == (journal.heads.version(), journal.promotions.incumbent())
    journal.heads.add("v0002", HeadCause.ROLLBACK)
    damage(context.layout.versions / "v0002")
    check_incumbent(context)

    assert ("v0001", "v0001") == (journal.heads.version(), journal.promotions.incumbent())


@pytest.mark.parametrize(("linked", "head"), [("v0004", "v0004"), (None, "v0003")])
def test_a_lost_journal_takes_the_head_from_its_link(context, lineage, linked, head):
    """
    Without the link, as an older version of the program left it, the release is the head.
    """
    commit(context.layout, "v0003", verdict="held")
    move_head(context.layout, linked)
    journal = rebuilt(context)
    last = journal.heads.last()
    journal.close()

    assert (head, HeadCause.REBUILD) == (last.version, last.cause)


def test_a_release_falls_back_to_what_was_released_and_not_to_a_held_head(context, lineage):
    """
    Nobody has shown that the held one is better; training keeps what it learnt.
    """
    journal, parent = context.journal, "v0003"
    for verdict in ("held", "promoted"):
        version = commit(context.layout, parent, verdict=verdict, release="v0003")
        journal.versions.add(version, verdict, parent=parent)
        parent = version
    release(journal, "v0005", PromotionCause.GATE)
    damage(context.layout.versions / "v0005")
    check_incumbent(context)
    assert ("v0003", "v0004") == (journal.promotions.incumbent(), journal.heads.version())
    journal.put_in_use("v0004", PromotionCause.PROMOTE)
    journal.put_in_use("v0005", PromotionCause.PROMOTE)
    check_incumbent(context)

    assert "v0004" == journal.promotions.incumbent()


def rebuilt(context):
    """
    Return a journal made again after the context's was lost.
    """
    layout = context.layout
    context.journal.close()
    for suffix in ("-wal", "-shm", ""):
        layout.journal.with_name(layout.journal.name + suffix).unlink(missing_ok=True)
    return open_journal(layout)


def test_a_rebuild_that_was_killed_is_done_again_and_whole(context, lineage, monkeypatch):
    """
    The journal is there, and says nothing: it would make training begin on the base model. What a
    person decided in between is kept, as the link shows it.
    """

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recover, "_restore_links", killed)
        with pytest.raises(KeyboardInterrupt):
            rebuilt(context)
    promote(context.layout, "v0002")
    between = Journal(context.layout.journal)
    assert between.is_unfilled()
    between.put_in_use("v0002", PromotionCause.PROMOTE)
    between.close()
    journal = open_journal(context.layout)
    found = journal.promotions.incumbent(), journal.heads.version(), journal.head_lineage()
    journal.close()

    assert ("v0002", "v0002", ["v0001", "v0002"]) == found
    again = open_journal(context.layout)
    assert 2 == again.promotions.number()
    again.close()


def learnt(letter):
    """
    Return facts of a version that was trained on one dataset.
    """
    dataset = {"dataset_id": letter * 16, "name": f"{letter}.jsonl", "sha256": letter * 64}
    return {"datasets": [dataset], "job_id": f"j{ord(letter):06d}"}


@pytest.mark.parametrize("gone", [False, True])
def test_old_heads_in_the_trash_do_not_end_the_lineage_of_the_head(context, gone):
    """
    Else the rows below them would be listed as not learnt, and trained twice. Of one that was
    removed by hand its child says which release it was made on, and the books that it is missing.
    """
    layout, parent = context.layout, None
    for letter, verdict in zip("abc", ("promoted", "held", "held"), strict=True):
        below = {"parent": parent, "release": "v0001" if parent else None}
        parent = commit(layout, verdict=verdict, **learnt(letter), **below)
    promote(layout, "v0001")
    move_head(layout, "v0003")
    trashed = layout.trash / "v0002-20261120T095052Z"
    (layout.versions / "v0002").rename(trashed)
    if gone:
        shutil.rmtree(trashed)
    journal = rebuilt(context)
    lineage, datasets = journal.head_lineage(), journal.learnt("v0003")
    books = journal.books.balance(journal.head_lineage)
    journal.close()

    assert ["v0001", "v0002", "v0003"] == lineage
    assert ("ac" if gone else "abc") == "".join(d.name[0] for d in datasets)
    assert int(gone) == books.lost_versions


def test_what_was_deleted_for_good_is_on_the_books_of_a_journal_made_again(context):
    """
    Its manifest stays: the rows of an old head are learnt, those of a rejected version are not.
    """
    layout, journal, parent = context.layout, context.journal, None
    for letter, verdict in zip("abcx", ("promoted", "held", "held", "rejected"), strict=True):
        below = {"parent": parent, "release": "v0001" if parent else None}
        name = commit(layout, verdict=verdict, reason="worse", **learnt(letter), **below)
        journal.versions.add(name, verdict, parent=parent)
        parent = name
    promote(layout, "v0001")
    move_head(layout, "v0003")
    delete(layout, "v0004", confirm="v0004")
    (layout.versions / "v0002").rename(layout.trash / "v0002-20261120T095052Z")
    empty_trash(layout, parents=journal.versions.parents(), apply=True)
    again = rebuilt(context)
    entries, lineage = again.books.entries(again.head_lineage()), again.head_lineage()
    books = again.books.balance(again.head_lineage)
    again.close()

    assert [] == list_trash(layout)
    assert ["v0001", "v0002", "v0003"] == lineage
    assert {"a": "learnt", "b": "learnt", "c": "learnt", "x": "not_learnt"} == {
        entry.dataset.name[0]: entry.fate for entry in entries
    }
    assert ["worse"] == [e.job.reason for e in entries if e.dataset.name == "x.jsonl"]
    assert (True, 0) == (books.balanced, books.lost_versions)


def test_a_lost_journal_counts_the_looks_at_the_release_again(context):
    """
    Those at an earlier release are over; a merge is no look for a gain.
    """
    layout = context.layout
    commit(layout, release=None, eval_run_id="r000091")
    for n, kind in enumerate([{}, {}, {"consolidates": "v0001"}]):
        commit(layout, "v0001", release="v0001", verdict="held", eval_run_id=f"r00010{n}", **kind)
    promote(layout, "v0001")
    report = {"interpolation": {"tried": [{"a": 0.5}, {"a": 0.3}], "chosen": None}}
    (layout.versions / "v0002" / "eval_report.json").write_bytes(orjson.dumps(report))
    journal = rebuilt(context)
    look = journal.next_look("r000200")
    journal.close()

    assert 5 == look


def test_a_release_above_the_head_that_was_linked_is_the_head_as_well(context, lineage):
    """
    Killed between the two links, then the journal was lost: nothing that is released is left out.
    """
    move_head(context.layout, "v0002")
    journal = rebuilt(context)
    found = journal.heads.version(), journal.promotions.incumbent()
    journal.close()

    assert ("v0003", "v0003") == found


@pytest.mark.parametrize("has_backup", [True, False])
def test_a_release_of_which_only_a_backup_is_left_stays_the_release(context, lineage, has_backup):
    """
    Without one nothing is decided in its place: current_model is left as it is.
    """
    layout = context.layout
    move_head(layout, "v0002")
    if has_backup:
        backup(layout, "v0003")
    shutil.rmtree(layout.versions / "v0003")
    journal = rebuilt(context)
    last = journal.promotions.last()
    head = journal.heads.version()
    journal.close()

    assert ("v0003" if has_backup else None) == (last and last.version)
    assert ("v0003" if has_backup else "v0002") == head


def test_only_runs_without_an_end_are_looked_at(context, monkeypatch):
    """
    With the process that is on record: its pid alone may belong to somebody else by now.
    """
    seen = []
    monkeypatch.setattr(
        "finetuned.supervisor.recover.end_orphan",
        lambda folder, pid, started, *, patience: seen.append(
            (folder.name, pid, started, patience)
        ),
    )
    runs = context.journal.runs
    for run_id in ("r000001", "r000002"):
        runs.add(run_id, RunKind.INGESTION)
        runs.note_process(run_id, pid=7, pid_started=1.5)
    runs.end("r000001", "ended", exit_status=0)
    end_orphans(context.layout, context.journal, patience=3.0)

    assert [("r000002", 7, 1.5, 3.0)] == seen
