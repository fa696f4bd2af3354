"""
Whether one base model can be used, and what this machine trains of it in an hour, for people.

Loads the tokenizer, and torch for the speed; not the weights.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import orjson

from finetuned.cli.base_facts import BaseFacts
from finetuned.cli.session import DONE, REFUSED
from finetuned.cli.terminal import complain
from finetuned.config import Config, load_sections
from finetuned.core.text import printable
from finetuned.errors import ConfigError
from finetuned.layout import Layout


def sections(layout: Layout) -> Config:
    """
    Return the configuration as far as base models go; what is wrong elsewhere is complained of.
    """
    try:
        config, mistakes = load_sections(layout.config, ("model", "training"))
    except ConfigError:
        config, mistakes = load_sections(layout.config, ("model",))
    for mistake in mistakes:
        complain("base", f"{mistake} (not needed here, but the daemon will refuse it)")
    return config


def report(facts: BaseFacts, config: Config, *, as_json: bool) -> int:
    """
    Print whether a base can be used and what this machine trains of it; return the exit status.
    """
    from finetuned.data.chat_template import FALLBACK

    problem, template = (facts.problem, None) if facts.problem else _tokenizer_facts(facts)
    usable = problem is None
    if as_json:
        hour = _hour(facts, config) if usable else None
        more = {"problem": problem, "chat_template": template, "hour_of_training": hour}
        print(orjson.dumps({**facts.as_json(), **more}).decode())
    elif usable:
        print(printable(f"{facts.name}: can be used ({facts.architecture}, {facts.path})"))
        print(printable(facts.sizes()))
        if template == FALLBACK:
            print(
                "It has no chat template: finetuned's own is trained, and published with "
                "each version."
            )
        print(_hour_sentence(_hour(facts, config)), flush=True)
    if problem is not None:
        complain("base", f"{facts.name} cannot be used: {problem} ({facts.path})")
    return DONE if usable else REFUSED


def _tokenizer_facts(facts: BaseFacts) -> tuple[str | None, str | None]:
    """Return why a conversation cannot be rendered for this model, and whose template does it."""
    from finetuned.data.reader import to_example
    from finetuned.data.render import Renderer
    from finetuned.errors import FinetunedError

    try:
        renderer = Renderer.load(Path(facts.path), max_length=facts.max_positions or 512)
        renderer.render(to_example({"prompt": "Say yes.", "completion": "yes"}))
    except FinetunedError as error:
        return str(error), None
    return None, renderer.template.origin


def _hour(facts: BaseFacts, config: Config) -> dict[str, object]:
    """Return what this machine trains of a base in an hour, as --json prints it."""
    from finetuned.bases.speed import ROW_TOKENS, measure_rate, rows_in_an_hour

    rate = measure_rate(config.model)
    method = config.training.method
    rows = rows_in_an_hour(facts.parameters or 1, rate, method)
    return {**asdict(rate), "method": method, "row_tokens": ROW_TOKENS, "rows": rows}


def _hour_sentence(hour: dict[str, object]) -> str:
    rows, rate = int(str(hour["rows"])), float(str(hour["flop_per_second"]))
    rounded = round(rows, 1 - len(str(rows))) if rows >= 100 else rows
    return (
        f"This machine ({hour['device']}, {hour['threads']} threads, {rate / 1e9:,.0f} GFLOP/s in "
        f"{hour['dtype']}) trains about {rounded:,} rows of {hour['row_tokens']} tokens in an hour "
        f"({hour['method']}, each row once; an estimate from the model's size)."
    )
