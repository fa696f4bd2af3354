"""
Identities under which answers are kept: of a question as a model sees it, and of weights.

An answer can be used again if both are the same. Does not know answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from finetuned.data.render import Renderer
from finetuned.data.suite import Question
from finetuned.files.manifest import read_manifest
from finetuned.layout import MANIFEST

KEY_VERSION: Final = 1
"""Part of every identity; raised when answers made before must not be used any more."""

_SHAPES: Final = ("config.json", "adapter_config.json")


def question_key(renderer: Renderer, question: Question, limits: Sequence[int]) -> str:
    """
    Return the digest of everything about a question that the model sees or that bounds its answer.

    Args:
        renderer: Makes the token ids.
        question: Any.
        limits: Further settings that change an answer, such as its longest length in tokens.

    Raises:
        MalformedExample: The question cannot be rendered.
    """
    example = question.example
    prompt = [] if example.kind == "text" else renderer.prompt_ids(example)
    facts = [
        KEY_VERSION,
        prompt,
        [(s.input_ids, s.supervised) for s in renderer.render(example)] if question.scored else [],
        [renderer.answer_ids(example, choice) for choice in question.choices],
        question.scorer.name,
        question.scored,
        sorted(renderer.stop_token_ids),
        list(limits),
        *([] if question.generated else ["loss only"]),
        *([] if question.held_to is None else ["held to", question.held_to.digest]),
    ]
    return sha256(orjson.dumps(facts)).hexdigest()


def model_digest(base: Path, folder: Path | None, how: Sequence[str]) -> str:
    """
    Return the identity of a model's weights, from manifests if there are any, else file stamps.

    Args:
        base: Directory of the base model.
        folder: A version or a candidate; None is the base alone.
        how: What else decides what the model computes, such as precision and device.
    """
    facts: list[Any] = [KEY_VERSION, list(how)]
    if folder is None or (folder / "adapter_config.json").is_file():
        facts.append(_weights(base))
    if folder is not None:
        facts.append(_weights(folder))
    return sha256(orjson.dumps(facts)).hexdigest()


def _weights(folder: Path) -> list[tuple[Any, ...]]:
    """Return what identifies the weight files and shapes in *folder*."""
    if (folder / MANIFEST).is_file():
        return _listed_weights(folder)
    # Reading gigabytes of a base model takes too long: size and time of change identify it.
    return sorted(
        (p.name, s.st_size, s.st_mtime_ns)
        for p in folder.resolve().iterdir()
        if p.suffix == ".safetensors" or p.name in _SHAPES
        for s in (p.stat(),)
    )


def _listed_weights(folder: Path) -> list[tuple[Any, ...]]:
    """Return the digests of weight files and shapes in a manifest."""
    files = read_manifest(folder)["files"]
    return sorted(
        (name, entry["sha256"])
        for name, entry in files.items()
        if "/" not in name and (name.endswith(".safetensors") or name in _SHAPES)
    )
