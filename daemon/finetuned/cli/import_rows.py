"""
``finetuned import``: rows that users have already, checked, and written with their provenance.
"""

from __future__ import annotations

import argparse
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.cli.convert import INBOX, bare_name
from finetuned.cli.session import DONE, REFUSED, on_root
from finetuned.cli.terminal import byte_bar, shown
from finetuned.cli.verb import UsageError, Verb, add_common, named_file
from finetuned.core.text import printable

if TYPE_CHECKING:
    from finetuned.layout import Layout
    from finetuned.sources.imports import Kind, Report

DETAILS = """kinds:
  decisions   the table ai_decisions: a plain dump of PostgreSQL, CSV with named columns, or JSON
  playbook    Ansible playbooks and tasks of roles: a YAML file, or a folder of them
  openai      JSON lines that were made to fine-tune a model of OpenAI
  chat        chat logs: exports of ChatGPT or Claude, JSON with messages, transcripts

examples:
  finetuned import decisions ai_decisions.sql            makes ai_decisions.import.jsonl beside it
  finetuned import playbook site.yml                     every row waits for finetuned review
  finetuned import openai train.jsonl --verified-by ada  ada has checked these rows: none waits
  finetuned import chat conversations.json -o inbox/chats.jsonl
  finetuned import decisions dump.sql --table ai_decisions_2026 --json

Nothing is trained that nobody vouches for: a row whose confidence is unknown, or below
--confidence, or whose command failed, waits for finetuned review, which puts what is approved into
inbox/. Secrets are replaced. The report says for each reason how many rows are refused, with the
first of them by file and line. A source that breaks off changes nothing. The same import again
makes the same file and queues no answer twice. The source is only read.

exit status: 0 rows are written or wait, 1 none, or refused, 2 wrong usage, 130 ended with Ctrl-C
"""

SHOWN = 3
"""Refused rows that are shown for each reason."""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument(
        "kind",
        metavar="KIND",
        choices=("decisions", "playbook", "openai", "chat"),
        help="what it is: decisions, playbook, openai, chat",
    )
    parser.add_argument("path", metavar="PATH", type=named_file, help="a file; it is only read")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT.jsonl",
        type=named_file,
        help="the new file (default: beside PATH, such as PATH.import.jsonl)",
    )
    parser.add_argument(
        "--confidence",
        type=float,
        metavar="C",
        help="least confidence of a row that nobody needs to look at, 0 to 1 "
        "(default: serving.review_confidence)",
    )
    parser.add_argument(
        "--verified-by",
        metavar="NAME",
        help="who has checked the rows: those of unknown confidence do not wait, and say so",
    )
    parser.add_argument(
        "--table",
        default="ai_decisions",
        metavar="NAME",
        help="table of a database dump, without its schema (default: ai_decisions)",
    )


def target_of(source: Path) -> Path:
    """
    Return where the rows of *source* go if nobody says: beside it, under another name.
    """
    source = source.resolve()
    return source.with_name(f"{bare_name(source)}.import.jsonl")


def _summary(report: Report) -> list[str]:
    """Return what a person reads."""
    lines = [f"{report.kind} {shown(report.source)}: {report.rows_found} found"]
    if report.target is not None:
        there = ", which was there already" if report.unchanged else ""
        lines.append(f"  {report.rows_written} written to {shown(report.target)}{there}")
    else:
        lines.append("  none is trained as it is, so no file was written")
    if report.rows_to_review:
        why = ", ".join(f"{n} {reason}" for reason, n in report.reasons.most_common())
        lines.append(
            f"  {report.rows_to_review} for a person to look at ({why}): {report.answers_queued} "
            "answers wait"
        )
        if report.answers_known:
            lines.append(f"    {report.answers_known} answers were in the queue before")
    if report.rows_refused:
        lines.append(f"  {report.rows_refused} refused")
    for reason, refused in sorted(report.refused.items(), key=lambda item: -item[1].n):
        lines.append(f"    {refused.n} {reason}")
        lines += [f"      {one.place}: {one.detail}" for one in refused.examples[:SHOWN]]
    if report.secrets_replaced:
        lines.append(f"  secrets were replaced in {report.secrets_replaced}")
    if report.answers_queued:
        lines.append("next: finetuned review")
    if report.target is not None and report.target.resolve().parent.name not in INBOX:
        lines.append(f"next: finetuned check {shlex.quote(shown(report.target))}")
    return lines


def _n_bytes(source: Path, kind: Kind) -> int:
    """Return how much there is to read."""
    from finetuned.sources.imports.playbook import playbooks_in

    if source.is_dir() and kind.name == "playbook":
        return sum(path.stat().st_size for path in playbooks_in(source))
    return source.stat().st_size


def _threshold(layout: Layout, given: float | None) -> float:
    """Return the least confidence: what was given, else what the root says."""
    from finetuned.config import Config, load_sections

    if given is not None:
        return given
    if not layout.config.exists():
        return Config().serving.review_confidence
    return load_sections(layout.config, ("serving",))[0].serving.review_confidence


def _import(layout: Layout, args: argparse.Namespace) -> int:
    import structlog

    from finetuned.config import DataConfig
    from finetuned.files.run import utc_now
    from finetuned.sources.imports import KINDS, Settings, import_rows

    kind = next(kind for kind in KINDS if kind.name == args.kind)
    settings = Settings(
        threshold=_threshold(layout, args.confidence),
        max_bytes=DataConfig().max_line_bytes,
        now=utc_now(),
        verified_by=args.verified_by,
        table=args.table,
    )
    target: Path = args.output or target_of(args.path)
    with byte_bar(_n_bytes(args.path, kind), args.path.name) as progress:
        report = import_rows(
            kind,
            args.path,
            target,
            queue=layout.imported,
            settings=settings,
            on_progress=progress.reach,
        )
    structlog.get_logger().info(
        "rows_imported",
        kind=report.kind,
        path=str(report.source),
        rows_written=report.rows_written,
        rows_to_review=report.rows_to_review,
        rows_refused=report.rows_refused,
        verified_by=args.verified_by,
    )
    if args.json:
        import orjson

        print(orjson.dumps(report.as_dict()).decode())
    else:
        print("\n".join(map(printable, _summary(report))))
    return DONE if report.rows_written or report.rows_to_review else REFUSED


def _run(args: argparse.Namespace) -> int:
    import finetuned.sources.imports  # noqa: F401 - before on_root: see cli.session

    source: Path = args.path
    folder = source.is_dir() and args.kind in ("playbook", "decisions")
    if not source.is_file() and not folder:
        raise UsageError(f"{source}: {'not a file' if source.exists() else 'no such file'}")
    target: Path = args.output or target_of(source)
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent} is not a folder")
    if not target.name.endswith(".jsonl"):
        raise UsageError(f"the new file must end in .jsonl, as the daemon reads no other: {target}")
    if args.confidence is not None and not (
        math.isfinite(args.confidence) and 0 <= args.confidence <= 1
    ):
        raise UsageError(f"--confidence must be 0 to 1, got {args.confidence}")
    if args.verified_by is not None and not args.verified_by.strip():
        raise UsageError("--verified-by needs the name of whoever checked the rows")
    return on_root(args, _import, interrupted="interrupted; nothing was written")


VERB = Verb(
    name="import",
    summary="Make rows of what you have: decisions, playbooks, fine-tuning files, chat logs.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
