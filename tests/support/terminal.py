"""
A program on a terminal of its own, for tests.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time

from support.daemon import PACKAGE_PARENT

PROGRAM = (sys.executable, "-m", "finetuned")


class Terminal:
    """
    A program on a terminal of its own; what it shows is collected.
    """

    def __init__(self, *argv: str) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 200))
        self.process = subprocess.Popen(
            [*PROGRAM, *argv],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={
                **os.environ,
                "PYTHONPATH": str(PACKAGE_PARENT),
                "TERM": "xterm",
                "COLUMNS": "200",
            },
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # makes it the terminal
        )
        os.close(slave)
        self.shown = ""

    def wait_for(self, text: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.plain:
            assert time.monotonic() < deadline, self.plain
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self.master, 65536).decode()
                except OSError:  # the program is gone
                    assert text in self.plain, self.plain

    @property
    def plain(self) -> str:
        """What was shown, without the codes that move the cursor or colour."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.shown)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def close(self) -> int:
        """
        Return the exit status, once the program is gone and all that it showed was read.
        """
        try:
            status = self.process.wait(60)
            while select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self.master, 65536).decode()
                except OSError:
                    break
            return status
        finally:
            self.process.kill()
            os.close(self.master)
