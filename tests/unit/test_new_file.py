"""
A new file appears whole, under a name that was free, or not at all.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from finetuned.files.new_file import NewFile

PACKAGE = Path(__file__).parents[2] / "daemon"

both_ways = pytest.mark.parametrize("nameless", [True, False])


@both_ways
def test_it_appears_when_it_is_published(tmp_path: Path, nameless: bool) -> None:
    """
    With all of its bytes, readable for others, and nothing beside it.
    """
    with NewFile(tmp_path, nameless=nameless) as new:
        new.file.write(b"rows")
        assert not (tmp_path / "a").exists()
        new.publish("a")

    assert ["a"] == os.listdir(tmp_path)
    assert b"rows" == (tmp_path / "a").read_bytes()
    assert 0o644 == (tmp_path / "a").stat().st_mode & 0o777


@both_ways
def test_it_is_gone_if_it_was_not_published(tmp_path: Path, nameless: bool) -> None:
    """
    Whatever ended the block.
    """
    with suppress(ZeroDivisionError), NewFile(tmp_path, nameless=nameless) as new:
        new.file.write(b"rows")
        raise ZeroDivisionError

    assert [] == os.listdir(tmp_path)


@both_ways
def test_a_name_that_is_taken_stays_as_it_is(tmp_path: Path, nameless: bool) -> None:
    """
    Also if it is a link that leads nowhere.
    """
    (tmp_path / "a").write_text("mine")
    (tmp_path / "b").symlink_to("nowhere")
    for name in ("a", "b"):
        with pytest.raises(FileExistsError), NewFile(tmp_path, nameless=nameless) as new:
            new.publish(name)

    assert {"a", "b"} == set(os.listdir(tmp_path))
    assert "mine" == (tmp_path / "a").read_text()


def test_a_process_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """
    The next start has nothing to clean up.
    """
    code = (
        "import sys, time; from pathlib import Path; from finetuned.files.new_file import NewFile\n"
        "with NewFile(Path(sys.argv[1])) as new:\n"
        "    new.file.write(b'a' * 9999999); print('ready', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(
        command, env={"PYTHONPATH": str(PACKAGE)}, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert b"ready\n" == process.stdout.readline()
        process.send_signal(signal.SIGKILL)

    assert [] == os.listdir(tmp_path)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """
    And no reason to try in another way.
    """
    with pytest.raises(FileNotFoundError):
        NewFile(tmp_path / "none")
