"""
The model card of an export, in Markdown: what it is, how it was shown to be right, how to run it.

Pure: facts in, text out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finetuned.core.export.parity import Parity


@dataclass(frozen=True, slots=True)
class CardFile:
    """
    One file of weights, or a folder of them, and how it compared.
    """

    name: str
    precision: str
    bytes: int
    parity: Parity | None
    """None if it was not compared."""


@dataclass(frozen=True, slots=True)
class CardData:
    """
    One dataset that the version was trained on.
    """

    name: str
    sha256: str | None
    n_examples: int


@dataclass(frozen=True, slots=True)
class CardScore:
    """
    The version's accuracy on one suite, before the export.
    """

    suite: str
    right: int
    n: int
    interval: tuple[float, float]
    """95%, in percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """
    The facts of a model card.
    """

    version: str
    base: str
    licence: str | None
    """Of the base; None if it is not stated."""
    created_at: str
    data: Sequence[CardData]
    data_licence: str | None
    scores: Sequence[CardScore]
    files: Sequence[CardFile]
    run: Sequence[str]
    """Commands, one a line."""


def card_text(card: Card) -> str:
    """
    Return the model card.
    """
    failed = [f for f in card.files if f.parity is not None and not f.parity.passed]
    blocks = [
        f"# {card.version}",
        f"Fine-tuned from {card.base} by finetuned, exported {card.created_at}.",
        *(
            f"**FAILED: {f.name} was not shown to be as good as the version: {f.parity.reason}.**"
            for f in failed
            if f.parity is not None
        ),
        "## Run it",
        "```\n" + "\n".join(card.run) + "\n```",
        "## Files",
        _table(
            ("file", "precision", "size", "same prompts", "same answers", "accuracy", "verdict"),
            [_file_row(f) for f in card.files],
        ),
        *(
            f"First divergence of {f.name}: {f.parity.first.sentence()}"
            for f in card.files
            if f.parity is not None and f.parity.first is not None
        ),
        "## Scores of the version",
        _table(
            ("suite", "right", "accuracy", "95% interval"),
            [
                (
                    s.suite,
                    f"{s.right} of {s.n}",
                    f"{100 * s.right / s.n:.1f}%",
                    f"{s.interval[0]:.1f} to {s.interval[1]:.1f}%",
                )
                for s in card.scores
            ],
        )
        or "Not asked.",
        "## Data",
        _table(
            ("file", "sha256", "training sequences"),
            [(d.name or "?", d.sha256 or "not recorded", str(d.n_examples)) for d in card.data],
        )
        or "The base model, without training here.",
        "## Licences",
        f"- base model: {card.licence or 'not stated: read its page before you pass this on'}\n"
        f"- data: {card.data_licence or 'not stated by whoever exported it'}",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _file_row(file: CardFile) -> tuple[str, ...]:
    size = f"{file.bytes / 2**20:.1f} MiB"
    p = file.parity
    if p is None:
        return (file.name, file.precision, size, "", "", "", "not compared")
    accuracy = f"{p.right[0]} -> {p.right[1]} of {p.n_marked}" if p.n_marked else "nothing marked"
    return (
        file.name,
        file.precision,
        size,
        f"{p.same_ids} of {p.n_items}",
        f"{p.same_answers} of {p.n_items}",
        accuracy,
        "passed" if p.passed else "failed",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
