"""
What versions of a root answer, and canaries made of that.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from finetuned.layout import Layout


def answers(root: Path, version: str, prompts: list[str]) -> dict[str, str]:
    """
    Return what one version of *root* says to each prompt.
    """
    from finetuned.config import load_config
    from finetuned.data.reader import to_example
    from finetuned.data.render import Renderer
    from finetuned.data.suite import Question
    from finetuned.inference.ask import ask
    from finetuned.model.load import load_version
    from finetuned.registry.weights import weights_of

    config = load_config(root / "config.toml")
    where = weights_of(Layout(root), version, config.model.base)
    questions = [
        Question(p, to_example({"prompt": p, "completion": "."}), "", p, ".", scored=False)
        for p in prompts
    ]
    outcomes = ask(
        load_version(where.base, where.folder, config.model),
        Renderer.load(where.base, max_length=512),
        questions,
        max_new_tokens=config.evaluation.max_new_tokens,
        batch_size=32,
        deadline=time.monotonic() + 60,
    )
    return {o.question.id: o.raw.text or "" for o in outcomes}


def write_canaries(root: Path, rows: list[dict[str, Any]]) -> None:
    """
    Put canaries where the daemon looks, whole.
    """
    folder = root / "benchmarks"
    folder.mkdir(exist_ok=True)
    part = folder / ".canaries.part"
    part.write_text("".join(json.dumps(row) + "\n" for row in rows))
    part.rename(folder / "canaries.jsonl")
