"""
Which items count as one question.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.core.clusters import ItemText, cluster_items

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TASKS = [
    "What is {} + {}?",
    "Subtract {} from {}.",
    "How much is {} times {}?",
    "Compute the remainder of {} by {}.",
    "Which is larger, {} or {}?",
    "Is {} divisible by {}?",
    "Round {} to the nearest multiple of {}.",
    "If I have {} coins and lose {}, how many are left?",
]


def arithmetic(tasks, n, seed=0):
    """n items of each task."""
    rng = random.Random(seed)
    return [
        ItemText(task.format(rng.randint(1, 999), rng.randint(1, 999)), str(rng.randint(1, 9999)))
        for task in tasks
        for _ in range(n)
    ]


def of_suite(name):
    rows = map(json.loads, (BENCHMARKS / f"{name}.jsonl").read_text().splitlines())
    return [ItemText(r["messages"][-2]["content"], r["messages"][-1]["content"]) for r in rows]


def test_items_of_one_template_are_one_cluster():
    """
    Eight templates of which only the numbers differ: eight clusters.
    """
    found = cluster_items(arithmetic(TASKS, 12))

    assert [i // 12 for i in range(96)] == found


def test_a_template_that_all_items_share_is_what_they_are_about():
    """
    Then the items are told apart by what fills it, and only the same sum twice is one.
    """
    items = arithmetic(TASKS[:1], 50)

    assert list(range(50)) == cluster_items(items)
    assert [*range(50), 0] == cluster_items([*items, items[0]])


def test_names_that_fill_a_slot_do_not_tell_items_apart():
    """
    Whether they hold a dot or a digit, are copied into the answer, or stand in one item only.
    """
    items = [
        ItemText("Point kube7.lan to 10.0.0.4", '{"action":"dns_add","zone":"kube7.lan"}'),
        ItemText(
            "Point wiki.attic.net to fe80::b4", '{"action":"dns_add","zone":"wiki.attic.net"}'
        ),
        ItemText("Add bruno to the group design", '{"action":"join","user":"bruno"}'),
        ItemText("Add yuki to the group sales", '{"action":"join","user":"yuki"}'),
        *[ItemText(f"{word} is a word of its own here", word) for word in ("elm", "oak")],
        ItemText("Nothing like the others in any way", "nothing"),
        ItemText("An odd question that stands by itself", "odd"),
    ]
    found = cluster_items(items)

    assert [0, 0, 1, 1, 2, 2, 3, 4] == found


def test_near_duplicates_are_one_cluster():
    """
    A text with a word more is the same text.
    """
    items = of_suite("infra_200")[:40]
    again = [ItemText(f"Today: {item.prompt}", item.answer) for item in items]
    found = cluster_items([*items, *again])

    assert found[:40] == found[40:]


@pytest.mark.parametrize(
    ("name", "least"), [("infra_200", 180), ("syllo_easy_100", 95), ("examples/canaries", 18)]
)
def test_questions_that_differ_in_wording_stay_apart(name, least):
    """
    184 of 200 commands, which have 191 templates; puzzles below one long instruction.
    """
    assert least <= len(set(cluster_items(of_suite(name))))


def test_texts_of_scripts_without_spaces_are_told_apart():
    """
    By their characters: a whole sentence is no word.
    """
    items = [
        ItemText("\u65e5\u672c\u306e\u9996\u90fd\u306f\u3069\u3053\u3067\u3059\u304b"),
        ItemText("\u8ff7\u5b50\u306e\u732b\u3092\u898b\u307e\u3057\u305f\u304b\u3002"),
        ItemText("\u732b\u304c\u3044\u307e\u3059"),
    ]

    assert [0, 1, 2] == cluster_items(items)


texts = st.builds(
    ItemText,
    st.lists(st.sampled_from(["a", "b", "c", "go", "to", "the", "7", "x.y"]), max_size=6).map(
        " ".join
    ),
    st.sampled_from(["", "a", "go to", "7"]),
)


@given(st.lists(texts, max_size=14), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=150)
def test_the_order_of_the_items_does_not_matter(items, rng):
    """
    The same items are together, whatever comes first; equal texts always are.
    """
    order = list(range(len(items)))
    rng.shuffle(order)
    found, other = cluster_items(items), cluster_items([items[i] for i in order])
    back = dict(zip(order, other, strict=True))

    for i in range(len(items)):
        for j in range(i):
            assert (found[i] == found[j]) is (back[i] == back[j])
            assert found[i] == found[j] or items[i] != items[j]
    assert sorted(set(found)) == list(range(len(set(found))))


def test_a_thousand_items_take_about_a_second():
    """
    Processor time; the bound leaves room for a slow machine.
    """
    rng = random.Random(1)
    words = [f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(400)]
    items = [ItemText(" ".join(rng.choices(words, k=30)), "yes") for _ in range(1000)]
    began = time.process_time()
    found = cluster_items(items)

    assert time.process_time() - began < 10
    assert max(Counter(found).values()) == 1
