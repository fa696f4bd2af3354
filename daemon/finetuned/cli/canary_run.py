"""
``finetuned canary run``: ask a model all canaries and show those it fails.
"""

from __future__ import annotations

import argparse

import orjson

from finetuned.cli.canary_list import list_file
from finetuned.cli.session import DONE, REFUSED
from finetuned.cli.suite_table import table
from finetuned.cli.terminal import complain
from finetuned.config import load_config
from finetuned.core.text import printable
from finetuned.layout import Layout
from finetuned.reports.wording import shorten


def run(layout: Layout, args: argparse.Namespace) -> int:
    """
    Ask the model that --model names, and print the failures and the share of passes.

    Returns:
        0 if all passed, 1 if one failed or could not be asked.
    """
    from finetuned.data.answer_formats import configured_format
    from finetuned.evaluation.by_hand.named_suites import pick_suites
    from finetuned.registry.named_model import find_model

    config = load_config(layout.config)
    model = find_model(layout, args.model, config.model.base)
    suites = pick_suites(layout, [str(list_file(layout))], None)

    from finetuned.cli.examination import examine  # late: torch takes seconds

    default = configured_format(config.model.answer_format, layout.root)
    document = examine(layout, config, model, suites, fresh=args.fresh, answer_format=default)
    failures = [i for i in document["items"] if not i["outcomes"]["model"]["correct"]]
    if args.json:
        print(orjson.dumps({**document, "failures": [i["id"] for i in failures]}).decode())
    else:
        for item in failures:
            outcome = item["outcomes"]["model"]
            print(f"{printable(item['id'])}{'  timed out' if outcome['timed_out'] else ''}")
            print(f"  asked     {shorten(item['prompt'], 160)}")
            print(f"  expected  {shorten(item['golden'] or '', 160)}")
            print(f"  answered  {shorten(outcome['answer'] or '', 160)}")
        print(("\n" if failures else "") + table(document))
    for suite in document["suites"]:
        if suite["problem"] is not None:
            complain("canary", suite["problem"])
    return DONE if document["complete"] and not failures else REFUSED
