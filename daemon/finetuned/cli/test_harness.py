"""
lm-evaluation-harness: ``finetuned test --export-harness`` and ``--harness``.
"""

from __future__ import annotations

import argparse

import orjson

from finetuned.cli.session import DONE, REFUSED
from finetuned.cli.terminal import complain, shown
from finetuned.config import load_config
from finetuned.core.record import to_json
from finetuned.core.text import printable
from finetuned.evaluation.by_hand.harness_run import run_tasks
from finetuned.evaluation.by_hand.harness_tasks import export_suites
from finetuned.evaluation.by_hand.named_suites import pick_suites
from finetuned.files.atomic import write_atomic
from finetuned.layout import Layout
from finetuned.registry.named_model import find_model
from finetuned.reports.wording import count, number, percent


def export(layout: Layout, args: argparse.Namespace) -> int:
    """
    Write the suites that can be read as tasks into --export-harness, and ask nobody.

    Returns:
        0, or 1 if a suite cannot be read.
    """
    config = load_config(layout.config).evaluation
    picked = pick_suites(layout, args.suite, args.limit)
    readable = [p.suite for p in picked if p.problem is None]
    written = export_suites(readable, args.export_harness, max_new_tokens=config.max_new_tokens)
    problems = [p.problem for p in picked if p.problem is not None]
    if args.json:
        print(orjson.dumps({"tasks": to_json(written), "problems": problems}).decode())
    else:
        for task in written:
            notes = "".join(f"\n  {note}" for note in task.notes)
            print(f"{task.task}: {count(task.n_items, 'item')}{notes}")
        where = shown(args.export_harness)
        print(
            f"\nlm_eval run --include_path {where} --tasks finetuned --apply_chat_template"
            " --model hf --model_args pretrained=BASE,peft=VERSION"
        )
    for problem in problems:
        complain("test", str(problem))
    return REFUSED if problems else DONE


def run_harness(layout: Layout, args: argparse.Namespace) -> int:
    """
    Run the tasks that --harness names on the model, and print one line for each metric.

    Returns:
        0.
    """
    config = load_config(layout.config)
    model = find_model(layout, args.model, config.model.base)
    tasks = [task.strip() for task in args.harness.split(",") if task.strip()]
    rows = run_tasks(model, tasks, config, limit=args.limit, include=args.harness_path)
    document = {"model": model.record(), "limit": args.limit, "tasks": to_json(rows)}
    if args.output is not None:
        write_atomic(args.output, orjson.dumps(document, option=orjson.OPT_INDENT_2))
    if args.json:
        print(orjson.dumps(document).decode())
        return DONE
    for row in rows:
        error = "" if row.stderr is None else f", +-{percent(1.96 * row.stderr)}"
        print(
            f"{printable(row.task)} ({row.metric}):"
            f" {number(row.value)} ({count(row.n_items, 'item')}{error})"
        )
    return DONE
