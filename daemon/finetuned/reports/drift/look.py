"""
A look at a root: reads rows and requests, has them compared, and says what cannot be told.

Only reads. Takes some seconds of one core at most, however large files and recordings are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from finetuned.core.dataset_state import DatasetState
from finetuned.core.drift.answered import Answered, Forms, measured
from finetuned.core.drift.measure import Against, Alert, Span, Values
from finetuned.core.drift.moved import LEAST_SPANS, moved, usual_differences
from finetuned.core.drift.spans import LEAST, grouped
from finetuned.core.drift.wording import Reference, distinct
from finetuned.core.masking import masked
from finetuned.files.answered_requests import read_requests
from finetuned.files.journal_view import JournalView
from finetuned.files.rows import DatasetRow
from finetuned.layout import Layout
from finetuned.reports.drift.found import Drift, Example, FileLook, Moved
from finetuned.reports.drift.rows import Pair, Request, request_of, rows_of
from finetuned.reports.local_days import begin_of
from finetuned.reports.wording import begin

MOST_TRAINED: Final = 2000
"""Rows of the training that are read, of all files together."""
MOST_FILE: Final = 500
"""Rows of a new file that are read."""
MOST_FILES: Final = 30
"""New files that are looked at, the newest."""
MOST_A_DAY: Final = 300
"""Requests of a day that are read."""
MOST_DAYS: Final = 60
"""Longest span of days that is looked at."""
MOST_EARLIER: Final = 50
"""Requests of an earlier day that are read, to know what is usual."""
EARLIER_DAYS: Final = 28
"""Days before them that show what is usual: whole weeks."""
EXAMPLE_CHARS: Final = 160

Days = Mapping[date, Sequence[Request]]


def look(layout: Layout, view: JournalView, first: date, last: date) -> Drift:
    """
    Return what moved in the local days *first* to *last*.

    Args:
        layout: The root.
        view: Its journal.
        first: At most MOST_DAYS before *last*; earlier days are left out.
        last: Likewise a local date, included.

    Raises:
        OSError, sqlite3.Error: Journal, requests or files cannot be read.
        ValueError: Recorded requests are not what this program writes.
    """
    first = max(first, last - timedelta(days=MOST_DAYS - 1))
    notes: list[str] = []
    version = view.promotions.incumbent() or view.heads.version()
    learnt = _learnt(view, version)
    trained, missing = _rows(layout, learnt)
    if missing:
        notes.append(
            f"{missing} of {len(learnt)} trained files are gone: neither their originals nor their "
            "held-out rows are on disk"
        )
    days, total = _requests(layout, first, last, most=MOST_A_DAY)
    start, end = first - timedelta(days=EARLIER_DAYS), first - timedelta(days=1)
    before, _ = _requests(layout, start, end, most=MOST_EARLIER)
    pairs = [pair for rows in trained.values() for pair in rows]
    inputs = _inputs(pairs, days, before, notes) if total else []
    outputs = _outputs(pairs, days, before, notes) if total else []
    if not learnt:
        notes.append("nothing is learnt yet, so there is no training to compare with")
    return Drift(
        first=first,
        last=last,
        version=version,
        trained_rows=len(pairs),
        trained_files=len(trained),
        requests=total,
        prompts=sum(len(distinct([r.asked for r in found])) for found in days.values()),
        earlier=sum(len(found) for found in before.values()),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        files=tuple(_files(layout, view, trained, learnt, first, last, notes)),
        notes=tuple(dict.fromkeys(notes)),
    )


# -- reading --------------------------------------------------------------------


def _learnt(view: JournalView, version: str | None) -> list[DatasetRow]:
    """Return the files that a version learnt, by arrival."""
    ids = {d.dataset_id for d in view.datasets.learnt_by(view.versions.lineage(version))}
    found: dict[str, DatasetRow] = {}
    for state in (DatasetState.ACCEPTED, DatasetState.RETIRED):
        for row in view.datasets.in_state(state):
            if row.dataset_id in ids and row.duplicate_of is None:
                found.setdefault(row.dataset_id, row)
    return sorted(found.values(), key=lambda row: row.key)


def _rows(layout: Layout, learnt: Sequence[DatasetRow]) -> tuple[dict[str, list[Pair]], int]:
    """Return rows of each file by its key, as many as its share; and how many files are gone."""
    whole = sum(row.n_train or 0 for row in learnt)
    found, missing = {}, 0
    for row in learnt:
        most = max(1, round(MOST_TRAINED * (row.n_train or 0) / whole)) if whole else 1
        rows = rows_of(layout, row, most=most)
        if rows is None:
            missing += 1
        else:
            found[row.key] = rows
    return found, missing


def _requests(
    layout: Layout, first: date, last: date, *, most: int
) -> tuple[dict[date, list[Request]], int]:
    """Return requests by day, at most *most* of each, and how many were recorded in all."""
    days: dict[date, list[Request]] = {}
    total, day = 0, first
    while day <= last:
        until = day + timedelta(days=1)
        found, n = read_requests(layout.feedback, begin_of(day), begin_of(until), most=most)
        if found:
            days[day] = [request_of(one) for one in found]
        total, day = total + n, until
    return days, total


# -- comparing ------------------------------------------------------------------


def _inputs(pairs: Sequence[Pair], days: Days, before: Days, notes: list[str]) -> list[Moved]:
    groups, few = grouped({day: _distinct(found) for day, found in days.items()})
    if few:
        notes.append(
            f"{few} different prompts are too few to judge what users ask; {LEAST} are needed"
        )
        return []
    alerts: list[Alert] = []
    trained = distinct([pair.asked for pair in pairs])
    if len(trained) >= 2 * LEAST:
        reference = Reference(trained[::2], trained[1::2])
        spans = [Span(a, b, reference.measured([r.asked for r in rs])) for a, b, rs in groups]
        alerts += moved(reference.values, spans, against=Against.TRAINED)
    elif pairs:
        notes.append(
            f"{len(trained)} different trained prompts are too few to compare with; "
            f"{2 * LEAST} are needed"
        )
    earlier, few = grouped({day: _distinct(found) for day, found in before.items()})
    if len(earlier) >= 2:
        known = [r.asked for _, _, rs in earlier[::2] for r in rs]
        compared = [[r.asked for r in rs] for _, _, rs in earlier[1::2]]
        reference = Reference(known, [one for span in compared for one in span])
        usual = usual_differences([reference.measured(span) for span in compared])
        spans = [Span(a, b, reference.measured([r.asked for r in rs])) for a, b, rs in groups]
        alerts += moved(reference.values, spans, against=Against.EARLIER, usual=usual)
    else:
        notes.append(_too_few_before(before))
    return _told(alerts, groups, days, before, answers=False)


def _outputs(pairs: Sequence[Pair], days: Days, before: Days, notes: list[str]) -> list[Moved]:
    groups, few = grouped(days)
    earlier, _ = grouped(before)
    if few:
        notes.append(f"{few} different answers are too few to judge; {LEAST} are needed")
        return []
    if not earlier:
        notes.append(_too_few_before(before))
        return []
    answers = [pair.answer for pair in pairs if pair.answer is not None]
    forms = Forms(answers or [r.answered.text for _, _, rs in earlier for r in rs])
    if not forms.is_json:
        notes.append("trained answers are not JSON, so no form is expected of answers")
    usual_spans = [_of_answers(rs, forms) for _, _, rs in earlier]
    reference = _joined(usual_spans)
    spans = [Span(a, b, _of_answers(rs, forms)) for a, b, rs in groups]
    usual = usual_differences(usual_spans) if len(usual_spans) >= LEAST_SPANS else {}
    alerts = moved(reference, spans, against=Against.EARLIER, usual=usual)
    return _told(alerts, groups, days, before, answers=True)


def _of_answers(requests: Sequence[Request], forms: Forms) -> Values:
    answers: list[Answered] = [r.answered for r in requests]
    return measured(answers, forms)


def _joined(spans: Sequence[Values]) -> Values:
    return {m: [v for span in spans for v in span[m]] for m in spans[0]}


def _distinct(requests: Sequence[Request]) -> list[Request]:
    found: dict[str, Request] = {}
    for request in requests:
        found.setdefault(request.asked.text, request)
    return list(found.values())


def _too_few_before(before: Days) -> str:
    n = sum(len(found) for found in before.values())
    return (
        f"{n} requests were recorded in the {EARLIER_DAYS} days before; they are too few to say "
        "what is usual"
    )


def _told(
    alerts: Sequence[Alert],
    groups: Sequence[tuple[date, date, list[Request]]],
    days: Days,
    before: Days,
    *,
    answers: bool,
) -> list[Moved]:
    """Return alerts with examples, and with the versions that answer only since then."""
    known = {r.model for found in before.values() for r in found}
    since: dict[str, date] = {}
    for day in sorted(days):
        for request in days[day]:
            since.setdefault(request.model, day)
    found = []
    for alert in alerts:
        end = next(i for i, (_, last, _) in enumerate(groups) if alert.until in (None, last))
        requests = groups[-1 if alert.until is None else end][2]
        examples = [_example(requests[i], answers=answers) for i in alert.examples]
        new = sorted(
            model
            for model, day in since.items()
            if known and model not in known and alert.since <= day <= alert.noticed
        )
        found.append(Moved(alert, tuple(examples), tuple(new)))
    return found


def _example(request: Request, *, answers: bool) -> Example:
    answer = begin(masked(request.answered.text), EXAMPLE_CHARS) if answers else None
    return Example(begin(masked(request.asked.text), EXAMPLE_CHARS), answer)


# -- files ----------------------------------------------------------------------


def _files(
    layout: Layout,
    view: JournalView,
    trained: Mapping[str, Sequence[Pair]],
    learnt: Sequence[DatasetRow],
    first: date,
    last: date,
    notes: list[str],
) -> list[FileLook]:
    """Return the files dropped in these days beside what was learnt of earlier ones."""
    start, end = begin_of(first), begin_of(last + timedelta(days=1))
    new = [
        row
        for row in view.days.dropped(start, end)
        if row.state in (DatasetState.ACCEPTED, DatasetState.RETIRED) and row.duplicate_of is None
    ]
    if not new:
        return []
    if len(new) > MOST_FILES:
        notes.append(f"the newest {MOST_FILES} of {len(new)} new files were looked at")
    earlier = {row.key for row in learnt if row.claimed_at < start}
    known = distinct([p.asked for key, rows in trained.items() if key in earlier for p in rows])
    if len(known) < 2 * LEAST:
        notes.append(
            f"new files are not compared: of files dropped before {first} only {len(known)} "
            f"different prompts were learnt, and {2 * LEAST} are needed"
        )
        return []
    reference = Reference(known[::2], known[1::2])
    return [_file(layout, row, reference) for row in new[-MOST_FILES:]]


def _file(layout: Layout, row: DatasetRow, reference: Reference) -> FileLook:
    rows = rows_of(layout, row, most=MOST_FILE)
    if rows is None:
        return FileLook(row.key, row.name, 0, (), "its original and its dataset are gone")
    asked = distinct([pair.asked for pair in rows])
    if len(asked) < LEAST:
        few = f"{len(asked)} different prompts are too few to judge; {LEAST} are needed"
        return FileLook(row.key, row.name, len(asked), (), few)
    day = date.fromisoformat(row.claimed_at[:10])
    alerts = moved(
        reference.values,
        [Span(day, day, reference.measured(asked))],
        against=Against.TRAINED,
    )
    told = (
        Moved(a, tuple(Example(begin(masked(asked[i].text), EXAMPLE_CHARS)) for i in a.examples))
        for a in alerts
    )
    return FileLook(row.key, row.name, len(asked), tuple(told))
