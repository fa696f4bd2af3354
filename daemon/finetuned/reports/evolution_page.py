"""
The page of finetuned evolution: how answers grew right over a lineage, and when they were lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetuned.core.evolution import Sighting, life_of
from finetuned.files.evolution import Example
from finetuned.reports import charts, html
from finetuned.reports.examples import cut, differing_words

MAX_EXAMPLES = 60
"""Examples that a page shows; those with the most answers, lost ones first."""

_TONES = {"right": "good", "found again": "good", "lost": "bad", "never right": "bad"}


def evolution_page(examples: Sequence[Example]) -> str:
    """
    Return the page of some examples.

    Returns:
        One HTML file that refers to no other. The same for the same arguments.
    """
    ordered = sorted(
        examples,
        key=lambda e: (life_of(e.sightings).word != "lost", -len(e.sightings), e.id),
    )
    shown = ordered[:MAX_EXAMPLES]
    one = shown[0].id if len(shown) == 1 else f"{len(examples)} examples"
    values = {
        "title": f"Evolution of {one}",
        "examples": [_example(example) for example in shown],
        "left_out": len(ordered) - len(shown),
    }
    return html.render("evolution.html", values)


def _example(example: Example) -> dict[str, Any]:
    life = life_of(example.sightings)
    points: list[charts.Point] = [
        (float(i), seen.loss)
        for i, seen in enumerate(example.sightings, start=1)
        if seen.loss is not None
    ]
    return {
        "id": example.id,
        "suite": example.suite or "",
        "prompt": cut(example.prompt),
        "golden": cut(example.golden),
        "life": life.word,
        "tone": _TONES.get(life.word, "muted"),
        "rows": [
            {
                "place": place(seen),
                "right": seen.right,
                "loss": seen.loss,
                "words": differing_words(cut(example.golden), cut(seen.answer)),
                "turn": _turn(i, life.first_right, life.lost, life.found_again),
            }
            for i, seen in enumerate(example.sightings)
        ],
        "chart": charts.curves(
            f"evolution {example.id}",
            f"loss of the expected answer to {example.id}, answer by answer",
            {"loss": points},
            unit="nats per token",
            x="answer",
        )
        if len(points) > 1
        else "",
    }


def place(seen: Sighting) -> str:
    """
    Return where in the life of a lineage an answer was given.
    """
    if seen.version is not None:
        return f"{seen.version}, evaluated"
    return f"before {seen.job}" if seen.step == 0 else f"{seen.job}, step {seen.step:,}"


def _turn(i: int, first: int | None, lost: Sequence[int], again: Sequence[int]) -> str:
    if i == first:
        return "right for the first time"
    return "lost" if i in lost else "right again" if i in again else ""
