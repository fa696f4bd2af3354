"""
control/health.json is written by anybody: what is no signal is none, and nothing blocks.
"""

import os

import pytest

from finetuned.core.promotion_watch import Health
from finetuned.files.health import HEALTH_BYTES, read_health
from finetuned.layout import Layout

SIGNAL = b'{"version": "v0002", "requests": 40, "errors": 3}'


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path)
    layout.control.mkdir()
    return layout


def write(layout, data):
    (layout.control / "health.json").write_bytes(data)


def test_a_signal_is_read_as_it_was_written(layout):
    """
    Version and counts, and nothing is added to them.
    """
    write(layout, SIGNAL)

    assert Health("v0002", 40, 3) == read_health(layout)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        SIGNAL[:20],
        b"\xff\xfe",
        b"[]",
        b'{"version": "v0002", "requests": 40}',
        b'{"version": "v0002", "requests": 2, "errors": 3}',
        b'{"version": 2, "requests": 40, "errors": 3}',
        b'{"version": "v0002", "requests": 40.0, "errors": 3}',
        b'{"version": "v0002", "requests": true, "errors": false}',
    ],
)
def test_what_is_no_signal_is_none(layout, data):
    """
    A file that is cut, of other types, or says the impossible takes no version out of use.
    """
    write(layout, data)

    assert read_health(layout) is None


def test_without_a_file_there_is_no_signal(layout):
    """
    Most servers never write one.
    """
    assert read_health(layout) is None
    layout.control.rmdir()
    assert read_health(layout) is None


def test_a_link_is_not_followed(layout, tmp_path):
    """
    Whoever may write into control/ must not choose which files the daemon reads.
    """
    (tmp_path / "elsewhere").write_bytes(SIGNAL)
    (layout.control / "health.json").symlink_to(tmp_path / "elsewhere")

    assert read_health(layout) is None


def test_a_fifo_or_a_folder_of_that_name_neither_blocks_nor_raises(layout):
    """
    Opening a FIFO without a writer would stop the loop for ever.
    """
    path = layout.control / "health.json"
    os.mkfifo(path)
    assert read_health(layout) is None
    path.unlink()
    path.mkdir()
    assert read_health(layout) is None


def test_of_a_huge_file_only_the_beginning_is_read(layout):
    """
    A log that somebody wrote there cannot fill the memory of the daemon.
    """
    write(layout, SIGNAL + b" " * (HEALTH_BYTES - len(SIGNAL)) + b"no JSON")
    assert Health("v0002", 40, 3) == read_health(layout)
    write(layout, b" " * HEALTH_BYTES + SIGNAL)
    assert read_health(layout) is None


def test_no_descriptor_is_left_open(layout):
    """
    It is read about once a second for months.
    """
    write(layout, b"[")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        read_health(layout)

    assert before == len(os.listdir("/proc/self/fd"))
