"""
The real daemon as a real child process, on a root of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

PACKAGE_PARENT = Path(__file__).resolve().parents[2] / "daemon"

CONFIG = """
[model]
base = "tiny"
device = "cpu"
dtype = "float32"

[inbox]
stability_seconds = 0.2
scan_seconds = 1.0
{inbox}

[data]
max_length = 512
holdout_min_rows = 1
{data}

[training]
r = 4
lora_alpha = 8
lora_dropout = 0.1
per_device_train_batch_size = 4
num_train_epochs = 1
save_steps = 3
kernels = "split"
{training}

[evaluation]
eval_steps = 5
max_new_tokens = 8
{evaluation}

[gate]
release = "no-harm"
{gate}

[watch]
{watch}

[registry]
{registry}

[supervisor]
heartbeat_seconds = 0.1
idle_seconds = 0.2
retry_seconds = 0.2
disk_reserve_bytes = 1000000
{supervisor}
"""


def make_root(root: Path, base: Path, **sections: str) -> Path:
    """
    Make a root whose base model is the tiny one at *base*.
    """
    (root / "inbox").mkdir(parents=True)
    (root / "models" / "base").mkdir(parents=True)
    (root / "models" / "base" / "tiny").symlink_to(base)
    names = (
        *("inbox", "data", "training", "evaluation"),
        *("gate", "watch", "registry", "supervisor"),
    )
    text = CONFIG
    for line in "\n".join(sections.values()).splitlines():
        key = line.partition("=")[0].strip()
        text = "\n".join(old for old in text.splitlines() if not old.startswith(f"{key} ="))
    (root / "config.toml").write_text(text.format(**{n: sections.get(n, "") for n in names}))
    return root


class Daemon:
    """
    One ``finetuned run``.
    """

    def __init__(self, root: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.root = root
        self.log = root / "daemon.out"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "finetuned", "run", "--root", str(root), *arguments],
                stdout=output,
                stderr=output,
                # One thread: on a busy machine two of them wait for each other at every layer
                # of a model this small.
                env={
                    **os.environ,
                    "PYTHONPATH": str(PACKAGE_PARENT),
                    "OMP_NUM_THREADS": "1",
                    **(env or {}),
                },
                start_new_session=True,
            )

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_everything()

    def status(self) -> dict[str, Any]:
        """
        Return the status document, {} before there is one.
        """
        try:
            return json.loads((self.root / "status" / "training_status.json").read_bytes())
        except FileNotFoundError:
            return {}

    def wait_for(
        self, condition: Callable[[dict[str, Any]], object], what: str, seconds: float = 90
    ) -> dict[str, Any]:
        """
        Return the status once *condition* holds; fail with the log when it never does.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.status()
            if status.get("pid") == self.process.pid and condition(status):
                return status
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(
            f"waited for {what}; daemon exit {self.process.poll()}\n"
            f"{json.dumps(self.status(), indent=1)[:3000]}\n{self.output()}"
        )

    def wait_exit(self, seconds: float = 120) -> int:
        """
        Return the exit status.
        """
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running\n{self.status()}\n{self.output()}") from None

    def output(self) -> str:
        """
        Return the end of what daemon and workers printed.
        """
        workers = self.root / "logs" / "workers.log"
        return _tail(self.log, 4000) + (_tail(workers, 2000) if workers.exists() else "")

    def workers(self) -> list[psutil.Process]:
        """
        Return the live worker processes of this root.
        """
        found = []
        for child in psutil.process_iter(["pid", "cmdline", "cwd"]):
            try:
                command = " ".join(child.info["cmdline"] or [])
                if "finetuned." in command and child.info["cwd"] == str(self.root.resolve()):
                    found.append(child)
            except psutil.Error:
                continue
        return found

    def terminate(self) -> None:
        """
        Send SIGTERM.
        """
        self.process.send_signal(signal.SIGTERM)

    def kill_everything(self) -> None:
        """
        SIGKILL the supervisor's group and every worker's.
        """
        victims = self.workers()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        for victim in victims:
            try:
                os.killpg(victim.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(10)
        psutil.wait_procs(victims, timeout=10)


def _tail(path: Path, most_bytes: int) -> str:
    """Return the end of a file: a daemon that fails in a loop may have written gigabytes."""
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most_bytes))
        return file.read(most_bytes).decode(errors="replace")
