"""
``finetuned review``: look at answers that users disliked or corrected, and make training rows.
"""

from __future__ import annotations

import argparse
import os
import pwd
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, on_root
from finetuned.cli.verb import UsageError, Verb, add_common

if TYPE_CHECKING:
    from finetuned.layout import Layout

DETAILS = """examples:
  finetuned review              one answer after another: accept, edit, reject, skip, quit
  finetuned review --count      how many wait, and how many were decided on
  finetuned review --json       all that wait, and these counts

In the queue are answers of finetuned serve that a user gave a thumbs down or a correction, and
those in which the model's confidence was below serving.review_confidence; and rows of
finetuned import that nobody has vouched for. Accepting takes the user's correction if there is
one, else the answer itself; e opens it in $VISUAL or $EDITOR. At the end all accepted ones are
put into inbox/ as one file (imported rows as another), each once: if this command is killed, the
next one finishes what it began.

exit status: 0 done, 1 refused, 2 wrong usage, 130 ended with Ctrl-C (decisions are kept)
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument("--count", action="store_true", help="print the counts only")


def user_name() -> str:
    """
    Return the name of the user who types, also under sudo.
    """
    if name := os.environ.get("SUDO_USER"):
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _run(args: argparse.Namespace) -> int:
    if args.count and args.json:
        raise UsageError("--json has the counts too; choose one")
    # Before on_root(): the root's owner may not be allowed to read the code.
    from finetuned.cli import review_desk  # noqa: F401

    work = partial(_review, reviewer=user_name())
    return on_root(args, work, interrupted="interrupted; what was decided is kept")


def _review(layout: Layout, args: argparse.Namespace, *, reviewer: str) -> int:
    from finetuned.cli.review_desk import count, listing, review
    from finetuned.files.review import ReviewQueue

    paths = [path for path in (layout.feedback, layout.imported) if path.exists()]
    if args.count or not paths:
        return count(layout, as_json=args.json)
    with ExitStack() as stack:
        queues = [stack.enter_context(closing(ReviewQueue(path))) for path in paths]
        if args.json:
            listing(queues)
        else:
            review(layout, queues, reviewer)
    return DONE


VERB = Verb(
    name="review",
    summary="Correct answers that users disliked, and train the corrections.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
