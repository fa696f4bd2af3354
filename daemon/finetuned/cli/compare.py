"""
``finetuned compare``: ask two models the same items and say which is better.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuned.cli.session import ANSWERS_KEPT, DONE, REFUSED, on_root
from finetuned.cli.terminal import bar, complain, shown
from finetuned.cli.verb import UsageError, Verb, add_common, named_file

if TYPE_CHECKING:
    from finetuned.config import Config
    from finetuned.evaluation.selected_suites import PickedSuite
    from finetuned.layout import Layout
    from finetuned.registry.named_model import NamedModel

DETAILS = """examples:
  finetuned compare --model-a current_model/ --model-b models/base/micro \\
      --test-set infra_200
  finetuned compare --model-a v0004 --model-b v0003 --test-set syllo_easy_100 \\
      --test-set syllo_hard_100 --html compared.html
  finetuned compare --model-a v0004 --model-b v0003 --test-set canaries --json | jq .overall

A winner is named if, at 95%, more answers are right or the loss is lower than chance explains;
both tests are paired, two-sided, and share the 5%.
In --json changes are b minus a, accuracies in points; the table shows A minus B.
Speed is measured in this run, both models in turns, without the store: figures of different
runs cannot be compared. --no-speed leaves it out.

exit status: 0 compared, with a winner or without, 1 could not be compared, 2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    named = "current_model, a version's name, a folder or a base model"
    parser.add_argument("--model-a", required=True, metavar="A", help=named)
    parser.add_argument("--model-b", required=True, metavar="B", help=named)
    parser.add_argument(
        "--test-set",
        action="append",
        required=True,
        metavar="NAME_OR_FILE",
        help="a suite of benchmarks/ or a file; may be repeated",
    )
    parser.add_argument(
        "--html", type=named_file, metavar="FILE", help="write the comparison as a page"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="the first N items of each suite")
    parser.add_argument("--fresh", action="store_true", help="ask anew what is known already")
    parser.add_argument("--no-speed", action="store_true", help="do not measure the speed")


def _compare(layout: Layout, args: argparse.Namespace) -> int:
    import orjson

    from finetuned.cli.compare_table import tables
    from finetuned.config import load_config
    from finetuned.errors import SuiteError
    from finetuned.evaluation.by_hand.named_suites import pick_suites
    from finetuned.files.atomic import write_atomic
    from finetuned.registry.named_model import find_model

    config = load_config(layout.config)
    models = {
        key: find_model(layout, text, config.model.base)
        for key, text in (("a", args.model_a), ("b", args.model_b))
    }
    suites = pick_suites(layout, args.test_set, args.limit)
    for picked in suites:
        if picked.problem is not None:
            raise SuiteError(Path(picked.suite.title), None, _problem(picked))
    comparison = measure(layout, config, models, suites, fresh=args.fresh, speed=not args.no_speed)
    if args.html is not None:
        from finetuned.reports.compare import comparison_page

        write_atomic(args.html, comparison_page(comparison).encode())
    if args.json:
        print(orjson.dumps({k: v for k, v in comparison.items() if k != "items"}).decode())
    else:
        print(tables(comparison))
        if args.html is not None:
            print(f"\npage: {shown(args.html)}")
    incomplete = [
        suite["name"]
        for suite in comparison["suites"]
        if not (suite["a"]["complete"] and suite["b"]["complete"])
    ]
    if incomplete:
        complain("compare", f"not everything was asked in time: {', '.join(incomplete)}")
    return REFUSED if incomplete else DONE


def _problem(picked: PickedSuite) -> str:
    return str(picked.problem).removeprefix(f"{picked.suite.title}: ")


def measure(
    layout: Layout,
    config: Config,
    models: dict[str, NamedModel],
    suites: list[PickedSuite],
    *,
    fresh: bool,
    speed: bool,
) -> dict[str, Any]:
    """
    Ask models "a" and "b" every suite and compare them.

    Returns:
        What comparison_page() takes, and ``speed``: see measure_speed.

    Raises:
        SuiteError: A suite cannot be asked of one of them.
    """
    # Late: torch takes seconds, and a wrong name is known before it.
    from finetuned.cli.examination import open_answers
    from finetuned.core.record import to_json
    from finetuned.data.answer_formats import configured_format
    from finetuned.errors import SuiteError
    from finetuned.evaluation.by_hand.compare import compare
    from finetuned.evaluation.by_hand.examination import Examination
    from finetuned.evaluation.by_hand.speed import measure_speed
    from finetuned.evaluation.subjects import Models

    default = configured_format(config.model.answer_format, layout.root)
    store = open_answers(layout, fresh=fresh)
    held = Models(config.model)  # one at a time: two may not fit
    measured: dict[str, list[Any]] = {}
    items = sum(len(picked.suite.questions) for picked in suites)
    try:
        with bar(2 * items) as progress:
            asked = {
                k: Examination(m, config, store, models=held, answer_format=default)
                for k, m in models.items()
            }
            for key, examination in asked.items():
                measured[key] = []
                for suite in suites:
                    progress.begin(f"{models[key].name}: {suite.suite.title}")
                    picked = examination.prepare(suite)
                    if picked.problem is not None:
                        raise SuiteError(Path(picked.suite.title), None, _problem(picked))
                    measured[key].append(examination.measure(picked))
                    progress.done(len(picked.suite.questions))
            progress.begin("speed of both")
            found = (
                measure_speed(asked["a"], asked["b"], [s.suite for s in suites]) if speed else None
            )
    finally:
        store.close()
    pairs = list(zip(measured["a"], measured["b"], strict=True))
    comparison = compare(models["a"].record(), models["b"].record(), pairs).document()
    return {**comparison, "speed": to_json(found)}


def _run(args: argparse.Namespace) -> int:
    if args.limit is not None and args.limit < 1:
        raise UsageError("--limit must be >= 1")
    return on_root(args, _compare, interrupted=ANSWERS_KEPT)


VERB = Verb(
    name="compare",
    summary="Ask two models the same items and say which is better, as far as items can tell.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
