"""
``finetuned confidence``: how sure a version's answers are to be right, and what that is worth.
"""

from __future__ import annotations

import argparse
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from finetuned.cli.session import DONE, REFUSED, on_root
from finetuned.cli.verb import Verb, add_common

if TYPE_CHECKING:
    from finetuned.layout import Layout
    from finetuned.reports.confidence_section import ConfidenceSection

DETAILS = """examples:
  finetuned confidence                    of the version in use
  finetuned confidence v0007              of a certain version
  finetuned confidence --json | jq '.confidence.calibrated.all | {ece, auroc}'

The figures are of the answers that the version gave when it was evaluated, all of them and by the
class of their rows. ECE is how far a confidence is from the share that is right, on average. AUROC
is the chance that a right answer has more confidence than a wrong one. If only the surest answers
are given, fewer of them are wrong: the last lines say how many. finetuned report draws it.

exit status: 0 shown, 1 no such version, or its evaluation has no map, 2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", nargs="?", metavar="VERSION", help="default: the version in use")
    add_common(parser)


def _confidence(layout: Layout, args: argparse.Namespace) -> int:
    from finetuned.cli.version_answer import chosen
    from finetuned.errors import ModelError
    from finetuned.reports.confidence_section import confidence_section
    from finetuned.reports.page import read_report

    version = chosen(layout, args.version)
    report = read_report(layout, version)
    section = confidence_section(report)
    if section is None:
        raise ModelError(
            f"{version} was evaluated by a release that did not measure confidence; it is measured "
            "for every new version"
        )
    found: dict[str, Any] = report["confidence"]
    if args.json:
        import orjson

        print(orjson.dumps({"version": version, "confidence": found}).decode())
    else:
        print(as_text(version, section))
    return DONE if found.get("map") else REFUSED


def as_text(version: str, section: ConfidenceSection) -> str:
    """
    Return what a person reads.
    """
    width = max([len("questions about"), *(len(row.name) for row in section.rows)])
    lines = [
        *wrap(f"{version}: {section.sentence}", 100),
        "",
        f"{'questions about':{width}}  {'n':>5}  {'right':>6}  {'ECE':>6}  {'if right':>8}  "
        f"{'if wrong':>8}  {'AUROC':>6}  {'uncalibrated ECE':>16}",
    ]
    lines += [
        f"{row.name:{width}}  {row.n:>5}  {row.right:>6}  {row.ece:>6}  {row.median_right:>8}  "
        f"{row.median_wrong:>8}  {row.auroc:>6}  {row.raw_ece:>16}"
        for row in section.rows
    ]
    points = section.risk.get("calibrated", [])
    if points:
        lines += ["", "if only the surest answers are given:"]
        lines += [
            f"  {share:3.0f}% of them: {wrong:4.1f}% wrong" for share, wrong in _thinned(points)
        ]
    return "\n".join(lines)


def _thinned(points: list[tuple[float, float]], most: int = 6) -> list[tuple[float, float]]:
    """Return at most so many points, the last one among them."""
    every = -(-len(points) // most)
    return points[::-1][::every][::-1]


def _run(args: argparse.Namespace) -> int:
    # Before on_root(): the root's owner may not be allowed to read the code.
    import finetuned.reports.confidence_section
    import finetuned.reports.page  # noqa: F401

    return on_root(args, _confidence)


VERB = Verb(
    name="confidence",
    summary="Show how sure a version's answers are to be right, and what that is worth.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
