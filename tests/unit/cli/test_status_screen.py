import argparse
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.cli.advice import next_steps
from finetuned.cli.event_text import event_line
from finetuned.cli.program import build_parser
from finetuned.cli.run import welcome
from finetuned.cli.status_screen import Tone, render, screen
from finetuned.core.lost_canaries import LostCanary
from finetuned.core.record import to_json
from finetuned.files.status_file import DaemonState, Presence, StatusDocument
from finetuned.reports.activity import duration
from finetuned.reports.attention import UNREADABLE, attention
from finetuned.supervisor.status import DEFAULTS

ROOT = Path("/srv/my models")
ALIVE = Presence(DaemonState.RUNNING, 7, 0.4)
JOB = {"id": "j000003", "attempts": 0, "datasets": ["a.jsonl"], "n_datasets": 1}
RULES = [
    {"name": "gain", "passed": True, "detail": "better"},
    {"name": "canaries", "passed": False, "detail": "1 of 8 is wrong now"},
]
VERDICT = {"version": "v0002", "promoted": False, "reason": "canaries", "rules": RULES}


def status(**fields):
    return {**DEFAULTS, "phase": "idle", **fields}


def text(seen=ALIVE, root=ROOT, **fields):
    return "\n".join(
        row for row, _ in render(screen(root, status(**fields), seen), 100, cut_words=True)
    )


def test_training_shows_how_far_it_is_and_how_long_it_takes():
    """
    File, bar, steps, time left, loss and speed.
    """
    shown = text(
        phase="training",
        job=JOB,
        batch_step=50,
        batch_total_steps=100,
        eta_seconds=95.0,
        loss=0.5,
        tokens_per_second=1234.0,
    )

    assert "training (j000003: a.jsonl)" in shown
    assert f"[{'#' * 15}{'.' * 15}] step 50 of 100, about 1 min 35 s left" in shown
    assert "loss 0.500, 1234 tokens/s" in shown


def test_a_phase_that_counts_nothing_says_what_it_does_and_for_how_long():
    """
    Loading and the rehearsal; a training has its bar instead.
    """
    known = {
        "phase_since": "2026-01-01T00:00:00Z",
        "heartbeat_at": "2026-01-01T00:01:20Z",
        "job": JOB,
    }
    shown = text(phase="rehearsing", phase_detail="512 tokens of at most 4,096", **known)

    assert (
        "trying how large a batch fits into memory: 512 tokens of at most 4,096, for 1 min 20 s"
        in shown
    )
    assert "loading the model, for 1 min 20 s" in text(phase="loading", **known)
    assert "for 1 min" not in text(phase="training", **known)


def test_between_two_workers_nothing_of_the_last_one_is_shown():
    """
    A loss and a speed would be of a training that is over.
    """
    seen = {"job": JOB, "batch_step": 9, "batch_total_steps": 9, "loss": 0.5}

    assert "step 9 of 9" in text(phase="training", **seen)
    assert "step 9 of 9" not in text(phase="starting_worker", **seen)


def test_the_queue_tells_jobs_from_files():
    """
    And what was refused has a command that lists it.
    """
    queue = {"promoted": 1, "held": 2, "quarantined": 5, "duplicate": 1}
    shown = text(queue=queue)

    assert "nothing waits; jobs so far: 1 promoted, 2 held; files: 5 set aside, 1" in shown
    assert "finetuned datasets --refused --root" in shown
    assert "datasets --refused" in text(books={"refused": 3, "not_learnt": 0})
    assert "datasets --refused" not in text(queue={"promoted": 1})


def test_a_head_that_has_learnt_more_than_the_version_in_use_has_a_line():
    """
    With how many files; a held verdict is neither good nor a warning.
    """
    held = VERDICT | {"outcome": "held"}
    beyond = {"versions": 2, "n_datasets": 2, "datasets": ["a.jsonl", "b.jsonl"]}
    shown = text(version="v0001", head="v0003", beyond_release=beyond, last_verdict=held)

    assert "v0003: training goes on from it; it has learnt 2 files more than" in shown
    assert "v0002 was held: canaries" in shown
    assert "training goes on" not in text(version="v0001", head="v0001")


def test_an_evaluation_shows_its_own_progress_and_no_time_that_nobody_knows():
    """
    The bar counts answers; without an estimate nothing is said of the time.
    """
    shown = text(
        phase="evaluating_candidate",
        job=JOB,
        batch_step=9,
        batch_total_steps=9,
        evaluation_done=30,
        evaluation_total=120,
    )

    assert "answer 30 of 120\n" in shown
    assert "step 9" not in shown


def test_a_verdict_is_shown_with_the_rules_that_failed():
    """
    Not with those that were kept.
    """
    shown = text(last_verdict=VERDICT, version="v0001")

    assert "v0002 was rejected: canaries" in shown
    assert "not met, canaries: 1 of 8 is wrong now" in shown
    assert "gain" not in shown
    assert "models/reports/v0002.html" in shown


def test_a_recovery_says_what_it_does():
    """
    It may take minutes, and nothing else goes on meanwhile.
    """
    shown = text(phase="recovering", waiting_reason="checking the files of the version in use")

    assert "recovering: checking the files of the version in use" in shown


def test_a_watch_is_shown_while_somebody_watches():
    """
    A daemon that is stopped takes nothing back.
    """
    watch = {"version": "v0001", "since": "", "minutes": 30.0, "asking": False}
    stopped = Presence(DaemonState.STOPPED, 7, 90.0)

    assert "v0001 is watched for 30 min" in text(watch=watch, version="v0001")
    assert "is watched" not in text(stopped, watch=watch, version="v0001")


def test_the_first_write_of_the_status_file_can_be_shown():
    """
    Nothing is known yet, and nothing is made up.
    """
    shown = text(phase="starting")

    assert "the base model; no version was promoted yet" in shown
    assert "verdict" not in shown


@pytest.mark.parametrize("state", DaemonState)
def test_every_state_of_the_daemon_has_a_first_line(state):
    """
    Without a daemon, how to start it is said, and nothing of what it was doing.
    """
    rows = render(
        screen(ROOT, status(phase="training", job=JOB), Presence(state, 7, 90.0)),
        100,
        cut_words=True,
    )

    assert rows[0][0].startswith("daemon")
    assert state.alive == any(row.startswith("now") for row, _ in rows)
    assert state.alive != any("start it: finetuned run --root" in row for row, _ in rows)


def test_keys_that_nobody_knows_are_shown_and_are_no_trouble():
    """
    The newest files, with how many of their rows have each key.
    """
    files = [
        {"key": f"k{n}", "name": f"{n}.jsonl", "rows": 60, "keys": {"context": 60, "aside": n}}
        for n in range(1, 4)
    ]
    shown = "\n".join(
        row
        for row, _ in render(
            screen(ROOT, status(unused_keys=files), Presence(DaemonState.RUNNING, 7, 1.0)),
            120,
            cut_words=True,
        )
    )

    assert "unused    keys of 1.jsonl: context in 60 of 60 rows, aside in 1 of 60 rows" in shown
    assert "2.jsonl" in shown
    assert "3.jsonl" not in shown
    assert [] == attention(status(unused_keys=files))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"waiting_reason": "disk_full: 3 MiB free"}, ["disk_full: 3 MiB free"]),
        ({"phase": "recovering", "waiting_reason": "ending workers"}, []),
        ({"config_error": "x"}, ["x (the last good configuration is used)"]),
        ({"inbox_problems": [{"name": "a.txt", "problem": "no"}]}, ["inbox/a.txt: no"]),
    ],
)
def test_what_needs_a_person_is_counted_as_that(fields, expected):
    """
    It decides the exit status 1; a version that was rejected, or a wait, does not.
    """
    assert expected == attention(status(**fields))


def test_problems_are_red_and_the_past_is_not():
    """
    A rejected candidate is no emergency.
    """
    lines = screen(ROOT, status(config_error="bad", last_verdict=VERDICT), ALIVE)

    assert {Tone.BAD} == {line.tone for line in lines if line.label == "problem"}
    assert {Tone.WARN} == {line.tone for line in lines if line.label == "verdict"}


def commands() -> list[str]:
    """
    Return every ``finetuned ...`` command that status, advice or the welcome propose.
    """
    cases = [
        (status(), ALIVE),
        (status(phase="paused", paused_reason="x"), ALIVE),
        (status(waiting_reason="disk_full: 1 MiB", version="v0001"), ALIVE),
        (None, Presence(DaemonState.NEVER, None, None)),
        (status(config_error="bad", last_verdict=VERDICT), Presence(DaemonState.DIED, 7, 1.0)),
        (status(books={"refused": 3, "not_learnt": 2}), ALIVE),
    ]
    said = [step for found, seen in cases for step in next_steps(ROOT, found, seen, "finetuned")]
    lines = [*said, *welcome(ROOT, "finetuned").splitlines()]
    return sorted({line.partition("finetuned ")[2].split("  ")[0] for line in lines} - {""})


@pytest.mark.parametrize("command", commands())
def test_a_command_that_is_proposed_can_be_copied(command):
    """
    The program takes it as it stands, also for a root whose name has a space.
    """
    args = build_parser().parse_args(shlex.split(command), argparse.Namespace(root=None))

    assert args.verb.name == command.split()[0]


def test_a_program_that_is_not_on_path_is_proposed_by_its_path():
    """
    As in a virtual environment that was never activated.
    """
    seen = Presence(DaemonState.DIED, 7, 1.0)
    rows = [line.text for line in screen(ROOT, status(), seen, "/srv/env/bin/finetuned")]

    assert any(row.startswith("start it: /srv/env/bin/finetuned run") for row in rows)


@given(st.floats(0, 1e9))
def test_a_duration_is_short_and_is_about_right(seconds):
    """
    One or two units, off by half of the smaller unit at most.
    """
    sizes = {"s": 1, "min": 60, "h": 3600, "d": 86400}
    words = duration(seconds).split()
    units = [sizes[unit] for unit in words[1::2]]
    found = sum(int(n) * size for n, size in zip(words[::2], units, strict=True))

    assert 1 <= len(units) <= 2
    assert abs(found - seconds) <= max(1.0, units[0])


@given(st.text(max_size=300), st.integers(40, 140))
def test_no_row_is_wider_than_the_terminal_or_drives_it(reason, width):
    """
    Whatever a file name or an error message holds.
    """
    lines = screen(ROOT, status(waiting_reason=reason, error_message=reason), ALIVE)
    rows = [row for row, _ in render(lines, width, cut_words=True)]

    assert all(len(row) <= width for row in rows)
    assert not any(char in row for row in rows for char in "\x1b\x07\n\u202e")


def test_a_path_can_be_copied_from_a_screen_that_is_printed_once():
    """
    The terminal wraps a word that is too long; it is not cut into two.
    """
    root = Path("/srv") / ("x" * 150)
    rows = [row for row, _ in render(screen(root, status(), ALIVE), 80, cut_words=False)]

    assert any(f"{root}/inbox/" in row for row in rows)


@given(st.sets(st.sampled_from(sorted(DEFAULTS))))
def test_a_status_of_an_older_daemon_can_be_shown(missing):
    """
    Whatever fields it lacks; and those that are null.
    """
    document = {k: v for k, v in status(job=JOB, batch_total_steps=9).items() if k not in missing}
    nulls = dict.fromkeys(missing)

    assert [] != screen(ROOT, StatusDocument(document), ALIVE)
    assert [] != screen(ROOT, StatusDocument(document | nulls), ALIVE)


def test_an_event_becomes_a_sentence():
    """
    With the local time and the fields that matter.
    """
    line = event_line(
        {
            "event": "dataset_accepted",
            "level": "info",
            "timestamp": "2026-11-28T16:44:11Z",
            "key": "d00000002",
            "rows_accepted": 9,
            "rows_rejected": 1,
            "n_heldout": 2,
        }
    )

    assert line.endswith("  d00000002: 9 rows accepted, 1 rejected, 2 held out")
    assert line[2] == line[5] == ":"


def test_an_event_without_a_sentence_is_shown_by_its_name():
    """
    With its fields; a field that is missing, or hostile, does no harm.
    """
    event = {"event": "page_not_made", "level": "warning", "version": "v1\x1b[2J", "timestamp": 0}

    assert "--:--:--  warning: page not made  version=v1\\x1b[2J" == event_line(event)
    assert "--:--:--  ?: found in the inbox" == event_line({"event": "dataset_claimed"})


KINDS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["id", "name", "version", "keys"]), st.integers(), max_size=2),
)
ANYTHING = st.one_of(KINDS, st.lists(KINDS, max_size=2))
PARTS = st.sampled_from(sorted(DEFAULTS))


@given(st.dictionaries(PARTS, ANYTHING, min_size=1, max_size=6), st.sampled_from(list(DaemonState)))
def test_no_status_file_of_a_stranger_ends_the_screen_with_a_traceback(fields, state):
    """
    Each part is shown as far as it can be read; what cannot be is said in one sentence.
    """
    strange, seen = StatusDocument({**DEFAULTS, **fields}), Presence(state, 7, 1.0)
    rows = render(screen(ROOT, strange, seen), 80, cut_words=True)

    assert rows[0][0].startswith("daemon")
    assert all(isinstance(problem, str) for problem in attention(strange))


LOST = LostCanary("motd", "Say hello.", "Hello.", "Hello.", "{}", "release")


def test_lost_canaries_are_shown_with_what_can_be_done():
    """
    As commands that can be copied, until the version is in use after all.
    """
    held = VERDICT | {"outcome": "held", "lost_canaries": [to_json(LOST)]}
    shown = " ".join(text(last_verdict=held).split())

    assert 'motd: "Say hello." was answered "Hello." by the release' in shown
    assert "canary remove motd --confirm motd --root '/srv/my models'" in shown
    assert "finetuned versions promote v0002 --root" in shown
    assert "--anyway" in text(last_verdict=held | {"outcome": "rejected"})
    assert "versions promote" not in text(last_verdict=held, version="v0002")
    assert "motd" not in text(last_verdict=held | {"promoted": True})


def test_lost_canaries_that_another_program_wrote_are_said_to_be_unreadable():
    """
    The rest of the screen stands.
    """
    odd = VERDICT | {"outcome": "held", "lost_canaries": [{"id": 1}]}

    assert UNREADABLE.split(";")[0] in " ".join(text(last_verdict=odd).split())
