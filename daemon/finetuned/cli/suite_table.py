"""
The table that a person reads after ``finetuned test`` and ``canary run``.

Pure: a document in, text out.
"""

from __future__ import annotations

from typing import Any

from finetuned.cli.terminal import listed
from finetuned.core.text import printable
from finetuned.reports.wording import accuracy, count, format_facts, nats, number, percent


def title(name: str) -> str:
    """
    Return a suite's name for people: ``syllo_easy_100`` is "Syllo easy 100".
    """
    words = printable(name).replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def table(document: dict[str, Any], *, verbose: bool = False) -> str:
    """
    Return what a person reads of a document that examine() made.
    """
    names = [title(suite["name"]) for suite in document["suites"]]
    width = max(map(len, [*names, "Overall"])) + 1
    lines = []
    for suite, name in zip(document["suites"], names, strict=True):
        score = suite["score"]
        text = "could not be read" if score is None else _accuracy(score)
        lines.append(f"{name + ':':{width}} {text}")
        if suite["timed_out"]:
            lines.append(f"{'':{width}} timed out: {listed(suite['timed_out'])}")
        if suite["missing"]:
            lines.append(f"{'':{width}} not asked in time: {len(suite['missing'])} items")
        if score is not None and score["format"] is not None:
            lines += [f"{'':{width}} {fact}" for fact in format_facts(score["format"])]
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
