"""
A refusal is a reason in the status and a later try, and ends when the same step succeeds.
"""

import errno
import sqlite3

import pytest

from finetuned.core.decide import Claim, StartTraining, WarmUp
from finetuned.errors import ConfigError, ModelError
from finetuned.supervisor.attempts import LOOKS, Attempts


@pytest.fixture
def attempts(context):
    return Attempts(context)


def fail(error):
    def step():
        raise error

    return step


REFUSALS = [
    (OSError(errno.ENOSPC, "No space left on device"), "disk_full: "),
    (sqlite3.OperationalError("database or disk is full"), "disk_full: "),
    (sqlite3.OperationalError("disk I/O error"), "journal_unavailable: "),
    (ConfigError("model.base is wrong"), "configuration: "),
    (ModelError("v0001 is damaged"), "refused: "),
]


@pytest.mark.parametrize(("error", "reason"), REFUSALS)
def test_a_refusal_blocks_new_work_and_says_why(context, attempts, error, reason):
    """
    With the step's name and the error's own words.
    """
    assert not attempts.run("inbox", fail(error))
    assert context.blocked().startswith(f"{reason}inbox: ")
    assert str(error) in context.blocked()


def test_a_bug_is_no_refusal(attempts):
    """
    It ends the process: what is unknown must not be tried again for ever.
    """
    with pytest.raises(KeyError):
        attempts.run("inbox", fail(KeyError("bug")))


@pytest.mark.parametrize("name", LOOKS)
def test_a_block_is_cleared_by_the_next_success_of_its_own_step(context, attempts, name):
    """
    The success of another step says nothing of it.
    """
    attempts.run(name, fail(OSError("refused")))
    attempts.run("another", lambda: None)
    assert context.blocked() is not None
    attempts.run(name, lambda: None)

    assert context.blocked() is None


def test_a_step_whose_time_has_not_come_clears_nothing(context, attempts):
    """
    It did not try what was refused.
    """
    attempts.run("housekeeping", fail(OSError("refused")))
    attempts.run("housekeeping", lambda: False)

    assert context.blocked() is not None


def test_an_action_that_starts_something_clears_what_another_action_was_refused(context, attempts):
    """
    The file system obeys again, whichever of them shows it; a look's block stays.
    """
    attempts.perform(StartTraining("j1"), fail(OSError("refused")))
    attempts.perform(WarmUp(), lambda: None)
    assert context.blocked() is not None
    attempts.perform(Claim(), lambda: None)
    assert context.blocked() is None
    attempts.run("control", fail(OSError("refused")))
    attempts.perform(Claim(), lambda: None)

    assert context.blocked() is not None
