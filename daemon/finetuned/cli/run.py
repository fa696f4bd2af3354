"""
``finetuned run``: the daemon in the foreground.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from pathlib import Path

from finetuned.cli.verb import Verb, add_root, chosen_root
from finetuned.core.order import OrderKind
from finetuned.errors import EXIT_TEMPFAIL, FinetunedError
from finetuned.layout import Layout

_ORDERS = "\n".join(f"  touch control/{kind:<11}  {kind.meaning}" for kind in OrderKind)

DETAILS = f"""examples:
  finetuned run                               watch inbox/ of this checkout
  finetuned run --root /var/lib/finetuned     watch another root
  finetuned run --root /srv/ft --until-idle   train what lies in the inbox, then exit

orders, given while it runs:
{_ORDERS}
  jq .phase status/training_status.json       see what it is doing

exit status:
  0 stopped or idle   70 bug   75 the root has a supervisor already, or the file
  system refused   78 wrong configuration (a restart will not help)
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_root(parser)
    parser.add_argument(
        "--until-idle",
        action="store_true",
        help="exit 0 when the inbox is empty and everything in it was dealt with",
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
    from finetuned.telemetry.log import configure

    layout = Layout(root.resolve())
    try:
        config = load_config(layout.config)
        check_root(layout)
        configure(
            layout.logs / "supervisor.log",
            console=True,
            max_bytes=config.supervisor.log_max_bytes,
        )
        with FileLock(layout.lock):
            return Supervisor(layout, config, until_idle=until_idle).run()
    except FinetunedError as error:
        print(f"finetuned: {error}", file=sys.stderr)
        return error.exit_status
    except (OSError, sqlite3.OperationalError) as error:
        print(f"finetuned: {error}", file=sys.stderr)
        return EXIT_TEMPFAIL


VERB = Verb(
    name="run",
    summary="Run the daemon: watch the inbox and train.",
    details=DETAILS,
    configure=_configure,
    run=lambda args: run(chosen_root(args), until_idle=args.until_idle),
    needs_root=False,  # check_root() says so, with exit status 78
    quiet_pipe=False,
)
