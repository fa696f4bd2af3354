"""
The cache of answers: never a wrong one, never more bytes or older than allowed.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from finetuned.core.generation import Generate, Guide, Sampling
from finetuned.serving.gateway.cache import (
    ENTRY_BYTES,
    AnswerCache,
    Lookup,
    Ticket,
    request_digest,
)

ASKED = Generate(
    id="1",
    model="finetuned",
    sampling=Sampling(max_tokens=8),
    messages=({"role": "user", "content": "hi"},),
)


def sampled(**changes: object) -> Generate:
    return replace(ASKED, sampling=replace(ASKED.sampling, **changes))


@pytest.mark.parametrize(
    "other",
    [
        replace(ASKED, messages=({"content": "hi", "role": "user"},)),
        replace(ASKED, messages=({"role": "user", "content": "hi "},)),
        replace(ASKED, messages=(), text="hi"),
        replace(ASKED, tools=({"type": "function"},)),
        sampled(max_tokens=9),
        sampled(stop=("x",)),
        sampled(top_logprobs=0),
        sampled(guide=Guide.JSON_OBJECT),
        sampled(guide=Guide.JSON_SCHEMA, schema={"type": "object"}),
    ],
)
def test_whatever_can_change_an_answer_is_part_of_its_key(other: Generate) -> None:
    """
    The order of keys too: a template may render an object as it came.
    """
    assert request_digest("v0001", ASKED) != request_digest("v0001", other)


def test_what_cannot_change_an_answer_is_not() -> None:
    """
    The version is: the stable name means another one after a swap.
    """
    same = replace(sampled(seed=5), id="2", seconds=1.0, model="finetuned@v0001")

    assert request_digest("v0001", ASKED) == request_digest("v0001", same)
    assert request_digest("v0001", ASKED) != request_digest("v0002", ASKED)


@pytest.mark.parametrize(
    "request_",
    [
        sampled(temperature=0.1),
        replace(ASKED, messages=({"role": "user", "content": "\ud800"},)),
        sampled(guide=Guide.JSON_SCHEMA, schema={"const": 10**30}),
    ],
    ids=["drawn", "surrogate", "integer"],
)
def test_what_cannot_be_kept_passes_by(request_: Generate) -> None:
    """
    It is answered as if there was no cache.
    """
    assert (Lookup.BYPASS, None, None) == AnswerCache[str](9999).get("v0001", request_)


def test_a_cache_of_no_bytes_is_off() -> None:
    """
    And says so.
    """
    cache = AnswerCache[str](0)

    assert (Lookup.BYPASS, None, None) == cache.get("v0001", ASKED)
    assert 1 == cache.counts[Lookup.BYPASS]


def test_an_answer_that_began_before_a_swap_is_not_kept() -> None:
    """
    ``base`` may be another model afterwards.
    """
    cache = AnswerCache[str](9999)
    _, _, ticket = cache.get("base", ASKED)
    assert ticket is not None
    cache.clear()

    assert not cache.put(ticket, "old", 3)
    assert Lookup.MISS == cache.get("base", ASKED)[0]


def test_the_one_that_was_asked_for_last_stays() -> None:
    """
    Two fit.
    """
    cache = AnswerCache[str](2 * (ENTRY_BYTES + 10))
    for text in ("a", "b", "a", "c"):
        lookup, _, ticket = cache.get("v", replace(ASKED, text=text, messages=()))
        if ticket is not None:
            assert cache.put(ticket, text, 10)

    found = {t: cache.get("v", replace(ASKED, text=t, messages=()))[0] for t in "abc"}
    assert {"a": Lookup.HIT, "b": Lookup.MISS, "c": Lookup.HIT} == found
    assert lookup is Lookup.MISS


def test_an_old_answer_is_made_anew() -> None:
    """
    And takes no room any more.
    """
    now = [0.0]
    cache = AnswerCache[str](9999, max_seconds=10.0, clock=lambda: now[0])
    _, _, ticket = cache.get("v", ASKED)
    assert ticket is not None
    cache.put(ticket, "old", 3)
    now[0] = 9.9
    assert (Lookup.HIT, "old", None) == cache.get("v", ASKED)
    now[0] = 10.0

    assert Lookup.MISS == cache.get("v", ASKED)[0]
    assert 0 == cache.n_bytes


class Machine(RuleBasedStateMachine):
    """
    Against a dictionary that forgets nothing but what it must.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.cache = AnswerCache[str](3000, max_seconds=10.0, clock=lambda: self.now)
        self.truth: dict[tuple[str, str], tuple[str, float]] = {}
        self.open: list[tuple[Ticket, tuple[str, str]]] = []
        self.void: list[Ticket] = []
        self.made = 0

    @rule(version=st.sampled_from("vw"), text=st.sampled_from("abcdefgh"))
    def ask(self, version: str, text: str) -> None:
        request = replace(ASKED, text=text, messages=())
        lookup, answer, ticket = self.cache.get(version, request)
        if lookup is Lookup.HIT:
            expected, made = self.truth[version, text]
            assert expected == answer
            assert self.now - made < 10.0
        else:
            assert ticket is not None
            self.open.append((ticket, (version, text)))

    @rule(n_bytes=st.integers(0, 4000))
    def answer(self, n_bytes: int) -> None:
        if self.open:
            ticket, key = self.open.pop(0)
            self.made += 1
            if self.cache.put(ticket, str(self.made), n_bytes):
                self.truth[key] = (str(self.made), self.now)

    @rule()
    def swap(self) -> None:
        self.cache.clear()
        self.truth.clear()
        self.void += [ticket for ticket, _ in self.open]
        self.open.clear()

    @rule()
    def late(self) -> None:
        if self.void:
            assert not self.cache.put(self.void.pop(), "late", 1)

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def is_bounded(self) -> None:
        held = sum(entry.n_bytes for entry in self.cache._entries.values())
        assert held == self.cache.n_bytes <= 3000
        assert len(self.cache) * ENTRY_BYTES <= 3000


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


@given(st.lists(st.integers(0, 2000), max_size=30), st.integers(1, 3000))
def test_bytes_are_bounded_whatever_comes(sizes: list[int], bound: int) -> None:
    """
    An answer that alone is too long is not kept, and pushes nothing out.
    """
    cache = AnswerCache[int](bound)
    for place, size in enumerate(sizes):
        before = len(cache)
        _, _, ticket = cache.get("v", replace(ASKED, text=str(place), messages=()))
        assert ticket is not None
        kept = cache.put(ticket, place, size)
        assert kept == (size + ENTRY_BYTES <= bound)
        assert kept or before == len(cache)
        assert cache.n_bytes <= bound
