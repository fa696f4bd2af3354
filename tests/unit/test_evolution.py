"""
Followed examples: when they are asked again, and what became of their answers.
"""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.cli.evolution_text import as_list, as_text
from finetuned.cli.program import main
from finetuned.core.evolution import EARLY_STEPS, Sighting, is_scheduled, life_of
from finetuned.core.promotion import PromotionCause
from finetuned.core.run import RunKind
from finetuned.files.evolution import Example
from finetuned.files.journal import Journal
from finetuned.files.run import EVALS, append_metrics
from finetuned.layout import Layout
from finetuned.reports.evolution_page import evolution_page
from finetuned.supervisor.context import check_root
from support.journals import promote_job, release

RIGHTS = st.lists(st.sampled_from([True, False, None]), max_size=12)


def seen(right: bool | None, step: int = 1) -> Sighting:
    return Sighting("j000001", step, None, "yes" if right else "no", right, 0.5)


def test_the_schedule_goes_on_every_thousand_steps() -> None:
    """
    Each scheduled step is met once, at the first look at or after it.
    """
    met = [s for s in range(1, 23_500) if is_scheduled(s - 1, s)]

    assert [*EARLY_STEPS, 21_000, 22_000, 23_000] == met
    assert is_scheduled(8, 12)
    assert not is_scheduled(12, 24)


@given(RIGHTS)
def test_a_life_agrees_with_its_answers(rights: list[bool | None]) -> None:
    """
    An answer can be lost only after it was right, and found again only after it was lost.
    """
    life = life_of([seen(right) for right in rights])
    judged = [right for right in rights if right is not None]

    assert (judged[-1] if judged else None) == life.right_now
    assert (life.first_right is None) == (True not in judged)
    assert all(rights[i] is False for i in life.lost)
    assert all(rights[i] is True for i in life.found_again)
    assert len(life.found_again) <= len(life.lost) <= len(life.found_again) + 1
    assert ("lost" == life.word) == (life.right_now is False and True in judged)


def test_the_words_say_when_an_answer_was_lost() -> None:
    """
    On the terminal as on the page.
    """
    example = Example(
        "q:1", "<b>Which?</b>", "yes", "file.jsonl", [seen(True, 10), seen(False, 25)]
    )
    text = as_text(example)

    assert "Right for the first time: j000001 step 10; lost: j000001 step 25. Now wrong." in text
    assert "<- lost" in text
    assert "1 questions: 1 lost" in as_list([example])
    page = evolution_page([example])
    assert "&lt;b&gt;Which?" in page
    assert ">lost<" in page


@pytest.fixture
def root(tmp_path: Path) -> Layout:
    """
    One version whose job was looked at twice, the second line cut by a crash; and its report.
    """
    layout = Layout(tmp_path)
    check_root(layout)
    journal = Journal(layout.journal)
    job = promote_job(journal, "d00000001", "ab" * 8, "v0001")
    release(journal, "v0001", PromotionCause.GATE)
    journal.runs.add("r000001", RunKind.TRAINING, job_id=job)
    journal.close()
    run = layout.runs / "r000001"
    run.mkdir(parents=True)
    append_metrics(run, {"step": 1, "loss": 2.0, "kl": None}, EVALS)  # of an older version
    answers = [{"id": "ab:3", "answer": "yes", "matches": True, "loss": 0.1, "n_tokens": 2}]
    append_metrics(run, {"step": 10, "loss": 0.1, "kl": None, "answers": answers}, EVALS)
    with (run / EVALS).open("ab") as evals:
        evals.write(b'{"step": 20, "loss": 0.1, "answ')
    report = {
        "suites": [{"name": "heldout-ab", "title": "file.jsonl", "origin": "new"}],
        "curves": {"train_loss": [[1, 3.0], [24, 0.2]]},
        "items": [
            {
                "suite": "heldout-ab",
                "id": "ab:3",
                "prompt": "Shall we?",
                "golden": "yes",
                "outcomes": {
                    "base": {"answer": "who?", "correct": False, "loss": 9.0, "n_tokens": 3},
                    "candidate": {"answer": "no", "correct": False, "loss": 3.0, "n_tokens": 3},
                },
            }
        ],
    }
    folder = layout.versions / "v0001"
    folder.mkdir(parents=True)
    (folder / "eval_report.json").write_bytes(orjson.dumps(report))
    return layout


def test_live_evals_and_reports_are_one_life(
    root: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    From the model before the job to the version's evaluation; a cut line is left out.
    """
    assert 0 == main(["evolution", "shall WE", "--json", "--root", str(root.root)])
    (example,) = json.loads(capsys.readouterr().out)["examples"]

    assert ("ab:3", "lost", "yes") == (example["id"], example["life"], example["golden"])
    assert [(0, None, "who?", 3.0), (10, None, "yes", 0.1), (24, "v0001", "no", 1.0)] == [
        (a["step"], a["version"], a["answer"], a["loss"]) for a in example["answers"]
    ]


def test_a_question_that_was_not_asked_is_refused(
    root: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    So is a version that does not exist: one sentence and exit status 1.
    """
    for args in (["nothing like it"], ["--version", "v0009"]):
        assert 1 == main(["evolution", *args, "--root", str(root.root)])
        assert 1 == len(capsys.readouterr().err.splitlines())
    page = tmp_path / "page.html"
    assert 0 == main(["evolution", "--html", str(page), "--root", str(root.root)])
    assert "v0001, evaluated" in page.read_text()
