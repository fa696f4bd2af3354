"""
The papers of an export: its model card.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from finetuned.config import Config
from finetuned.core.export.card import Card, CardData, CardFile, CardScore, card_text
from finetuned.core.export.request import Target
from finetuned.core.statistics import lower_bound
from finetuned.export.comparison import Reference
from finetuned.export.ollama import MODELFILE
from finetuned.export.wish import Wish
from finetuned.files.base_origin import licence_of
from finetuned.files.model_manifest import read_model_manifest
from finetuned.files.run import utc_now
from finetuned.layout import MANIFEST, Layout

CARD: Final = "README.md"


def write_card(
    layout: Layout,
    config: Config,
    wish: Wish,
    final: Path,
    folder: Path,
    files: Sequence[CardFile],
    references: Sequence[Reference],
) -> None:
    """
    Write README.md into the folder of an export.

    Args:
        layout: The root.
        config: Of the root.
        wish: What is exported.
        final: Where the folder will be.
        folder: Where it is built.
        files: Its files of weights.
        references: What the version answered.
    """
    model = wish.model
    card = Card(
        version=model.name,
        base=config.model.base if model.weights.base_version is None else model.weights.base.name,
        licence=licence_of(model.weights.base) or _licence_file(model.weights.base),
        created_at=utc_now(),
        data=_data(model.weights.folder),
        data_licence=wish.data_licence,
        scores=scores_of(references),
        files=files,
        run=_commands(wish.request.target, final.name, files),
    )
    (folder / CARD).write_text(card_text(card), encoding="utf-8")


def scores_of(references: Sequence[Reference]) -> list[CardScore]:
    """
    Return the accuracy of the version on each suite, with exact intervals.
    """
    marks: dict[str, list[bool]] = {}
    for one in references:
        if one.correct is not None:
            marks.setdefault(one.item.suite, []).append(one.correct)
    return [
        CardScore(
            suite=suite,
            right=sum(found),
            n=len(found),
            interval=(
                100 * lower_bound(sum(found), len(found), 0.975),
                100 * (1 - lower_bound(len(found) - sum(found), len(found), 0.975)),
            ),
        )
        for suite, found in marks.items()
    ]


def _data(version: Path | None) -> list[CardData]:
    if version is None or not (version / MANIFEST).is_file():
        return []
    return [CardData(d.name, d.sha256, d.n_examples) for d in read_model_manifest(version).datasets]


def _licence_file(base: Path) -> str | None:
    for path in sorted(base.glob("LICENSE*")):
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines:
            return f"{lines[0].strip()} ({path.name})"
    return None


def _commands(target: Target, name: str, files: Sequence[CardFile]) -> list[str]:
    first = files[0].name
    if target is Target.OLLAMA:
        return [f"cd {name}", f"ollama create NAME -f {MODELFILE}", "ollama run NAME"]
    if target is Target.GGUF:
        return [f"llama-server -m {name}/{first} --jinja --host 127.0.0.1 --port 8080"]
    if target is Target.VLLM:
        return [f"vllm serve ./{name} --host 127.0.0.1 --port 8000"]
    if target is Target.ADAPTER:
        return [
            f"llama-server -m BASE.gguf --lora {name}/adapter.gguf --jinja",
            'python -c "from peft import AutoPeftModelForCausalLM as M; '
            f"M.from_pretrained('{name}/peft')\"",
        ]
    load = f"AutoModelForCausalLM.from_pretrained('{name}')"
    return [f'python -c "from transformers import AutoModelForCausalLM; {load}"']
