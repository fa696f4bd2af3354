"""
``finetuned make``: the demo datasets and their fixed test sets.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from finetuned.cli.root import become_owner
from finetuned.cli.session import DONE, REFUSED
from finetuned.cli.terminal import complain
from finetuned.cli.verb import UsageError, Verb, add_root, chosen_root
from finetuned.errors import DatasetError
from finetuned.layout import Layout

DOMAINS = ("dns", "users", "samba", "mail", "pki", "firewall", "network")
"""What commands are about; held equal to data.intents.DOMAINS by a test."""

LEVELS = ("easy", "medium", "hard")
"""Difficulties of a puzzle; held equal to sources.syllo.LEVELS by a test."""

DETAILS = """examples:
  finetuned make intents                        2800 training rows to the standard output
  finetuned make intents --inbox                the same, dropped into the inbox of the root
  finetuned make intents --inbox /srv/ft/inbox  into another inbox
  finetuned make intents --seed 7 --rows 600    other rows, fewer
  finetuned make intents --test-set             benchmarks/infra_200.jsonl, made again
  finetuned make intents --domains dns,mail     the whole command set of these domains
  finetuned make intents --domains all --rows 7000 --inbox    of all of them
  finetuned make intents --domains mail --test-set     benchmarks/domains/mail_100.jsonl, again
  finetuned make syllo                          2000 puzzles to the standard output
  finetuned make syllo --difficulty hard --rows 500     puzzles of one kind
  finetuned make syllo --test-sets              benchmarks/syllo_*_100.jsonl, made again

exit status: 0 written, 1 too few different rows or the disk refused, 2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_root(parser)
    datasets = parser.add_subparsers(required=True, metavar="DATASET", title="datasets")
    intents = datasets.add_parser(
        "intents", help="Commands for infrastructure, each answered by a JSON object."
    )
    intents.set_defaults(dataset="intents")
    intents.add_argument("--rows", type=int, default=2800, help="training rows (default 2800)")
    intents.add_argument("--test-set", action="store_true", help="write the test set instead")
    intents.add_argument(
        "--domains",
        type=_domains,
        default=(),
        metavar="NAMES",
        help="all commands of these domains instead of the first set: "
        f"{', '.join(DOMAINS)}, or all; separated by commas, in equal parts",
    )
    syllo = datasets.add_parser("syllo", help="SYLLO puzzles: words to be put together again.")
    syllo.set_defaults(dataset="syllo")
    syllo.add_argument("--rows", type=int, default=2000, help="training rows (default 2000)")
    syllo.add_argument("--difficulty", choices=LEVELS, help="default: all, in turn")
    syllo.add_argument(
        "--test-sets",
        dest="test_set",
        action="store_true",
        help="write the benchmarks of all difficulties instead",
    )
    for command, name in ((intents, "infra_commands.jsonl"), (syllo, "syllo.jsonl")):
        add_root(command)
        command.add_argument("--seed", type=int, default=0, help="of the training rows (default 0)")
        command.add_argument(
            "--inbox",
            type=Path,
            nargs="?",
            const=True,
            metavar="DIR",
            help="drop the dataset into this directory (without DIR: the inbox of the root)",
        )
        command.add_argument("--name", default=name, help=f"its file name there (default {name})")


def _domains(text: str) -> tuple[str, ...]:
    names = DOMAINS if text == "all" else tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in DOMAINS]:
        raise argparse.ArgumentTypeError(
            f"no domain {unknown[0]!r}; there are {', '.join(DOMAINS)}, and all"
        )
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError("a domain is named twice")
    return names


def write_test_sets(folder: Path, dataset: str, domains: Sequence[str] = ()) -> list[Path]:
    """
    Make fixed test sets again in *folder*, and return their paths.

    Args:
        folder: Where; it is made if it is absent.
        dataset: ``intents`` or ``syllo``.
        domains: Of intents: the suites of these domains; none of them stands for infra_200.

    Raises:
        OSError: The disk refused.
    """
    from finetuned.files.atomic import write_atomic
    from finetuned.files.drop import to_jsonl
    from finetuned.sources import intents, syllo

    if dataset == "intents" and domains:
        sets = {f"domains/{name}_100.jsonl": intents.domain_suite(name) for name in domains}
    elif dataset == "intents":
        sets = {"infra_200.jsonl": intents.test_rows()}
    else:
        made = ((level, syllo.test_rows(level)) for level in syllo.LEVELS)
        sets = {f"syllo_{level}_{len(rows)}.jsonl": rows for level, rows in made}
    for name, rows in sets.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / name, to_jsonl(rows))
    return [folder / name for name in sets]


def _training_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    from finetuned.sources import intents, syllo

    if args.dataset == "intents" and args.domains:
        return intents.domain_rows(args.domains, args.seed, args.rows)
    if args.dataset == "intents":
        return intents.training_rows(args.seed, args.rows)
    return syllo.training_rows(args.seed, args.rows, args.difficulty)


def _counts(rows: Iterable[Mapping[str, Any]], dataset: str) -> str:
    """Return how many rows there are of each kind."""
    key = "class" if dataset == "intents" else "difficulty"
    found = Counter(row["metadata"][key] for row in rows)
    order = sorted(found) if dataset == "intents" else [x for x in LEVELS if x in found]
    return ", ".join(f"{name} {found[name]}" for name in order)


def _make(args: argparse.Namespace) -> int:
    from finetuned.files.drop import drop, to_jsonl

    if args.test_set:
        layout = Layout(chosen_root(args).resolve())
        become_owner(layout.root)
        domains = args.domains if args.dataset == "intents" else ()
        made = write_test_sets(layout.benchmarks, args.dataset, domains)
        print("\n".join(map(str, made)))
        return DONE
    rows = _training_rows(args)
    if args.inbox is None:
        sys.stdout.buffer.write(to_jsonl(rows))
        return DONE
    inbox: Path = args.inbox
    if args.inbox is True:
        inbox = Layout(chosen_root(args).resolve()).inbox
    become_owner(inbox)
    print(drop(rows, inbox, args.name))
    print(_counts(rows, args.dataset))
    return DONE


def _run(args: argparse.Namespace) -> int:
    if args.rows < 1:
        raise UsageError(f"--rows must be at least 1, got {args.rows}")
    try:
        return _make(args)
    except (DatasetError, OSError, ValueError) as error:
        complain("make", str(error))
        return REFUSED


VERB = Verb(
    name="make",
    summary="Write a demo dataset, or the fixed test sets, as JSON lines.",
    details=DETAILS,
    configure=_configure,
    run=_run,
    needs_root=False,
)
