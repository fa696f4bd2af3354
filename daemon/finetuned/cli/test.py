"""
``finetuned test``: ask a model the suites of benchmarks/ and print how many it gets right.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuned.cli.session import ANSWERS_KEPT, DONE, REFUSED, on_root
from finetuned.cli.terminal import complain, listed, shown
from finetuned.cli.verb import UsageError, Verb, add_common, named_file

if TYPE_CHECKING:
    from finetuned.config import Config
    from finetuned.core.answer_format import AnswerFormat
    from finetuned.layout import Layout

DETAILS = """examples:
  finetuned test --model current_model/      all suites, the version in use
  finetuned test --model v0003               a certain version, in use or not
  finetuned test --model models/base/micro   a base model
  finetuned test --model v0003 --suite infra_200 --suite my/own.jsonl
  finetuned test --model v0003 --limit 20    a quick look: the first items of each
  finetuned test --model v0003 --fresh       ask anew, whatever is known
  finetuned test --model v0003 --suite infra_200 --format intents --both-ways
  finetuned test --model v0003 --json | jq .overall.accuracy
  finetuned test --export-harness build/tasks              for lm-evaluation-harness
  finetuned test --model v0003 --harness arc_easy,gsm8k    its tasks, if it is installed

Every share has its counts and its 95% interval. What the same weights answered before is taken
from models/answers.sqlite3; all answers are in the file that is named last.

exit status: 0 ran in full, 1 something was not asked in time or cannot be read, 2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument(
        "--model",
        default="current_model",
        help="current_model, a version's name, a folder or a base model (default: current_model)",
    )
    parser.add_argument(
        "--suite",
        action="append",
        default=[],
        metavar="NAME_OR_FILE",
        help="a suite of benchmarks/ or a file; may be repeated (default: all of benchmarks/)",
    )
    parser.add_argument("--fresh", action="store_true", help="ask anew what is known already")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N items of each suite")
    parser.add_argument(
        "--format",
        metavar="NAME_OR_FILE",
        help="hold answers to this JSON Schema, unless their rows name another: intents, or a "
        "file (default: model.answer_format)",
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--without-format", action="store_true", help="hold no answer to its format")
    ways.add_argument(
        "--both-ways",
        action="store_true",
        help="with formats and without: only answers that a format changed are asked again",
    )
    parser.add_argument(
        "--output",
        type=named_file,
        metavar="FILE",
        help="all answers as JSON (default: models/reports/test-<model>.json)",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="losses, answer lengths, what came from the store"
    )
    parser.add_argument(
        "--harness",
        metavar="TASK[,TASK]",
        help="run these tasks of lm-evaluation-harness instead of suites",
    )
    parser.add_argument(
        "--harness-path", type=Path, metavar="DIR", help="where --harness finds more tasks"
    )
    parser.add_argument(
        "--export-harness",
        type=Path,
        metavar="DIR",
        help="write the suites as lm-evaluation-harness tasks and ask nobody",
    )


def _suites(layout: Layout, args: argparse.Namespace) -> int:
    from finetuned.cli.suite_table import table
    from finetuned.config import load_config
    from finetuned.evaluation.by_hand.named_suites import pick_suites
    from finetuned.registry.named_model import find_model

    config = load_config(layout.config)
    config, default = _formats(layout, config, args)
    model = find_model(layout, args.model, config.model.base)
    suites = pick_suites(layout, args.suite, args.limit)

    import orjson

    # Late: torch takes seconds, and a wrong name is known before it.
    from finetuned.cli.examination import examine
    from finetuned.files.atomic import write_atomic

    output: Path | None = args.output
    if output is None:
        layout.reports.mkdir(parents=True, exist_ok=True)
        output = layout.reports / f"test-{re.sub(r'[^A-Za-z0-9._-]', '_', model.name)}.json"
    document = examine(layout, config, model, suites, fresh=args.fresh, answer_format=default)
    document["limit"] = args.limit
    write_atomic(output, orjson.dumps(document, option=orjson.OPT_INDENT_2))
    if args.json:
        short = {k: v for k, v in document.items() if k != "items"}
        print(orjson.dumps({**short, "output": str(output)}).decode())
    else:
        print(table(document, verbose=args.verbose))
        print(f"\nall answers: {shown(output)}")
    _complain_of(document["suites"], config.evaluation.suite_timeout_seconds)
    return DONE if document["complete"] else REFUSED


def _formats(
    layout: Layout, config: Config, args: argparse.Namespace
) -> tuple[Config, AnswerFormat | None]:
    """Return the configuration in the way that was asked for, and the format of most answers."""
    from finetuned.data.answer_formats import configured_format

    mode = config.evaluation.format_mode
    if args.without_format or args.both_ways:
        mode = "free" if args.without_format else "both"
    config = replace(config, evaluation=replace(config.evaluation, format_mode=mode))
    if args.format is None:
        return config, configured_format(config.model.answer_format, layout.root)
    return config, configured_format(args.format, Path.cwd())


def _complain_of(suites: list[dict[str, Any]], seconds: float) -> None:
    """Name each suite that was not asked in full, and why."""
    for suite in suites:
        if suite["problem"] is not None:
            complain("test", suite["problem"])
        elif suite["missing"]:
            complain(
                "test",
                f"{suite['name']}: evaluation.suite_timeout_seconds = {seconds:g}"
                f" was over before these were asked: {listed(suite['missing'])}",
            )
        elif not suite["score"]["complete"]:
            complain(
                "test",
                f"{suite['name']}: {len(suite['timed_out'])} items were not answered within "
                "evaluation.item_timeout_seconds or evaluation.suite_timeout_seconds",
            )


def _run(args: argparse.Namespace) -> int:
    if args.limit is not None and args.limit < 1:
        raise UsageError("--limit must be >= 1")
    if args.harness is not None and args.export_harness is not None:
        raise UsageError("--harness runs tasks, --export-harness writes some: choose one")
    if args.harness is not None and (args.suite or args.fresh):
        raise UsageError("--suite and --fresh are for suites, not for --harness")
    if args.harness is not None and (args.format or args.without_format or args.both_ways):
        raise UsageError("--format, --without-format and --both-ways are for suites")
    if args.harness_path is not None and args.harness is None:
        raise UsageError("--harness-path is for --harness")
    work = _suites
    if args.export_harness or args.harness:
        from finetuned.cli.test_harness import export, run_harness

        work = export if args.export_harness else run_harness
    return on_root(args, work, interrupted=ANSWERS_KEPT)


VERB = Verb(
    name="test",
    summary="Ask a model the suites of benchmarks/ and print how many it gets right.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
