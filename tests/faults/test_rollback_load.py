"""
Roll back and promote while the machine is busy and somebody loads current_model all the time.

A reader resolves the link once, as a server does (a directory handle, or realpath), and must
then find the files of one version, whichever it is: never a missing name, never a mixture.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetuned.files.journal import Journal
from finetuned.layout import Layout
from finetuned.registry.backup import backup
from finetuned.registry.commit import commit_version
from finetuned.registry.current_model import incumbent, promote

CHECKOUT = Path(__file__).resolve().parents[2]
TOOL = CHECKOUT / "tools" / "versions.py"
WEIGHTS_BYTES = 8 * 2**20
LIMIT_SECONDS = 5.0
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}

READER = """
import hashlib, json, os, sys
link, stop = sys.argv[1:]
reads, failed, seen = 0, [], set()

def read(name, fd):
    with open(os.open(name, os.O_RDONLY, dir_fd=fd), "rb") as f:
        return f.read()

while not os.path.exists(stop):
    reads += 1
    try:
        where = link if reads % 2 else os.path.realpath(link)
        fd = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
        try:
            manifest = json.loads(read("manifest.json", fd))
            weights = read("adapter_model.safetensors", fd)
        finally:
            os.close(fd)
        told = manifest["files"]["adapter_model.safetensors"]["sha256"]
        if hashlib.sha256(weights).hexdigest() != told:
            failed.append("a mixture of versions")
        seen.add(manifest["version"])
    except Exception as error:
        failed.append(repr(error))
print(json.dumps({"reads": reads, "failed": failed, "seen": sorted(seen)}))
"""

LOOKER = """
import json, os, sys
link, stop = sys.argv[1:]
looks, missing = 0, 0
while not os.path.exists(stop):
    for _ in range(1000):
        looks += 1
        try:
            os.close(os.open(link, os.O_RDONLY | os.O_DIRECTORY))
        except OSError:
            missing += 1
print(json.dumps({"looks": looks, "missing": missing}))
"""

BUSY = """
import hashlib, os, sys
folder, stop = sys.argv[1:]
block = os.urandom(1 << 20)
while not os.path.exists(stop):
    with open(os.path.join(folder, "busy"), "wb") as f:
        for _ in range(32):
            f.write(block)
            hashlib.sha256(block).digest()
        f.flush()
        os.fsync(f.fileno())
"""

FLIPPER = """
import json, sys, time
from pathlib import Path
from finetuned.layout import Layout
from finetuned.registry.current_model import promote, rollback
from finetuned.telemetry.log import configure
configure(None, console=False)
layout, seconds = Layout(Path(sys.argv[1])), []
for n in range(int(sys.argv[2])):
    began = time.monotonic()
    promote(layout, "v0002") if n % 2 else rollback(layout)
    seconds.append(time.monotonic() - began)
print(json.dumps(seconds))
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """
    v0001 <- v0002 (in use) of 8 MiB each, both backed up, and a journal that is told.
    """
    layout = Layout(tmp_path / "root")
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    Journal(layout.journal).close()
    for n in (1, 2):
        folder = layout.runs / f"r-{n}"
        (folder / "training_state").mkdir(parents=True)
        for name in ("adapter_model.safetensors", "training_state/optimizer.safetensors"):
            (folder / name).write_bytes(hashlib.sha256(f"{name}{n}".encode()).digest() * 2**18)
        for name in ("adapter_config.json", "training_state/state.json"):
            (folder / name).write_text("{}")
        facts = {"run_id": f"r-{n}", "parent": "v0001" if n == 2 else None}
        backup(layout, commit_version(layout, folder, facts))
    assert WEIGHTS_BYTES == (layout.versions / "v0001/adapter_model.safetensors").stat().st_size
    promote(layout, "v0002")
    return layout


@pytest.fixture
def load(layout: Layout, tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """
    One process loads current_model all the time, one only resolves it; two keep disk and CPU busy.
    """
    stop = tmp_path / "stop"
    commands = [
        [READER, str(layout.current_model), str(stop)],
        [LOOKER, str(layout.current_model), str(stop)],
        *([BUSY, str(folder), str(stop)] for folder in (tmp_path, layout.root)),
    ]
    processes = [
        subprocess.Popen([sys.executable, "-c", *command], stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    try:
        yield processes
    finally:
        stop.touch()
        for process in processes:
            process.kill()
            process.communicate()


def by_the_tool(layout: Layout, count: int) -> list[float]:
    """
    Roll back and promote by the program itself; return the seconds of each whole process.
    """
    seconds = []
    for n in range(count):
        command = ["promote", "v0002"] if n % 2 else ["rollback"]
        began = time.monotonic()
        subprocess.run(
            [sys.executable, TOOL, *command, "--root", layout.root], check=True, capture_output=True
        )
        seconds.append(time.monotonic() - began)
        journal = Journal(layout.journal)
        expected = "v0002" if n % 2 else "v0001"
        assert expected == incumbent(layout)
        assert expected == journal.promotions.incumbent()
        journal.close()
    return seconds


def told(name: str, seconds: list[float]) -> None:
    print(
        f"\n{name}: {len(seconds)} times, median {statistics.median(seconds):.3f} s, "
        f"longest {max(seconds):.3f} s",
        end="",
    )


@pytest.mark.slow
def test_a_roll_back_under_load_takes_seconds_and_no_read_fails(
    layout: Layout, tmp_path: Path, load: list[subprocess.Popen[str]]
) -> None:
    """
    Fifty flips, ten of them by the program that a person runs; each verified every hash first.
    """
    time.sleep(1)  # until all are at it
    flips = subprocess.run(
        [sys.executable, "-c", FLIPPER, str(layout.root), "40"],
        check=True,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    functions = json.loads(flips.stdout)
    tool = by_the_tool(layout, 10)
    assert [None] * 4 == [process.poll() for process in load]  # busy to the end
    (tmp_path / "stop").touch()
    report = json.loads(load[0].communicate(timeout=60)[0])
    looked = json.loads(load[1].communicate(timeout=60)[0])
    told("registry functions", functions)
    told("tools/versions.py", tool)
    print(f"\n{report['reads']} reads of current_model, {len(report['failed'])} failed")
    print(f"{looked['looks']} times resolved, {looked['missing']} times missing")

    assert 50 == len(functions) + len(tool)
    assert max(*functions, *tool) < LIMIT_SECONDS
    assert [] == report["failed"]
    assert 0 == looked["missing"]
    assert ["v0001", "v0002"] == report["seen"]
    assert 50 <= report["reads"]
