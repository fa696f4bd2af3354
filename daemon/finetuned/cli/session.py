"""
One command on one root: as the root's owner, with a log of what was changed.

Knows what may go wrong and how a command ends then; does not know any command.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from finetuned.cli.root import become_owner
from finetuned.cli.terminal import complain
from finetuned.core.text import printable
from finetuned.errors import FinetunedError
from finetuned.layout import Layout

DONE = 0
REFUSED = 1
"""Exit status of a command that was refused, or whose answer is no."""
INTERRUPTED = 130
"""Exit status of a command that a person ended with Ctrl-C."""

ANSWERS_KEPT = "interrupted; the answers of suites that were finished are kept"
"""Said when a command that asks a model was ended with Ctrl-C."""


def on_root(
    args: argparse.Namespace,
    work: Callable[[Layout, argparse.Namespace], int],
    *,
    interrupted: str = "interrupted",
) -> int:
    """
    Do *work* on the root that --root names, as the user it belongs to.

    That user may not be allowed to read the code (``sudo`` with a virtual environment of root's
    own), so a caller imports what *work* needs beforehand.

    Args:
        args: Of the command: ``root``, ``json`` and ``verb``.
        work: Gets the layout and *args*, returns the exit status.
        interrupted: Said after Ctrl-C.

    Returns:
        What *work* returned; 1 for an error that has a message, 130 for Ctrl-C.
    """
    import sqlite3

    import orjson

    from finetuned.telemetry.log import configure

    name: str = args.verb.name
    become_owner(args.root)
    layout = Layout(args.root.resolve())
    # A person's changes are recorded: each command writes its own file in logs/.
    configure(layout.logs / f"{name}.log" if layout.logs.is_dir() else None, console=False)
    try:
        return work(layout, args)
    except (FinetunedError, OSError, sqlite3.Error) as error:
        if args.json:
            print(orjson.dumps({"error": printable(str(error))}).decode())
        complain(name, str(error))
        return REFUSED
    except KeyboardInterrupt:
        complain(name, interrupted)
        return INTERRUPTED
