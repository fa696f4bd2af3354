#!/usr/bin/env python3
"""
Ask a model the suites of benchmarks/ and print how many it gets right.

    $ tools/test_runner.py --model trained/ --suite canaries --suite infra_200
    Canaries:  15% (3/20, 5-36)
    Infra 200: 22% (44/200, 17-28)
    Overall:   21% (47/220, 16-27)

    trained: 220 items, 220 of them known from before (--fresh asks anew), 0.1 s

    all answers: models/reports/test-trained.json

Every share has its counts and its 95% interval. What these weights answered before is taken
from models/answers.sqlite3; everything that was asked is in the file that is named last.
"""

from __future__ import annotations

import _venv

_venv.activate()

import argparse
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import evaluating
import orjson

from finetuned.config import load_config
from finetuned.core.text import printable
from finetuned.files.atomic import write_atomic
from finetuned.files.run import utc_now
from finetuned.layout import Layout
from finetuned.reports.wording import accuracy, count, nats, number, percent

TOOL = "test_runner"
SCHEMA_VERSION = 1

EXAMPLES = """
examples:
  tools/test_runner.py --model current_model/      all suites, the version in use
  tools/test_runner.py --model v0003               a certain version, in use or not
  tools/test_runner.py --model models/base/micro   a base model
  tools/test_runner.py --model v0003 --suite infra_200 --suite my/own.jsonl
  tools/test_runner.py --model v0003 --limit 20    a quick look: the first items of each
  tools/test_runner.py --model v0003 --fresh       ask anew, whatever is known
  tools/test_runner.py --model v0003 --json | jq .overall.accuracy
  tools/test_runner.py --export-harness build/tasks              for lm-evaluation-harness
  tools/test_runner.py --model v0003 --harness arc_easy,gsm8k    its tasks, where it is installed

exit status: 0 ran in full, 1 something was not asked in time or cannot be read, 2 wrong usage
"""


def _parser() -> argparse.ArgumentParser:
    parser = evaluating.parser(
        TOOL, "Ask a model the suites of benchmarks/ and print how many it gets right.", EXAMPLES
    )
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
        "--output",
        type=Path,
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
    return parser


def main(argv: list[str] | None = None) -> int:
    """
    Run the suites and print the table.

    Returns:
        0 ran in full, 1 it did not; argparse exits with 2 on wrong usage.
    """
    parser = _parser()
    args = evaluating.parse(parser, argv)
    if args.limit is not None and args.limit < 1:
        parser.error("--limit must be >= 1")
    if args.harness is not None and args.export_harness is not None:
        parser.error("--harness runs tasks, --export-harness writes some: choose one")
    if args.harness is not None and (args.suite or args.fresh):
        parser.error("--suite and --fresh are for suites, not for --harness")
    if args.harness_path is not None and args.harness is None:
        parser.error("--harness-path is for --harness")
    work = _export if args.export_harness else _harness if args.harness else _suites
    return evaluating.run(TOOL, args, work)


def _suites(layout: Layout, args: argparse.Namespace) -> int:
    config = load_config(layout.config)
    # Late: torch takes seconds, and wrong usage is known before it.
    from finetuned.evaluation.by_hand.examine import find_model, pick_suites

    model = find_model(layout, args.model, config.model.base)
    suites = pick_suites(layout, args.suite, args.limit)
    output = args.output
    if output is None:
        layout.reports.mkdir(parents=True, exist_ok=True)
        output = layout.reports / f"test-{re.sub(r'[^A-Za-z0-9._-]', '_', model.name)}.json"
    document = examine(layout, config, model, suites, fresh=args.fresh)
    document["limit"] = args.limit
    write_atomic(output, orjson.dumps(document, option=orjson.OPT_INDENT_2))
    if args.json:
        short = {k: v for k, v in document.items() if k != "items"}
        print(orjson.dumps({**short, "output": str(output)}).decode())
    else:
        print(table(document, verbose=args.verbose))
        print(f"\nall answers: {evaluating.shown(output)}")
    for suite in document["suites"]:
        if suite["problem"] is not None:
            evaluating.complain(TOOL, suite["problem"])
        elif suite["missing"]:
            evaluating.complain(
                TOOL,
                f"{suite['name']}: evaluation.suite_timeout_seconds = "
                f"{config.evaluation.suite_timeout_seconds:g} was over before these were asked: "
                + evaluating.listed(suite["missing"]),
            )
        elif not suite["score"]["complete"]:
            evaluating.complain(
                TOOL, f"{suite['name']}: evaluation.suite_timeout_seconds was over before its end"
            )
    return 0 if document["complete"] else 1


def examine(
    layout: Layout, config: Any, model: Any, suites: list[Any], *, fresh: bool
) -> dict[str, Any]:
    """
    Ask *model* every suite and return all that came of it.

    Returns:
        ``model``, ``suites`` (each with its ``score``, None where it has a ``problem``, and
        the ids of ``timed_out`` and ``missing`` items), ``overall``, ``items`` with outcome
        ``model``, and ``complete``: whether everything was asked in time.
    """
    from finetuned.evaluation.answers import AnswerStore
    from finetuned.evaluation.by_hand.compare import pooled
    from finetuned.evaluation.by_hand.examine import Examination, FreshStore
    from finetuned.evaluation.measure import item_record, score

    began = time.monotonic()
    layout.models.mkdir(parents=True, exist_ok=True)
    store = (FreshStore if fresh else AnswerStore)(layout.answers)
    records, measured = [], []
    try:
        with evaluating.progress(sum(len(s.suite.questions) for s in suites)) as bar:
            examination = Examination(model, config, store)
            for suite in suites:
                bar.begin(suite.suite.title)
                picked = examination.prepare(suite)
                if picked.problem is not None:
                    records.append(_record(picked, None))
                    continue
                found = examination.measure(picked)
                bar.done(len(picked.suite.questions))
                measured.append(found)
                records.append(_record(picked, found))
    finally:
        store.close()
    return {
        "schema_version": SCHEMA_VERSION,
        "created_at": utc_now(),
        "model": model.record(),
        "suites": records,
        "overall": score(pooled(measured)),
        "seconds": round(time.monotonic() - began, 3),
        "complete": all(r["score"] is not None and r["score"]["complete"] for r in records),
        "items": [
            item_record(found.suite, question, {"model": found})
            for found in measured
            for question in found.suite.questions
        ],
    }


def _record(picked: Any, found: Any) -> dict[str, Any]:
    from finetuned.evaluation.measure import score

    record = picked.record()
    problem = picked.problem
    if problem is not None and not problem.startswith(picked.suite.title):
        problem = f"{picked.suite.title}: {problem}"
    outcomes = {} if found is None else found.outcomes
    asked = [] if found is None else [q.id for q in picked.suite.questions]
    return {
        **{key: record[key] for key in ("name", "origin", "title", "sha256", "n_items")},
        "problem": problem,
        "score": None if found is None else score(found),
        "timed_out": [i for i in asked if i in outcomes and outcomes[i].timed_out],
        "missing": [i for i in asked if i not in outcomes],
    }


def table(document: dict[str, Any], *, verbose: bool = False) -> str:
    """
    Return what a person reads of a document that examine() made.
    """
    names = [evaluating.title(suite["name"]) for suite in document["suites"]]
    width = max(map(len, [*names, "Overall"])) + 1
    lines = []
    for suite, name in zip(document["suites"], names, strict=True):
        score = suite["score"]
        text = "could not be read" if score is None else _accuracy(score)
        lines.append(f"{name + ':':{width}} {text}")
        if suite["timed_out"]:
            lines.append(f"{'':{width}} timed out: {evaluating.listed(suite['timed_out'])}")
        if suite["missing"]:
            lines.append(f"{'':{width}} not asked in time: {len(suite['missing'])} items")
        if verbose and score is not None:
            lines += [f"{'':{width}} {fact}" for fact in _facts(score)]
    overall = document["overall"]
    if len(names) > 1:
        lines.append(f"{'Overall:':{width}} {_accuracy(overall)}")
    known = f", {overall['n_cached']} of them known from before (--fresh asks anew)"
    lines.append(
        f"\n{printable(document['model']['name'])}: {count(overall['n_items'], 'item')}"
        f"{known if overall['n_cached'] else ''}, {document['seconds']:.1f} s"
    )
    return "\n".join(lines)


def _accuracy(score: dict[str, Any]) -> str:
    if score["n_asked"]:
        return accuracy(score)
    if score["loss"] is not None:
        return f"no answers, loss {nats(score['loss'])} nats per token"
    return "nothing was asked"


def _facts(score: dict[str, Any]) -> list[str]:
    facts = [f"loss {nats(score['loss'])} nats per token"] if score["loss"] is not None else []
    if score["stop_rate"] is not None:
        facts.append(
            f"{percent(score['stop_rate'])} of answers ended by themselves,"
            f" {number(score['mean_answer_tokens'], digits=1)} tokens each"
        )
    if score["json"] is not None:
        found = score["json"]
        facts.append(
            f"{found['n_valid']} of {score['n_asked']} were JSON,"
            f" {found['fields_right']} of {found['fields']} fields right"
        )
    facts.append(f"{score['n_cached']} of {score['n_items']} known from before")
    return facts


def _export(layout: Layout, args: argparse.Namespace) -> int:
    from finetuned.evaluation.by_hand.examine import pick_suites
    from finetuned.evaluation.by_hand.harness import export_suites

    config = load_config(layout.config).evaluation
    picked = pick_suites(layout, args.suite, args.limit)
    readable = [p.suite for p in picked if p.problem is None]
    written = export_suites(readable, args.export_harness, max_new_tokens=config.max_new_tokens)
    problems = [p.problem for p in picked if p.problem is not None]
    if args.json:
        print(orjson.dumps({"tasks": written, "problems": problems}).decode())
    else:
        for task in written:
            notes = "".join(f"\n  {note}" for note in task["notes"])
            print(f"{task['task']}: {count(task['n_items'], 'item')}{notes}")
        where = evaluating.shown(args.export_harness)
        print(
            f"\nlm_eval run --include_path {where} --tasks finetuned --apply_chat_template"
            " --model hf --model_args pretrained=BASE,peft=VERSION"
        )
    for problem in problems:
        evaluating.complain(TOOL, str(problem))
    return 1 if problems else 0


def _harness(layout: Layout, args: argparse.Namespace) -> int:
    from finetuned.evaluation.by_hand.examine import find_model
    from finetuned.evaluation.by_hand.harness import run_tasks

    config = load_config(layout.config)
    model = find_model(layout, args.model, config.model.base)
    tasks = [task.strip() for task in args.harness.split(",") if task.strip()]
    rows = run_tasks(model, tasks, config, limit=args.limit, include=args.harness_path)
    document = {"model": model.record(), "limit": args.limit, "tasks": rows}
    if args.output is not None:
        write_atomic(args.output, orjson.dumps(document, option=orjson.OPT_INDENT_2))
    if args.json:
        print(orjson.dumps(document).decode())
        return 0
    for row in rows:
        error = "" if row["stderr"] is None else f", +-{percent(1.96 * row['stderr'])}"
        print(
            f"{printable(row['task'])} ({row['metric']}):"
            f" {number(row['value'])} ({count(row['n_items'], 'item')}{error})"
        )
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # | head ends it quietly
    sys.exit(main())
