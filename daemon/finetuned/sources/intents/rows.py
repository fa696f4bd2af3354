"""
The demo's training rows and its fixed test set, from a seed.

Knows quotas and that the two sets share no name and, in one half of the test
set, no phrasing; does not know what a model makes of them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

from finetuned.data.intents import dumps
from finetuned.errors import DatasetError
from finetuned.sources.intents.catalog import composed, single
from finetuned.sources.intents.entities import Names
from finetuned.sources.intents.grammar import GAP
from finetuned.sources.intents.meaning import Sentence, realise
from finetuned.sources.intents.nearness import Forbidden
from finetuned.sources.intents.tables import heldout_sentences

Row = dict[str, Any]

QUOTAS: Mapping[str, Mapping[str, int]] = {
    "dns": {
        "dns_add": 370,
        "dns_add_v4": 40,
        "dns_add_v6": 90,
        "dns_cname": 190,
        "dns_wild": 90,
        "dns_remove": 220,
    },
    "users": {"user_add": 140, "user_add_secret": 45, "user_remove": 140, "group_add": 175},
    "samba": {"share_create": 260, "share_grant": 240},
    "complex": {"batch": 190, "joined": 130, "clarify": 260, "none": 220},
}
"""Rows of each block out of 2800: dns 1000, users 500, samba 500, complex 800."""

_TOTAL = sum(sum(blocks.values()) for blocks in QUOTAS.values())

_TEST_BLOCKS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "dns": (
        ("dns_add", 7),
        ("dns_add_v6", 4),
        ("dns_cname", 5),
        ("dns_wild", 3),
        ("dns_remove", 6),
    ),
    "users": (("user_add", 7), ("user_add_secret", 1), ("user_remove", 8), ("group_add", 9)),
    "samba": (("share_create", 13), ("share_grant", 12)),
    "complex": (("batch", 6), ("joined", 4), ("clarify", 7), ("none", 8)),
}
"""Rows of each block in the entity-disjoint half, 25 for each group."""

_TEST_SEED = 200


def training_rows(seed: int = 0, n: int = 2800, *, tries: int = 40) -> list[Row]:
    """
    Generate the demo's training rows.

    Args:
        seed: Every seed gives other rows; the same seed the same ones.
        n: Rows wanted. Each class gets its share of ``QUOTAS``, rounded.
        tries: Draws allowed for each row before a class is called exhausted.

    Returns:
        About *n* unique rows ``{"messages", "metadata"}`` in random order.

    Raises:
        DatasetError: A class has fewer unique rows than its quota; nothing was
            written.
    """
    rng = random.Random(f"intents:train:{seed}")
    names = Names(rng, heldout=False)
    forbidden = heldout_phrasings()
    rows: dict[str, Row] = {}
    for group, blocks in QUOTAS.items():
        wanted = {block: round(quota * n / _TOTAL) for block, quota in blocks.items()}
        got = Counter(r["metadata"]["class"] for r in rows.values())[group]
        for block, count in wanted.items():
            _extend(
                rows, group, block, count, tries=tries, rng=rng, names=names, forbidden=forbidden
            )
        unique = sum(r["metadata"]["class"] == group for r in rows.values()) - got
        if unique < sum(wanted.values()):
            raise DatasetError(f"{group}: {unique} unique rows, {sum(wanted.values())} wanted")
    result = list(rows.values())
    rng.shuffle(result)
    return result


def heldout_phrasings() -> Forbidden:
    """
    Return what no training sentence, here or in a base model's corpus, may say.
    """
    return Forbidden(p for block in heldout_sentences().values() for p, _ in block)


def _extend(
    rows: dict[str, Row],
    group: str,
    block: str,
    count: int,
    *,
    tries: int,
    rng: random.Random,
    names: Names,
    forbidden: Forbidden,
) -> None:
    before = len(rows)
    for _ in range(count * tries):
        if len(rows) - before == count:
            return
        sentence = draw_sentence(block, rng)
        if sentence.phrasing in forbidden:
            continue
        row = row_of(sentence, values_for(sentence, names, rng), group)
        rows.setdefault(row["messages"][0]["content"], row)


def draw_sentence(block: str, rng: random.Random) -> Sentence:
    """
    Draw a training sentence of *block*: a catalog block, or ``joined``.
    """
    return composed(rng) if block == "joined" else single(block, rng)


def values_for(sentence: Sentence, names: Names, rng: random.Random) -> dict[str, str]:
    """
    Draw a name for every gap of *sentence*, no two of them equal.
    """
    values: dict[str, str] = {}
    for gap in dict.fromkeys(GAP.findall(sentence.phrasing)):
        kind = gap
        plain = sentence.template_id.startswith("heldout.")
        is_typed = ":" in sentence.spec  # of a type that is not for wildcards
        if gap == "zone" and sentence.spec.startswith("dns_") and not (plain or is_typed):
            kind = "wild" if rng.random() < 0.07 else "zone"
        while (name := names.draw(kind)) in values.values():
            pass
        values[gap] = name
    return values


def test_rows() -> list[Row]:
    """
    Generate the fixed test set: 200 rows, 50 for each group.

    Half of a group says known sentences about unknown names (``metadata.split``
    is ``entity_disjoint``), half says unknown sentences about unknown names
    (``phrasing_disjoint``). An answer counts as right if it is the same JSON
    (``scorer``), because spaces do not change what is executed.

    Returns:
        The 200 rows, always the same.
    """
    rng = random.Random(f"intents:test:{_TEST_SEED}")
    names = Names(rng, heldout=True)
    known: dict[str, list[Sentence]] = {}
    for row in training_rows():
        meta = row["metadata"]
        sentence = Sentence(meta["template_id"], meta["spec"], meta["phrasing"])
        # Without a gap the row itself would be a training row.
        if GAP.search(sentence.phrasing):
            known.setdefault(meta["block"], []).append(sentence)
    rows: list[Row] = []
    for group, blocks in _TEST_BLOCKS.items():
        for block, count in blocks:
            for sentence in rng.sample(known[block], count):
                row = row_of(sentence, values_for(sentence, names, rng), group)
                row["metadata"]["split"] = "entity_disjoint"
                rows.append(row)
        for i, (phrasing, spec) in enumerate(heldout_sentences()[group]):
            sentence = Sentence(f"heldout.{group}.{i:02d}", spec, phrasing)
            row = row_of(sentence, values_for(sentence, names, rng), group)
            row["metadata"]["split"] = "phrasing_disjoint"
            rows.append(row)
    return [{**row, "scorer": "json"} for row in rows]


def row_of(sentence: Sentence, values: Mapping[str, str], group: str) -> Row:
    """
    Return the row that says *sentence* with the names of *values*.

    Args:
        sentence: With its gaps open.
        values: A name for every gap.
        group: The class that the row counts for.
    """
    prompt, intent = realise(sentence, values)
    block = sentence.template_id.partition(".")[0].partition(":")[0]
    return {
        "messages": [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": dumps(intent)},
        ],
        "metadata": {
            "class": group,
            "block": block,
            "action": intent["action"],
            "template_id": sentence.template_id,
            "spec": sentence.spec,
            "phrasing": sentence.phrasing,
        },
    }
