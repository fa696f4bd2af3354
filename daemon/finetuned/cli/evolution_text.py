"""
What a person or a program reads after finetuned evolution.
"""

from __future__ import annotations

from collections.abc import Sequence

from finetuned.core.evolution import Sighting, life_of
from finetuned.core.text import printable
from finetuned.files.evolution import Example
from finetuned.reports.wording import count

_ORDER = ("lost", "never right", "found again", "right", "not judged")
_MARKS = {True: "right", False: "wrong", None: "-"}


def place(seen: Sighting) -> str:
    """
    Return where in the life of a lineage an answer was given.
    """
    if seen.version is not None:
        return f"{seen.version} ({seen.job})"
    return f"before {seen.job}" if seen.step == 0 else f"{seen.job} step {seen.step:,}"


def as_list(examples: Sequence[Example]) -> str:
    """
    Return a line for each example, those first whose answer was lost.
    """
    lives = {example.id: life_of(example.sightings).word for example in examples}
    ordered = sorted(examples, key=lambda e: (_ORDER.index(lives[e.id]), -len(e.sightings), e.id))
    counts = {word: list(lives.values()).count(word) for word in _ORDER}
    said = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
    lines = [
        f"{lives[e.id]:<12} {count(len(e.sightings), 'answer'):>11}  {e.id:<22} "
        f"{printable(e.prompt or '')[:60]}".rstrip()
        for e in ordered
    ]
    return "\n".join([*lines, f"{len(examples)} questions: {said}"])


def as_text(example: Example) -> str:
    """
    Return the life of one answer: a line for each time it was given.
    """
    life = life_of(example.sightings)
    lines = [example.id + (f"  {example.suite}" if example.suite else "")]
    lines += [f"  prompt    {example.prompt}"] if example.prompt is not None else []
    lines += [f"  expected  {example.golden}"] if example.golden is not None else []
    lines += [f"  {line}" for line in story(example)]
    before: str | None = None
    for i, seen in enumerate(example.sightings):
        loss = "" if seen.loss is None else f"loss {seen.loss:.3f}"
        note = "  <- lost" if i in life.lost else ""
        note = "  <- right for the first time" if i == life.first_right else note
        same = seen.answer == before and before is not None
        answer = "(the same)" if same else seen.answer or "(no answer)"
        head = f"  {place(seen):<20} {_MARKS[seen.right]:<5} {loss:<10}"
        lines.append(f"{head}  {answer}{note}")
        before = seen.answer
    return "\n".join(printable(line) for line in lines)


def story(example: Example) -> list[str]:
    """
    Return in sentences when an answer grew right, and when it was lost.
    """
    life, seen = life_of(example.sightings), example.sightings
    if life.first_right is None:
        return ["It was never answered right." if life.right_now is False else "Not judged yet."]
    turns = [(life.first_right, "right for the first time"), *((i, "lost") for i in life.lost)]
    turns += [(i, "right again") for i in life.found_again]
    told = "; ".join(f"{what}: {place(seen[i])}" for i, what in sorted(turns))
    return [f"{told[0].upper()}{told[1:]}. Now {'right' if life.right_now else 'wrong'}."]


def as_json(examples: Sequence[Example]) -> dict[str, object]:
    """
    Return all of it as one JSON object.
    """
    return {
        "examples": [
            {
                "id": example.id,
                "suite": example.suite,
                "prompt": example.prompt,
                "golden": example.golden,
                "life": life_of(example.sightings).word,
                "answers": [
                    {
                        "job": seen.job,
                        "step": seen.step,
                        "version": seen.version,
                        "answer": seen.answer,
                        "right": seen.right,
                        "loss": seen.loss,
                    }
                    for seen in example.sightings
                ],
            }
            for example in examples
        ]
    }
