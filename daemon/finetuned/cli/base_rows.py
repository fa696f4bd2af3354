"""
``finetuned base rows``: rows that a base model writes itself, so that it can be kept as it was.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, REFUSED, on_root
from finetuned.cli.terminal import bar, complain
from finetuned.cli.verb import UsageError

if TYPE_CHECKING:
    from finetuned.inference.own_rows import OwnRow
    from finetuned.layout import Layout


def add_rows(parser: argparse.ArgumentParser) -> None:
    """
    Add the arguments of ``base rows``.
    """
    parser.add_argument("name", nargs="?", help="as model.base names it (default: the configured)")
    parser.add_argument("--rows", type=int, default=300, metavar="N", help="rows (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="of the prompts (default 0)")
    parser.add_argument(
        "--max-tokens", type=int, default=256, metavar="N", help="longest answer (default 256)"
    )
    parser.add_argument(
        "--max-minutes", type=float, default=30.0, metavar="M", help="then stop (default 30)"
    )
    parser.add_argument(
        "--inbox",
        type=Path,
        nargs="?",
        const=True,
        metavar="DIR",
        help="drop the rows into this directory (without DIR: the inbox of the root)",
    )


def run_rows(args: argparse.Namespace) -> int:
    """
    Write the rows and return the exit status: 1 if the model gave none.

    Raises:
        UsageError: A number is out of range.
    """
    if args.rows < 1 or args.max_tokens < 1 or args.max_minutes <= 0:
        raise UsageError("--rows, --max-tokens and --max-minutes must be above 0")
    # Before on_root(): the root's owner may not be allowed to read the code.
    import finetuned.files.drop
    import finetuned.inference.own_rows
    import finetuned.model.load  # noqa: F401

    return on_root(args, _write)


def _write(layout: Layout, args: argparse.Namespace) -> int:
    from finetuned.cli.base_report import sections
    from finetuned.data.render import Renderer
    from finetuned.files.base_model import find_base
    from finetuned.files.drop import drop, to_jsonl
    from finetuned.inference.own_rows import OwnRows
    from finetuned.model.load import load_causal_lm

    config = sections(layout)
    name = args.name or config.model.base
    base = find_base(layout, name)
    renderer = Renderer.load(
        base,
        max_length=config.data.max_length,
        enable_thinking=config.model.enable_thinking,
    )
    own = OwnRows(
        load_causal_lm(base, config.model),
        renderer,
        seed=args.seed,
        max_new_tokens=args.max_tokens,
    )
    deadline = time.monotonic() + 60 * args.max_minutes
    rows = []
    with bar(args.rows) as shown:
        shown.begin(f"{name} writes rows")
        for row in _until_interrupted(own.rows(args.rows, deadline)):
            messages = [
                {"role": "user", "content": row.prompt},
                {"role": "assistant", "content": row.answer},
            ]
            made_by = {"source": "own", "model": name, "seed": args.seed}
            rows.append({"messages": messages, "metadata": made_by})
            shown.done(1)
    print(summary(len(rows), args.rows, own.refused), file=sys.stderr)
    if not rows:
        complain("base", f"{name} wrote no whole row; it may be no chat model")
        return REFUSED
    if args.inbox is None:
        sys.stdout.buffer.write(to_jsonl(rows))
        return DONE
    inbox = layout.inbox if args.inbox is True else args.inbox
    print(drop(rows, inbox, f"{base.name}-own-rows.jsonl"))
    return DONE


def _until_interrupted(rows: Iterator[OwnRow]) -> Iterator[OwnRow]:
    """Yield rows until Ctrl-C: what was written until then is kept."""
    try:
        yield from rows
    except KeyboardInterrupt:
        print("interrupted: the rows so far are kept", file=sys.stderr)


def summary(made: int, wanted: int, refused: Counter[str]) -> str:
    """
    Return one line about what was made and what was refused.
    """
    why = ", ".join(f"{reason} {count}" for reason, count in refused.most_common())
    short = f" of the {wanted} wanted" if made < wanted else ""
    return f"{made} rows{short}" + (f"; refused: {why}" if why else "")
