import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from finetuned.files.status_file import SILENT_SECONDS, DaemonState, boot_id, presence

NOW = datetime(2200, 1, 1, tzinfo=UTC)
"""Later than the start of any process of this test."""


def written(seconds_ago=0.5, **fields):
    at = (NOW - timedelta(seconds=seconds_ago)).isoformat()
    return {"heartbeat_at": at, "pid": os.getpid(), "boot_id": boot_id(), "phase": "idle", **fields}


def test_a_daemon_that_wrote_a_moment_ago_runs():
    """
    Its process lives, in this boot.
    """
    seen = presence(written(), NOW)

    assert (DaemonState.RUNNING, os.getpid(), 0.5) == (seen.state, seen.pid, seen.age_seconds)


def test_a_daemon_that_lives_and_is_silent_is_told_apart():
    """
    It hangs on a disk, or was stopped with SIGSTOP.
    """
    assert DaemonState.SILENT is presence(written(SILENT_SECONDS + 1), NOW).state


def test_a_daemon_that_said_goodbye_was_stopped():
    """
    Also if another process has its pid now.
    """
    assert DaemonState.STOPPED is presence(written(phase="stopped"), NOW).state


def test_a_pid_of_an_earlier_boot_means_nothing():
    """
    The machine lost its power; some process has the number again.
    """
    assert DaemonState.DIED is presence(written(SILENT_SECONDS + 1, boot_id="another"), NOW).state


def test_a_service_that_is_shown_another_boot_id_runs_all_the_same():
    """
    In a container its private /proc may have the host's; it wrote a moment ago, so it lives.
    """
    assert DaemonState.RUNNING is presence(written(boot_id="another"), NOW).state


def test_a_pid_that_is_gone_is_a_daemon_that_died():
    """
    kill -9 leaves the status as it was.
    """
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)

    assert DaemonState.DIED is presence(written(pid=int(child.stdout)), NOW).state


def test_a_pid_that_was_given_away_again_is_not_the_daemon():
    """
    The process with this number began after the status was written.
    """
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    status = written() | {"heartbeat_at": long_ago.isoformat()}

    assert DaemonState.DIED is presence(status, long_ago).state


@pytest.mark.parametrize("status", [{}, {"heartbeat_at": "soon", "pid": 1}, {"pid": None}])
def test_a_file_that_is_no_status_is_no_daemon(status):
    """
    Written by another program; nothing is believed of it.
    """
    assert DaemonState.DIED is presence(status, NOW).state


def test_without_a_status_it_never_ran():
    """
    A new root.
    """
    assert (DaemonState.NEVER, None, None) == (
        presence(None, NOW).state,
        presence(None, NOW).pid,
        presence(None, NOW).age_seconds,
    )
