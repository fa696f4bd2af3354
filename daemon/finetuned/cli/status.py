"""
``finetuned status``: what the daemon of a root does, for people and for scripts.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from finetuned.cli.terminal import complain
from finetuned.cli.verb import Verb, add_common
from finetuned.layout import Layout

if TYPE_CHECKING:
    from finetuned.files.status_file import Presence

RUNNING = 0
ATTENTION = 1
NOT_RUNNING = 3
"""As systemctl's status: the program is not running."""
UNKNOWN = 4
"""Likewise: the status cannot be read."""

WATCH_SECONDS = 1.0

DETAILS = """examples:
  finetuned status                      one screen
  finetuned status --watch              the same, renewed every second until Ctrl-C
  finetuned status --json | jq .daemon  the status file, and whether the daemon is alive now

exit status:
  0 running   1 running, and something needs you (a full disk, a wrong configuration,
  a file in the inbox that is ignored, no sign of life)   3 not running   4 the status
  cannot be read, as another user's
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument("--watch", action="store_true", help="renew the screen every second")


def _run(args: argparse.Namespace) -> int:
    layout = Layout(args.root.resolve())
    try:
        return _show(layout, args)
    except OSError as error:
        complain("status", f"{error}; become a member of the group that owns {layout.root}")
        return UNKNOWN


def _show(layout: Layout, args: argparse.Namespace) -> int:
    if args.json:
        return _print_json(layout)
    if args.watch and sys.stdout.isatty():
        return _watch(layout)
    return _print_screen(layout)


def _exit_status(status: dict[str, object] | None, seen: Presence) -> int:
    from finetuned.files.status_file import DaemonState
    from finetuned.reports.attention import attention

    if not seen.state.alive or status is None:
        return NOT_RUNNING
    needs = seen.state is DaemonState.SILENT or attention(status)
    return ATTENTION if needs else RUNNING


def _print_json(layout: Layout) -> int:
    import orjson

    from finetuned.cli.live import look
    from finetuned.reports.attention import attention

    status, seen = look(layout)
    daemon = {
        "state": seen.state,
        "running": seen.state.alive,
        "pid": seen.pid if seen.state.alive else None,
        "status_age_seconds": None if seen.age_seconds is None else round(seen.age_seconds, 3),
        "needs_attention": [] if status is None else attention(status),
    }
    print(orjson.dumps({**(status or {}), "daemon": daemon}).decode())
    return _exit_status(status, seen)


def _print_screen(layout: Layout) -> int:
    from finetuned.cli.live import look, print_screen

    status, seen = look(layout)
    print_screen(layout.root, status, seen)
    return _exit_status(status, seen)


def _watch(layout: Layout) -> int:
    from finetuned.cli.live import LiveScreen, look

    try:
        with LiveScreen(layout.root, lambda: look(layout)) as live:
            while True:
                live.refresh()
                time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return _exit_status(*look(layout))


VERB = Verb(
    name="status",
    summary="Show what the daemon does, what waits, what went wrong and what to do.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
