"""
Logs that outlive crashes and full disks, and readings that never wait.
"""

import datetime
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.text import MAX_TEXT_CHARS, printable
from finetuned.telemetry.gpu import gpu_readings
from finetuned.telemetry.host import host_reading
from finetuned.telemetry.log import configure
from finetuned.telemetry.log_file import LogFile


@pytest.fixture(autouse=True)
def _leave_structlog_as_it_was():
    yield
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def lines(path: Path) -> list[dict]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_an_event_is_one_json_line_with_level_and_utc_time(tmp_path):
    """
    jq, the reports and the tests read logs/ line by line.
    """
    configure(tmp_path / "x.log", console=False)
    structlog.contextvars.bind_contextvars(run_id="r-1")
    structlog.get_logger().warning("disk_low", free_bytes=2**70, path=Path("a"), loss=float("nan"))

    (line,) = lines(tmp_path / "x.log")
    at = datetime.datetime.fromisoformat(line.pop("timestamp"))
    assert datetime.timedelta(0) == at.utcoffset()
    assert {
        "event": "disk_low",
        "level": "warning",
        "run_id": "r-1",
        "free_bytes": str(2**70),
        "path": "a",
        "loss": "nan",
    } == line


def test_a_logger_taken_before_configure_obeys_it(tmp_path):
    """
    Modules take their logger at import, long before the root is known.
    """
    log = structlog.get_logger()
    configure(tmp_path / "first.log", console=False)
    log.info("a")
    configure(tmp_path / "second.log", console=False)
    log.info("b")

    assert ["a"] == [e["event"] for e in lines(tmp_path / "first.log")]
    assert ["b"] == [e["event"] for e in lines(tmp_path / "second.log")]


@given(st.text() | st.binary().map(os.fsdecode))
def test_printable_text_is_one_line_of_utf8_without_control_characters(text):
    """
    A file name may hold escape sequences, newlines and bytes that are no text.
    """
    shown = printable(text)

    assert shown.encode().decode() == shown
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
    assert len(shown) <= MAX_TEXT_CHARS + 3


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a.jsonl\x1b[2J", "a.jsonl\\x1b[2J"),
        ("a\nb", "a\\nb"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("caf\u00e9", "caf\u00e9"),
    ],
)
def test_hostile_characters_are_spelled_out_everywhere(tmp_path, hostile, shown):
    """
    Reading a log on a terminal must not run what somebody named a file.
    """
    configure(tmp_path / "x.log", console=False)
    structlog.get_logger().info("seen", name=hostile, deep=[{hostile: hostile}])

    (line,) = lines(tmp_path / "x.log")
    assert shown == line["name"]
    assert [{shown: shown}] == line["deep"]


def test_a_traceback_keeps_its_lines(tmp_path):
    """
    An exception is read by people; its text is still cleaned line by line.
    """
    configure(tmp_path / "x.log", console=False)
    try:
        raise ValueError("bad \x1b[2J name")
    except ValueError:
        structlog.get_logger().exception("job_failed")

    (line,) = lines(tmp_path / "x.log")
    assert "error" == line["level"]
    assert "\n" in line["exception"]
    assert "bad \\x1b[2J name" in line["exception"]


def test_anything_can_be_logged(tmp_path):
    """
    A strange value is the caller's bug; it must not end the daemon.
    """
    configure(tmp_path / "x.log", console=False)
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    structlog.get_logger().info("seen", a=object(), b=deep, c={1: {2, 3}}, d=-(2**80), e=b"\xff")

    (line,) = lines(tmp_path / "x.log")
    assert "\\xff" == line["e"]


def test_rotation_keeps_every_line_in_order(tmp_path):
    """
    Renames only: nothing is copied or truncated, so nothing can be lost half-way.
    """
    file = LogFile(tmp_path / "x.log", max_bytes=100, backups=50)
    for n in range(200):
        assert file.append(b"%06d\n" % n)

    rotated = sorted(tmp_path.glob("x.log.*"), key=lambda p: -int(p.suffix[1:]))
    content = b"".join(p.read_bytes() for p in [*rotated, tmp_path / "x.log"])
    assert [b"%06d" % n for n in range(200)] == content.splitlines()
    assert all(p.stat().st_size <= 100 for p in tmp_path.iterdir())


def test_only_the_asked_number_of_backups_is_kept(tmp_path):
    """
    Logs may not fill the disk.
    """
    file = LogFile(tmp_path / "x.log", max_bytes=10, backups=2)
    for n in range(30):
        file.append(b"%06d\n" % n)

    assert {"x.log", "x.log.1", "x.log.2"} == {p.name for p in tmp_path.iterdir()}


def test_a_refused_rotation_goes_on_with_the_old_file(tmp_path):
    """
    A log that grows too long is better than a line that is lost.
    """
    file = LogFile(tmp_path / "x.log", max_bytes=10, backups=1)
    (tmp_path / "x.log.1").mkdir()
    for n in range(5):
        assert file.append(b"%06d\n" % n)

    assert 5 == len((tmp_path / "x.log").read_bytes().splitlines())


def test_half_a_line_of_a_crash_breaks_only_itself(tmp_path):
    """
    What is logged after a power cut starts on a line of its own.
    """
    (tmp_path / "x.log").write_bytes(b'{"event": "ha')
    LogFile(tmp_path / "x.log", max_bytes=1000, backups=1).append(b"{}\n")

    assert [b'{"event": "ha', b"{}"] == (tmp_path / "x.log").read_bytes().splitlines()


def test_a_deleted_log_file_comes_back(tmp_path):
    """
    rm logs/*.log on a running daemon must not send its lines into the void.
    """
    file = LogFile(tmp_path / "x.log", max_bytes=1000, backups=1)
    file.append(b"a\n")
    (tmp_path / "x.log").unlink()
    file.append(b"b\n")

    assert b"b\n" == (tmp_path / "x.log").read_bytes()


def test_a_full_disk_sends_the_line_to_stderr(capfd):
    """
    /dev/full refuses every write with ENOSPC; the daemon goes on and the line is seen.
    """
    configure(Path("/dev/full"), console=False)
    structlog.get_logger().error("disk_full")

    assert "disk_full" == orjson.loads(capfd.readouterr().err)["event"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_line_that_does_not_fit_leaves_no_piece(tmp_path):
    """
    A disk that fills up in the middle of a line keeps whole lines only.
    """
    script = f"""
set -e
mount -t tmpfs -o size=16k none {tmp_path}
{sys.executable} -c '
import sys
from pathlib import Path
from finetuned.telemetry.log_file import LogFile
file = LogFile(Path(sys.argv[1], "x.log"), max_bytes=10**9, backups=1)
taken = [file.append(b"x" * 2999 + b"\\n") for _ in range(10)]
size = Path(sys.argv[1], "x.log").stat().st_size
print(sum(taken), size, taken == sorted(taken, reverse=True))
' {tmp_path}
"""
    mounts = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if mounts.returncode:
        pytest.skip(f"no private mounts here: {mounts.stderr.decode().strip()}")
    result = subprocess.run(
        ["unshare", "-m", "bash", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "daemon")},
    )

    assert "5 15000 True" == result.stdout.strip()


def test_a_closed_console_does_not_stop_the_daemon(tmp_path, monkeypatch):
    """
    finetuned run | head must not die of a broken pipe in a log call.
    """
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    configure(tmp_path / "x.log", console=True)
    structlog.get_logger().info("seen")

    assert 1 == len(lines(tmp_path / "x.log"))


def test_the_console_is_json_where_it_is_no_terminal(capsys):
    """
    systemd's journal and pipes get the same lines as the file.
    """
    configure(None, console=True)
    structlog.get_logger().info("seen", n=1)

    assert 1 == orjson.loads(capsys.readouterr().out)["n"]


def test_a_person_is_shown_lines_of_text(tmp_path, capsys):
    """
    The console gets what *readable* makes of an event; the file has the JSON all the same.
    """
    configure(tmp_path / "x.log", console=True, readable=lambda event: f"saw {event['name']}")
    structlog.get_logger().info("seen", name="a\x1bb")

    assert "saw a\\x1bb\n" == capsys.readouterr().out
    assert "a\\x1bb" == orjson.loads((tmp_path / "x.log").read_bytes())["name"]


def test_a_host_reading_is_cheap_and_in_range(tmp_path):
    """
    It is taken at every status write, so it may cost 2 ms at most (median of 20).
    """
    host_reading(tmp_path)
    costs = []
    for _ in range(20):
        start = time.perf_counter()
        reading = host_reading(tmp_path, worker_pid=os.getpid())
        costs.append(time.perf_counter() - start)

    assert sorted(costs)[10] < 0.002
    assert 0 <= reading["cpu_pct"] <= 100
    assert 0 < reading["memory_used_bytes"] <= reading["memory_total_bytes"]
    assert 0 < reading["disk_free_bytes"]
    assert reading["rss_bytes"] == reading["worker_rss_bytes"] > 2**20


def test_a_process_or_disk_that_is_gone_reads_as_none(tmp_path):
    """
    The worker may die, and the disk be unmounted, between two looks.
    """
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    reading = host_reading(tmp_path / "gone", worker_pid=child.pid)

    assert reading["worker_rss_bytes"] is None
    assert reading["disk_free_bytes"] is None


def test_gpu_readings_are_tables_or_nothing():
    """
    Without a driver there is nothing to say, and with one every key is there.
    """
    keys = {
        "index",
        "name",
        "utilisation_pct",
        "memory_used_bytes",
        "memory_total_bytes",
        "temperature_celsius",
        "power_watts",
    }

    assert all(keys == reading.keys() for reading in gpu_readings())
