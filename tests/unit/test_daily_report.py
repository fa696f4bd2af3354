"""
The report of a day: what is in it, in every form, and what a damaged root does to it.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from finetuned.cli.program import main
from finetuned.config import Config, config_from_dict
from finetuned.core.review import RecordedExchange
from finetuned.files.journal import Journal
from finetuned.layout import Layout
from finetuned.reports.daily.make import Made, make, record_daily
from finetuned.reports.daily.post import work
from finetuned.reports.daily.sections import CALM
from finetuned.reports.daily.written import as_markdown, as_short, as_text
from support.daily_roots import make_day
from support.drift_root import make_drift_root

CONFIG = config_from_dict({"report": {"daily_at": "00:00", "to": ["mail"]}})


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A root after a day of work; only read."""
    return make_day(tmp_path_factory.mktemp("daily") / "factory")


def made(layout: Layout, when: date, *, drawn: bool = False) -> Made:
    return make(layout, when, when, now=datetime.now(), config=Config(), drawn=drawn)


def today() -> date:
    """The local day on which the journal of make_day() was written."""
    return datetime.now(UTC).astimezone().date()


def test_the_report_says_what_the_document_asks_for(day: Layout) -> None:
    """
    Files, steps, final loss, time, GPU use, best accuracy, per level, recommendations; and the
    verdicts, incidents, forgetting and disk.
    """
    text = as_text(made(day, today()).report)

    for line in (
        r"^Training Summary - .* - factory$",
        r"^Files trained: 9 \(users-01.jsonl, ",
        r"^Total steps: 2,000$",
        r"^Final loss: 0\.\d\d\d \(j000009\)$",
        r"^Training time: ",
        r"^GPU utilization: no readings$",
        r"^Best eval accuracy: 100% \(v0007, 20 held-out rows",
        r"^Verdicts: 6 promoted, 2 held, 1 rejected, 1 failed$",
        r"^- syllo_easy_100: right 98/100; accuracy 98%$",
        r"^- syllo_hard_100: right 53/100; accuracy 53%$",
        r"^- notes.jsonl: .*now refused; why 61 of 64 rows",
        r"^Incident .*: v0002 was taken back",
        r"^Backward transfer: -4\.5 points$",
        r"^Free under models/: ",
        r"\(weak_suite: 53 of 100",
        r"\(overfitted: j000008: Held-out loss is lowest at step \d+ ",
        r"^All runs so far: \d+ runs, ",
    ):
        assert re.search(line, text, re.MULTILINE), line
    assert CALM not in text
    levels = [text.index(f"syllo_{level}_100:") for level in ("easy", "medium", "hard")]
    assert sorted(levels) == levels


def test_a_day_without_work_needs_nobody(day: Layout) -> None:
    """
    No rule that always says something: an empty day says that nothing needs attention.
    """
    report = made(day, today() - timedelta(days=9)).report

    assert () == report.recommendations
    for text in (as_text(report), as_markdown(report), as_short(report)):
        assert CALM in text


def test_the_mail_names_its_picture_and_the_page_holds_it(day: Layout) -> None:
    """
    Mail programs show neither data: addresses nor style sheets nor scripts; a page has no file
    beside it.
    """
    found = made(day, today(), drawn=True)
    mail, page = found.message.html or "", found.page

    assert found.picture is not None
    assert found.picture.startswith(b"\x89PNG")
    assert 'src="cid:curves.png"' in mail
    assert "data:" not in mail
    assert "data:image/png;base64," in page
    for html in (mail, page):
        assert not re.search(r"<(style|script|svg|link)\b", html)
    assert len(mail) < 100_000  # Gmail cuts what is longer


def test_what_a_user_named_is_shown_and_nothing_else(tmp_path: Path) -> None:
    """
    A name of a file is text in every form: no HTML, no Markdown, no control characters.
    """
    layout = make_day(tmp_path / "<b>&_*root")
    report = made(layout, today())

    assert "<b>&" not in (report.message.html or "")
    assert "&lt;b&gt;" in (report.message.html or "")
    assert "\\<b\\>&\\_\\*root" in report.message.markdown


def test_a_day_is_recorded_with_its_message_and_only_once(day: Layout, tmp_path: Path) -> None:
    """
    Killed between making and recording: made again. Recorded: never again, whoever asks.
    """
    journal = Journal(tmp_path / "journal.sqlite3")
    found = made(day, today())
    assert record_daily(journal, found, CONFIG.report)
    assert not record_daily(journal, found, CONFIG.report)

    (row,) = journal.messages.waiting()
    assert found.report.title == journal.messages.get(row.message).subject
    last = journal.messages.last_daily()
    assert last is not None
    assert (today().isoformat(), row.message) == (last.last_day, last.message)
    journal.close()


def test_missed_days_are_one_report_and_what_cannot_be_sent_waits(tmp_path: Path) -> None:
    """
    The process that the daemon starts, after downtime: one report, whose message waits with its
    reason, as there is no address; a second call makes nothing.
    """
    layout = make_day(tmp_path / "factory")
    now = datetime.combine(today() + timedelta(days=3), datetime.min.time()) + timedelta(hours=4)
    journal = Journal(layout.journal)
    journal.messages.add_daily(today() - timedelta(days=1), today() - timedelta(days=1), None)
    done = work(layout, CONFIG, now=now)

    assert (True, None) == (done.made, done.problem)
    (outcome,) = done.outcomes
    assert "FINETUNED_REPORT_MAIL" in str(outcome.problem)
    last = journal.messages.last_daily()
    assert last is not None
    assert today().isoformat() == last.first_day
    assert (today() + timedelta(days=2)).isoformat() == last.last_day
    page = layout.daily_reports / f"{last.last_day}.html"
    assert "data:image/png" in page.read_text()
    again = work(layout, CONFIG, now=now)
    assert (False, []) == (again.made, again.outcomes)
    journal.close()


def test_a_damaged_root_still_has_a_report(tmp_path: Path) -> None:
    """
    Incidents cut short, a feedback file that is none, run folders gone: the rest is told, and
    what could not be read is named.
    """
    layout = make_day(tmp_path / "factory")
    for path in layout.incidents.iterdir():
        path.write_bytes(path.read_bytes()[:20])
    layout.serving.mkdir()
    layout.feedback.write_bytes(b"no database" * 100)
    shutil.rmtree(layout.runs)
    report = made(layout, today()).report

    text = as_text(report)
    assert "service could not be read" in text
    assert "Files trained: 9" in text


def test_the_verb_prints_each_form(day: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Text, Markdown, HTML and JSON of the same facts; wrong usage and a root without a journal end
    with one sentence.
    """
    root = ["--root", str(day.root)]
    assert 0 == main(["report", "daily", *root])
    assert "Files trained: 9" in capsys.readouterr().out
    assert 0 == main(["report", "daily", *root, "--format", "markdown", "--date", "yesterday"])
    assert capsys.readouterr().out.startswith("# Training Summary")
    assert 0 == main(["report", "daily", *root, "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert 12 == len(facts["facts"]["files"])
    assert "rule" in facts["recommendations"][0]
    for wrong in (
        ["--date", "16.11."],
        ["--due", "--date", "today"],
        ["--send", "--format", "text"],
    ):
        with pytest.raises(SystemExit):
            main(["report", "daily", *root, *wrong])
    with pytest.raises(SystemExit):
        main(["report", "v0001", *root, "--send"])
    capsys.readouterr()
    assert 1 == main(["report", "daily", *root, "--send"])
    assert "report.to names nobody" in capsys.readouterr().err


def test_a_root_without_a_journal_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Nothing is made in a folder that was no root.
    """
    assert 1 == main(["report", "daily", "--root", str(tmp_path)])
    assert "no journal yet" in capsys.readouterr().err
    assert [] == os.listdir(tmp_path)


def test_what_moved_is_told_once_and_no_prompt_with_it(tmp_path: Path) -> None:
    """
    On the day on which it is noticed the rule speaks; on the next it stands among the facts only.
    """
    when = date.today()

    def declined(rng: random.Random, found: RecordedExchange) -> RecordedExchange:
        return replace(found, answer='{"action":"none"}')

    layout = make_drift_root(tmp_path, today=when, shift=declined, shifted=2)
    told = {back: made(layout, when - timedelta(days=back)) for back in (0, 1)}

    assert "moved" in [found.rule for found in told[1].report.recommendations]
    assert "moved" not in [found.rule for found in told[0].report.recommendations]
    for found in told.values():
        text = as_text(found.report)
        assert "refusals: 100% of answers, 0% before" in text
        assert not re.search("dns record|the user", text)
