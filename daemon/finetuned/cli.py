"""
The console script: ``finetuned run``.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from pathlib import Path

from finetuned import __version__
from finetuned.config import load_config
from finetuned.errors import EXIT_TEMPFAIL, FinetunedError
from finetuned.files.lock import FileLock
from finetuned.layout import Layout
from finetuned.supervisor.context import check_root
from finetuned.supervisor.loop import Supervisor
from finetuned.telemetry.log import configure

CHECKOUT = Path(__file__).resolve().parents[2]

EPILOG = """examples:
  finetuned run                               watch inbox/ of this checkout
  finetuned run --root /var/lib/finetuned     watch another root
  finetuned run --root /srv/ft --until-idle   train what lies in the inbox, then exit

orders, given while it runs:
  touch control/pause      checkpoint and free the device; nothing starts until resume
  touch control/resume     go on
  touch control/skip       end the current job for good
  touch control/stop       checkpoint and end the daemon
  jq .phase status/training_status.json       see what it is doing

exit status:
  0 stopped or idle   70 bug   75 the root has a supervisor already, or the file
  system refused   78 wrong configuration (a restart will not help)
"""


def run(root: Path, *, until_idle: bool) -> int:
    """
    Run the supervisor of *root* until it ends.

    Returns:
        The exit status of the process.
    """
    layout = Layout(root.resolve())
    try:
        config = load_config(layout.config)
        check_root(layout)
        configure(
            layout.logs / "supervisor.log",
            console=True,
            max_bytes=config.supervisor.log_max_bytes,
            backups=config.supervisor.log_backups,
        )
        with FileLock(layout.lock):
            return Supervisor(layout, config, until_idle=until_idle).run()
    except FinetunedError as error:
        print(f"finetuned: {error}", file=sys.stderr)
        return error.exit_status
    except (OSError, sqlite3.OperationalError) as error:
        print(f"finetuned: {error}", file=sys.stderr)
        return EXIT_TEMPFAIL


def main(argv: list[str] | None = None) -> int:
    """
    Parse *argv* and run.
    """
    parser = argparse.ArgumentParser(
        prog="finetuned",
        description="Watch a folder of JSONL and continuously fine-tune a language model.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"finetuned {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="{run}")
    verb = verbs.add_parser(
        "run",
        help="run the daemon",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument(
        "--root",
        type=Path,
        default=CHECKOUT,
        help="folder that holds inbox/, models/ ... (default: the checkout)",
    )
    verb.add_argument(
        "--until-idle",
        action="store_true",
        help="exit 0 when the inbox is empty and everything in it was dealt with",
    )
    args = parser.parse_args(argv)
    return run(args.root, until_idle=args.until_idle)
