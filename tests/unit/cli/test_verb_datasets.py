"""
``finetuned datasets`` and ``finetuned retry``: what became of each file, and another try.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from finetuned.cli.program import main
from finetuned.core.books import RowCounts
from finetuned.core.job import JobEvent
from finetuned.core.line_set import LineSet
from finetuned.core.promotion import PromotionCause
from finetuned.errors import DatasetError
from finetuned.files.journal import Journal
from finetuned.files.manifest import write_manifest
from finetuned.files.tables.datasets import Claim
from finetuned.files.tables.jobs import JobFailure
from finetuned.files.tables.scores import Trained
from finetuned.layout import Layout, Priority
from finetuned.supervisor.context import check_root
from support.journals import TO_EVALUATING, release

COUNTS = RowCounts(read=100, refused=2, held_out=5, reserved=1, to_train=92)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    check_root(layout)
    return layout


@pytest.fixture
def journal(layout: Layout) -> Iterator[Journal]:
    journal = Journal(layout.journal)
    yield journal
    journal.close()


class Root:
    """
    A root in which files were dropped and came to different ends.
    """

    def __init__(self, layout: Layout, journal: Journal) -> None:
        self.layout, self.journal = layout, journal

    def drop(self, name: str, key: str) -> str:
        self.journal.datasets.add([Claim(key, name, name.encode(), Priority.NORMAL, 1234)])
        return key

    def accept(self, name: str, key: str) -> str:
        """Validate a file and publish its dataset; return its key."""
        self.drop(name, key)
        self.journal.datasets.accept(
            key, dataset_id=key * 2, sha256=key, n_train=92, n_heldout=5, counts=COUNTS
        )
        folder = self.layout.datasets / (key * 2)
        folder.mkdir(parents=True)
        write_manifest(folder, {"dataset_id": key * 2})
        return key

    def judge(self, key: str, event: JobEvent, version: str, reason: str) -> str:
        """Train a file and judge its candidate; return the job."""
        job = self.journal.jobs.add(Priority.NORMAL, [key])
        for step in TO_EVALUATING:
            self.journal.jobs.move(job, step)
        head = self.journal.heads.version()
        self.journal.conclude(job, event, version=version, parent=head, reason=reason)
        return job

    def fill(self) -> None:
        """Drop seven files and bring them to their ends."""
        self.judge(self.accept("good.jsonl", "d00000001"), JobEvent.HOLD, "v0001", "no gain shown")
        bad = self.accept("permuted.jsonl", "d00000002")
        self.judge(bad, JobEvent.REJECT, "v0002", "12 of 40 right, 30 before")
        broken = self.journal.jobs.add(Priority.NORMAL, [self.accept("huge.jsonl", "d00000003")])
        self.journal.jobs.move(broken, JobEvent.START)
        self.journal.jobs.move(
            broken, JobEvent.FAIL, failure=JobFailure("OutOfMemory", "no room", 3)
        )
        counts = RowCounts(read=30, refused=7, held_out=0, reserved=0, to_train=0)
        self.journal.datasets.quarantine(
            self.drop("torn.jsonl", "d00000004"), "7 of 30 are bad", counts
        )
        first = self.journal.datasets.get("d00000001")
        assert first is not None
        self.journal.datasets.mark_duplicate(
            self.drop("copy.jsonl", "d00000005"),
            dataset_id="d00000001" * 2,
            sha256=None,
            of=first,
            counts=COUNTS,
        )
        self.journal.jobs.add(Priority.NORMAL, [self.accept("new.jsonl", "d00000006")])
        self.drop("unread.jsonl", "d00000007")


@pytest.fixture
def root(layout: Layout, journal: Journal) -> Root:
    """
    Seven files: learnt, rejected, failed, refused, a copy, queued, and not read yet.
    """
    root = Root(layout, journal)
    with journal.together():  # one commit: a disk takes long over twenty
        root.fill()
    return root


def run(root: Root, verb: str, *args: str) -> int:
    return main([verb, *args, "--root", str(root.layout.root)])


def test_every_file_has_one_line_that_says_what_became_of_it(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    With the version that learnt it, or why not, and what to do.
    """
    assert 0 == run(root, "datasets")
    lines = capsys.readouterr().out.splitlines()
    words = (
        ("good.jsonl", "100 rows: 92 learnt by v0001, 6 held out, 2 refused"),
        ("permuted.jsonl", "92 not learnt", "v0002 was rejected: 12 of 40", "retry d00000002"),
        ("huge.jsonl", "92 not learnt", "job j000003 failed: no room", "retry d00000003"),
        ("torn.jsonl", "30 rows: 30 refused", "7 of 30 are bad", "drop it again"),
        ("copy.jsonl", "100 rows: 100 duplicates (the same bytes as d00000001)"),
        ("new.jsonl", "92 waiting", "its job j000004 is queued"),
        ("unread.jsonl", "rows not counted (it is being validated)"),
    )

    assert len(words) + 1 == len(lines)
    for line, expected in zip(lines, words, strict=False):
        assert [] == [word for word in expected if word not in line], line
    assert "530 rows dropped: 92 learnt, 24 held out, 38 refused, 184 not learnt" in lines[-1]
    assert "100 duplicates, 92 waiting; 1 file not read yet" in lines[-1]


def test_a_script_gets_books_that_are_the_sum_of_the_files(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The same words, so that anybody can check it.
    """
    assert 0 == run(root, "datasets", "--json")
    found = json.loads(capsys.readouterr().out)
    books = found["books"]
    counted = [entry["rows"] for entry in found["datasets"] if entry["rows"] is not None]

    assert books["balanced"]
    for word in ("dropped", "learnt", "held_out", "refused", "not_learnt", "duplicate", "waiting"):
        assert books[word] == sum(rows[word] for rows in counted), word
    assert ["v0001", *[None] * 6] == [entry["version"] for entry in found["datasets"]]


@pytest.mark.parametrize(
    ("flag", "keys"),
    [
        ("--unlearnt", ["d00000002", "d00000003"]),
        ("--refused", ["d00000001", "d00000002", "d00000003", "d00000004", "d00000006"]),
        ("--waiting", ["d00000006", "d00000007"]),
    ],
)
def test_a_part_of_the_list_can_be_asked_for(
    root: Root, capsys: pytest.CaptureFixture[str], flag: str, keys: list[str]
) -> None:
    """
    What was not learnt, has refused rows, or waits.
    """
    assert 0 == run(root, "datasets", flag)
    lines = capsys.readouterr().out.splitlines()

    assert keys == [line[:9] for line in lines if line.startswith("d0")]


def report(root: Root, key: str) -> None:
    """
    Write the report of a validated file: what was counted beside the rows.
    """
    first = {"line": 8, "code": "too_long", "reason": "3,000 tokens, 2,048 are allowed"}
    counts = {
        "rows_accepted": 98,
        "rejected": {"too_long": 1, "bad_role": 1},
        "first_rejects": [first],
        "unused_keys": {"context": 60},
        "split": {"distinct_prompts": 40, "no_heldout_because": None},
    }
    (root.layout.datasets / (key * 2) / "report.json").write_text(json.dumps(counts))


def test_refused_rows_are_listed_with_their_reasons(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Of a file that is trained, by code; of one that was set aside, what was found and what to do.
    """
    report(root, "d00000001")
    reason = "7 of 30 lines are rejected: 7 not_json (a; b); correct the lines"
    root.journal.datasets.quarantine("d00000004", reason, None)
    assert 0 == run(root, "datasets", "--refused")
    text = capsys.readouterr().out

    where = f"--root {root.layout.root}"
    assert "2 refused; 1 too_long, 1 bad_role: finetuned datasets d00000001" in text
    assert where in text
    assert "(7 of 30 lines are rejected: 7 not_json (a; b)); correct the lines\n" in text


def test_one_file_is_shown_with_what_its_validation_counted(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Reasons, repeats, keys that are not trained, and where single rows are listed.
    """
    report(root, "d00000001")
    later = "good.d00000001-from-1234.jsonl"
    root.drop(later, "d00000008")
    assert 0 == run(root, "datasets", "good.jsonl")
    text = capsys.readouterr().out

    assert "refused    1 too_long (the first is line 8: 3,000 tokens, 2,048 are" in text
    assert "\n           1 bad_role\n" in text
    assert "repeats    98 accepted rows ask 40 different questions" in text
    assert "unused     keys that are not trained: context in 60 of 98 rows" in text
    assert f"later      rows appended after it was read: d00000008, {later}" in text
    assert "inbox/rejected/good.d00000001.rejects.jsonl" in text
    assert "models/datasets/d00000001d00000001/heldout.jsonl" in text


def test_nothing_unlearnt_is_said_in_words(
    layout: Layout, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    An empty list would leave the question open; and of an empty root that nothing was dropped.
    """
    root = Root(layout, journal)
    assert 0 == run(root, "datasets")
    assert "no row was dropped yet\n" == capsys.readouterr().out

    root.judge(root.accept("good.jsonl", "d00000001"), JobEvent.HOLD, "v0001", "no gain shown")
    assert 0 == run(root, "datasets", "--unlearnt")
    text = capsys.readouterr().out
    assert "every row that was meant for training is learnt or waits" in text
    assert "what was refused, and why: finetuned datasets --refused" in text


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("notes.csv", "inbox/notes.csv: ignored: only names that end in .jsonl are read"),
        ("inbox/high/new.jsonl", "inbox/high/new.jsonl: not read yet"),
    ],
)
def test_a_file_that_still_lies_in_the_inbox_is_said_to(
    root: Root, capsys: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    """
    With the reason why it is not taken, if it never is.
    """
    (root.layout.inbox / "notes.csv").touch()
    (root.layout.inbox / "high" / "new.jsonl").touch()
    assert 1 == run(root, "datasets", name)

    assert why in capsys.readouterr().err


def test_rows_that_no_step_had_are_listed_and_queued_again(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A job that stopped early has learnt the others of its file: no row is trained twice.
    """
    unseen = LineSet.of([7, *range(50, 80)])
    trained = [Trained("d00000001" * 2, 61, 9, 2, unseen, "the training stopped early")]
    root.journal.scores.add_trained("j000001", "r1", trained)
    assert 0 == run(root, "datasets", "--unlearnt")
    (first, *_) = capsys.readouterr().out.splitlines()
    assert "61 learnt by v0001, 6 held out, 2 refused, 31 not learnt" in first
    assert "(31 rows were in no optimizer step: the training stopped early)" in first
    assert "retry d00000001" in first
    assert 0 == run(root, "datasets", "good.jsonl")
    assert "in no step lines 7, 50, 51, " in (text := capsys.readouterr().out)
    assert "67, 68 and 11 more" in text

    assert 0 == run(root, "retry", "d00000001")
    assert 0 == run(root, "datasets", "good.jsonl", "--json")
    (entry,) = json.loads(capsys.readouterr().out.splitlines()[-1])["datasets"]
    assert (61, 0, 31) == tuple(entry["rows"][w] for w in ("learnt", "not_learnt", "waiting"))
    assert unseen.lines() == entry["unseen_lines"]


@pytest.mark.parametrize("name", ["d00000002", "permuted.jsonl"])
def test_one_file_is_shown_with_all_its_jobs(
    root: Root, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """
    By its key, or by the name under which it was dropped.
    """
    root.journal.retry(["d00000002"])
    assert 0 == run(root, "datasets", name)
    text = capsys.readouterr().out

    assert "d00000002  permuted.jsonl, 1,234 bytes" in text
    assert "100: 6 held out, 2 refused, 92 waiting" in text
    assert "held out by earlier files or suites: 1 of them" in text
    assert "j000002 rejected, made v0002" in text
    assert "j000005 queued" in text
    assert "its job j000005 is queued" in text


def test_a_file_that_nobody_dropped_is_an_error(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Not an empty answer.
    """
    assert 1 == run(root, "datasets", "d99999999")
    assert "neither the key nor the name" in capsys.readouterr().err


def test_what_was_not_learnt_is_queued_again_each_file_in_a_job_of_its_own(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    And only once: asked again there is nothing to queue.
    """
    assert 0 == run(root, "retry", "--all-unlearnt")
    text = capsys.readouterr().out
    assert "d00000002 (permuted.jsonl) is queued again as job j000005" in text
    assert "d00000003 (huge.jsonl) is queued again as job j000006" in text
    assert 0 == run(root, "retry", "--all-unlearnt")
    assert "no file can be queued again" in capsys.readouterr().out

    for key, job in (("d00000002", "j000005"), ("d00000003", "j000006")):
        assert [key] == [row.key for row in root.journal.datasets.of_job(job)]


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("d00000001", "d00000001 (good.jsonl) is learnt already, by v0001"),
        ("d00000004", "inbox/rejected/"),
        ("d00000005", "the same bytes as d00000001: name d00000001 instead"),
        ("d00000006", "waits already: its job j000004 is not over"),
        ("d00000007", "waits already: it is being validated"),
        ("d99999999", "no file that was dropped here"),
    ],
)
def test_what_cannot_be_tried_again_is_refused_and_nothing_is_queued(
    root: Root, capsys: pytest.CaptureFixture[str], key: str, why: str
) -> None:
    """
    Nor is the other file that was named.
    """
    before = root.journal.jobs.counts()
    assert 1 == run(root, "retry", "d00000002", key)

    assert why in capsys.readouterr().err
    assert before == root.journal.jobs.counts()


def test_rows_that_are_not_on_disk_any_more_have_to_be_dropped_again(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The others of --all-unlearnt are queued; the status says that one was not.
    """
    (root.layout.datasets / ("d00000002" * 2) / "manifest.json").unlink()
    assert 1 == run(root, "retry", "--all-unlearnt")
    out, err = capsys.readouterr()

    assert "d00000002 (permuted.jsonl): its validated rows are gone" in err
    assert "d00000003 (huge.jsonl) is queued again" in out


@pytest.mark.parametrize(
    ("cause", "why"),
    [
        (PromotionCause.ROLLBACK, "a person went back with training to the base model"),
        (PromotionCause.WATCH, "training went back to the base model: it failed in use, or"),
        (PromotionCause.FALLBACK, "training went back to the base model: the files of the head"),
    ],
)
def test_rows_of_a_version_that_training_left_say_why_and_can_be_tried_again(
    root: Root, capsys: pytest.CaptureFixture[str], cause: PromotionCause, why: str
) -> None:
    """
    The head does not descend from it any more, so nothing has learnt them.
    """
    release(root.journal, None, cause)
    assert 0 == run(root, "datasets", "--unlearnt")
    line = capsys.readouterr().out.splitlines()[0]

    assert "92 not learnt" in line
    assert f"v0001 learnt it, but {why}" in line
    assert 0 == run(root, "retry", "d00000001")


def test_a_job_that_was_skipped_as_learnt_says_so_after_the_version_is_taken_back(
    root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Queued again, put in use again, skipped, and taken back once more.
    """
    journal = root.journal
    release(journal, None, PromotionCause.ROLLBACK)
    again = journal.retry(["d00000001"])["d00000001"]
    release(journal, "v0001", PromotionCause.PROMOTE)
    assert journal.set_learnt_aside(again) is not None
    release(journal, None, PromotionCause.ROLLBACK)
    assert 0 == run(root, "datasets", "good.jsonl")

    words = (
        f"job {again} was skipped: v0001 has learnt its rows already, but since then a person went"
    )
    assert words in capsys.readouterr().out


def test_a_file_is_queued_once_however_many_ask_at_the_same_time(root: Root) -> None:
    """
    Each on a connection of its own, as a command beside the daemon is.
    """

    def ask(_: int) -> dict[str, str]:
        journal = Journal(root.layout.journal)
        try:
            return journal.retry(["d00000002"])
        except DatasetError:
            return {}
        finally:
            journal.close()

    with ThreadPoolExecutor(6) as people:
        made = [found for found in people.map(ask, range(6)) if found]

    assert [{"d00000002": "j000005"}] == made


@pytest.mark.parametrize("args", [["retry"], ["retry", "d1", "--all-unlearnt"]])
def test_the_files_are_named_or_all_are_meant(
    root: Root, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    """
    Neither is wrong usage, and so are both.
    """
    with pytest.raises(SystemExit) as ended:
        run(root, *args)

    assert 2 == ended.value.code
    assert "name the files by their keys" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["datasets"], ["retry", "--all-unlearnt"]])
def test_a_root_without_a_journal_is_said_to_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    """
    And none is made by looking.
    """
    assert 1 == main([*verb, "--root", str(tmp_path)])

    assert "nothing was dropped" in capsys.readouterr().err
    assert not Layout(tmp_path).journal.exists()
