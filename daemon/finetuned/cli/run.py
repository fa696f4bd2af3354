"""
``finetuned run``: the daemon in the foreground.
"""

from __future__ import annotations

import argparse
import shlex
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetuned.cli.terminal import program
from finetuned.cli.verb import Verb, add_root, chosen_root
from finetuned.core.order import OrderKind
from finetuned.errors import EXIT_TEMPFAIL, ConfigError, FinetunedError
from finetuned.layout import Layout

SCREEN_SECONDS = 1.0
"""Time between two looks at the status on a terminal."""

_ORDERS = "\n".join(f"  touch control/{kind:<11}  {kind.meaning}" for kind in OrderKind)

DETAILS = f"""examples:
  finetuned run                               watch inbox/ of the default root
  finetuned run --root /var/lib/finetuned     watch another root; it is made if it is not there
  finetuned run --root /srv/ft --until-idle   train what lies in the inbox, then exit

On a terminal the status is shown below readable lines; otherwise stdout has one JSON line per
event. logs/supervisor.log has the JSON lines in both cases.

orders, given while it runs:
{_ORDERS}
  jq .phase status/training_status.json       see what it is doing

exit status:
  0 stopped or idle   2 no root   70 bug   75 the root has a supervisor already, the file
  system refused, or --until-idle left a file that somebody is still writing   78 wrong
  configuration (a restart will not help)
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_root(parser)
    parser.add_argument(
        "--until-idle",
        action="store_true",
        help="exit 0 when the inbox is empty and everything in it was dealt with; 75 if a file is "
        "still being written after inbox.until_idle_seconds",
    )


def run(root: Path, *, until_idle: bool) -> int:
    """
    Run the supervisor of *root* until it ends.

    Returns:
        The exit status of the process.
    """
    from finetuned.config import load_config
    from finetuned.files.lock import FileLock
    from finetuned.supervisor.context import check_root
    from finetuned.supervisor.loop import Supervisor

    layout = Layout(root.resolve())
    try:
        config = load_config(layout.config)
        is_new = not layout.journal.exists()
        make_root(layout.root)
        check_root(layout)
        with FileLock(layout.lock):
            if is_new:
                print(welcome(layout.root, program()), file=sys.stderr, flush=True)
            with _console(layout, config.supervisor.log_max_bytes):
                return Supervisor(layout, config, until_idle=until_idle).run()
    except FinetunedError as error:
        print(f"finetuned: {error}", file=sys.stderr)
        return error.exit_status
    except (OSError, sqlite3.OperationalError) as error:
        print(f"finetuned: {error}", file=sys.stderr)
        return EXIT_TEMPFAIL


def make_root(root: Path) -> None:
    """
    Make the folder *root* itself, if it is not there and its parent is.

    Raises:
        ConfigError: Its parent is missing, which looks like a typing error or a disk that is
            not mounted.
        OSError: The file system refused.
    """
    if not root.parent.is_dir():
        raise ConfigError(
            f"root {root} cannot be made: {root.parent} is not a directory; create it first"
        )
    root.mkdir(exist_ok=True)


def welcome(root: Path, program: str) -> str:
    """
    Return what a person needs to know who starts the daemon in *root* for the first time.

    Args:
        root: Absolute.
        program: How the person starts finetuned, quoted for a shell.
    """
    from finetuned.cli.advice import first_rows

    where = shlex.quote(str(root))
    return "\n".join(
        (
            f"{root} is a new root; its folders were made.",
            "",
            *(f"  {step}" for step in first_rows(root, program)),
            f"  look:  {program} status --root {where}   (in another terminal)",
            f"  stop:  Ctrl-C, or touch {shlex.quote(str(Layout(root).control / 'stop'))};"
            " work is saved and goes on at the next start",
            "",
        )
    )


@contextmanager
def _console(layout: Layout, log_max_bytes: int) -> Iterator[None]:
    """Log to the file and to stdout; on a terminal as text, with the status below it."""
    from finetuned.telemetry.log import configure

    log = layout.logs / "supervisor.log"
    if sys.stdout.closed or not sys.stdout.isatty():
        configure(log, console=True, max_bytes=log_max_bytes)
        yield
        return
    from finetuned.cli.event_text import event_line
    from finetuned.cli.live import LiveScreen, look

    configure(log, console=True, max_bytes=log_max_bytes, readable=event_line)
    with LiveScreen(layout.root, lambda: look(layout)) as live:
        live.refresh_every(SCREEN_SECONDS)
        yield


VERB = Verb(
    name="run",
    summary="Run the daemon: watch the inbox and train.",
    details=DETAILS,
    configure=_configure,
    run=lambda args: run(chosen_root(args), until_idle=args.until_idle),
    needs_root=False,  # it makes the root
    quiet_pipe=False,
)
