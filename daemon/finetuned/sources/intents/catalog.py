"""
The training sentences as templates, and sentences drawn from them.

Knows how people soften an order, and how commands are joined into one sentence;
does not know how many rows are wanted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from finetuned.sources.intents.grammar import GAP, fill, pick, tidy
from finetuned.sources.intents.meaning import Sentence
from finetuned.sources.intents.tables import frames, macros, phrases, predicates, wording

_CLAUSES = (
    "dns_add", "dns_add", "dns_cname", "dns_remove", "user_add", "user_remove", "group_add",
    "share_create", "share_grant",
)  # fmt: skip
"""Blocks that a composed sentence draws from; a block that stands twice is drawn twice as often."""


@dataclass(frozen=True, slots=True)
class Template:
    """
    One line of the catalog.
    """

    template_id: str
    spec: str
    """What it asks for: actions and gaps, see ``intent_of``."""
    text: str
    order: bool
    """Whether "please" may stand before it."""


@cache
def catalog() -> Mapping[str, tuple[Template, ...]]:
    """
    Return the templates of every block, by the block's name.
    """
    result = {block: _templates(block, rows) for block, rows in wording().items()}
    for block, rows in predicates().items():
        framed = [
            (row.spec, frame.replace("SUBJECT", row.subject).replace("PREDICATE", row.predicate))
            for row in rows
            for frame in frames()
        ]
        result[f"{block}.framed"] = _templates(f"{block}.framed", framed)
    return result


def _templates(block: str, rows: Sequence[tuple[str, str]]) -> tuple[Template, ...]:
    result: list[Template] = []
    for spec, text in rows:
        body = text.removeprefix("= ")
        for macro, meaning in macros().items():
            body = body.replace(macro, meaning)
        order = not text.startswith("= ")
        result.append(Template(f"{block}.{len(result):02d}", spec, body, order))
    return tuple(result)


def soften(phrasing: str, rng: random.Random, *, order: bool) -> str:
    """
    Wrap *phrasing* the way people do: a greeting, a "please", a final dot.

    Args:
        phrasing: A phrasing with open gaps, in small letters.
        rng: Where the choices come from.
        order: Whether it is an order, which "please" may precede.

    Returns:
        The wrapped phrasing; the first letter may have become a capital one,
        unless the first word is a gap.
    """
    openers, chance = (phrases("opener"), 0.45) if order else (phrases("greeting"), 0.15)
    asks = phrasing.endswith("?")
    if rng.random() < chance and not asks:
        phrasing = f"{rng.choice(openers)} {phrasing}"
    if rng.random() < 0.2 and not asks and phrasing[-1] not in ".!":
        phrasing += f"{rng.choice((' ', ', '))}{rng.choice(phrases('closer'))}"
    if rng.random() < 0.6:
        phrasing = phrasing[0].upper() + phrasing[1:]
    if phrasing[-1].isalnum() or phrasing[-1] == "}":
        phrasing += rng.choice(("", "", ".", ".", ".", "!"))
    return phrasing


def single(block: str, rng: random.Random) -> Sentence:
    """
    Draw one sentence of *block*, softened.
    """
    template = template_of(block, rng)
    bare = pick(template.text, rng)
    return Sentence(template.template_id, template.spec, soften(bare, rng, order=template.order))


def template_of(block: str, rng: random.Random) -> Template:
    """
    Draw a template of *block*.
    """
    # If a block also exists as frames, half of its sentences come from them.
    framed = block in predicates() and rng.random() < 0.5
    return rng.choice(catalog()[f"{block}.framed" if framed else block])


def composed(
    rng: random.Random, draw: Callable[[str, random.Random], Template] = template_of
) -> Sentence:
    """
    Draw a batch made of two or three unrelated commands in one sentence.

    Args:
        rng: Where the choices come from.
        draw: Gives a template of a block; by default one of the catalog's.
    """
    joint = rng.choice(phrases("joint"))
    seen: dict[str, int] = {}
    clauses: list[str] = []
    specs: list[str] = []
    ids: list[str] = []
    for _ in range(joint.count("{}")):
        template = draw(rng.choice(_CLAUSES), rng)
        bare = pick(template.text, rng).rstrip("?. ")
        names = {gap: _fresh(gap, seen) for gap in dict.fromkeys(GAP.findall(bare))}
        clauses.append(fill(bare, {gap: f"{{{new}}}" for gap, new in names.items()}))
        specs.append(" ".join(names.get(word, word) for word in template.spec.split()))
        ids.append(template.template_id)
    return Sentence(
        f"joined:{'+'.join(ids)}",
        " & ".join(specs),
        soften(tidy(joint.format(*clauses)), rng, order=joint[0] == "{"),
    )


def _fresh(gap: str, seen: dict[str, int]) -> str:
    seen[gap] = seen.get(gap, 0) + 1
    return gap if seen[gap] == 1 else f"{gap}{seen[gap]}"
