"""
Which items of a suite are asked when: nested parts, and what no lack of time takes away.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.config import GateConfig
from finetuned.core.sample import LEAST_ASKED
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.evaluation.plan import growing_parts, least_sizes
from finetuned.evaluation.selected_suites import PickedSuite
from support.outcomes import make_suite

OLDER = (SuiteOrigin.OLD, SuiteOrigin.BENCHMARK)
sizes = st.lists(st.tuples(st.sampled_from(SuiteOrigin), st.integers(0, 300)), max_size=5)


@settings(deadline=None, max_examples=40)
@given(sizes)
def test_what_no_lack_of_time_takes_away(found: list[tuple[SuiteOrigin, int]]) -> None:
    """
    All new rows and canaries, and as many older items as the rule of samples demands.
    """
    suites = [make_suite(f"s{i}", n, origin) for i, (origin, n) in enumerate(found)]
    least = least_sizes(suites, GateConfig())

    assert [n for (origin, n) in found if origin not in OLDER] == [
        n for n, (origin, _) in zip(least, found, strict=True) if origin not in OLDER
    ]
    for (origin, n), asked in zip(found, least, strict=True):
        if origin is SuiteOrigin.BENCHMARK:
            assert asked >= min(n, LEAST_ASKED)
    old = [(n, asked) for (o, n), asked in zip(found, least, strict=True) if o is SuiteOrigin.OLD]
    assert sum(asked for _, asked in old) == min(sum(n for n, _ in old), LEAST_ASKED)


def test_a_suite_with_a_share_to_reach_is_asked_whole() -> None:
    """
    With a sample the share would be judged by its rate, which proves less.
    """
    suites = [make_suite(name, 200, SuiteOrigin.BENCHMARK) for name in ("a", "b")]

    assert [200, 32] == least_sizes(suites, GateConfig(ship_gates="a >= 0.95"))
    assert [32, 200] == least_sizes(suites, GateConfig(quality_gates="b >= 0.95"))
    assert [200, 200] == least_sizes(suites, GateConfig(ship_gates="overall >= 0.95"))
    assert [200, 200] == least_sizes(suites, GateConfig(max_invented=0.02))


@settings(deadline=None, max_examples=40)
@given(sizes)
def test_a_part_holds_the_one_before_and_counts_what_it_leaves_out(
    found: list[tuple[SuiteOrigin, int]],
) -> None:
    """
    Of benchmarks and older files; new rows and canaries are whole from the first part on.
    """
    suites = [PickedSuite(make_suite(f"s{i}", n, origin)) for i, (origin, n) in enumerate(found)]
    before: list[set[str]] = [set() for _ in suites]
    for part in growing_parts(suites):
        for whole, picked in zip(suites, part, strict=True):
            n = len(picked.suite.questions)
            assert n + picked.n_unasked == len(whole.suite.questions)
            assert not picked.n_unasked or whole.suite.origin in OLDER
        asked = [{q.id for q in picked.suite.questions} for picked in part]
        assert all(a <= b for a, b in zip(before, asked, strict=True))
        assert any(picked.n_unasked for picked in part)
        before = asked
