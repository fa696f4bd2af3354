"""
How often a job presents earlier rows: nobody is left out, and the job's own rows are half.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.replay_quota import (
    KNOWN_SHARE,
    MOST_TIMES,
    Because,
    Family,
    Quota,
    quotas,
    shares,
    water_level,
)

families = st.lists(
    st.builds(
        Family,
        st.integers(1, 2000),
        st.booleans(),
        st.sampled_from([0.5, 1.0, 2.0, 4.0]),
    ),
    max_size=12,
)


@given(families, st.integers(0, 1000), st.integers(0, 20_000))
def test_the_quotas_keep_every_bound(known: list[Family], presentations: int, new: int) -> None:
    """
    At most half of the job, no row too often, no family above what it was to have, none left out.
    """
    found = quotas(known, presentations=presentations, new=new)

    assert len(known) == len(found)
    assert sum(q.presentations for q in found) <= new
    for family, quota in zip(known, found, strict=True):
        assert 0 <= quota.presentations <= MOST_TIMES * family.rows
        assert quota.presentations <= max(1, round(presentations * family.weight))
    if presentations and new >= len(known):
        assert all(quota.presentations >= 1 for quota in found)
    if not presentations:
        assert all(quota.presentations == 0 for quota in found)


@given(families, st.integers(1, 1000), st.integers(1, 20_000))
def test_families_that_are_equal_get_equal_shares(
    known: list[Family], presentations: int, new: int
) -> None:
    """
    Give or take the one that is left over, and the largest that fit are given.
    """
    found = quotas(known, presentations=presentations, new=new)
    of_kind: dict[Family, list[int]] = {}
    for family, quota in zip(known, found, strict=True):
        of_kind.setdefault(family, []).append(quota.presentations)

    assert all(max(given) - min(given) <= 1 for given in of_kind.values())
    if any(quota.because is Because.HALF_OF_JOB for quota in found):
        assert new == sum(quota.presentations for quota in found)


def test_a_family_gets_what_is_configured() -> None:
    """
    More if it lost ground, less if it held it, and no row more than MOST_TIMES.
    """
    known = [Family(500), Family(500, weight=2.0), Family(500, weight=0.5), Family(3)]

    assert [
        Quota(300, Because.EQUAL),
        Quota(600, Because.LOST_GROUND),
        Quota(150, Because.HELD_GROUND),
        Quota(3 * MOST_TIMES, Because.FEW_ROWS),
    ] == quotas(known, presentations=300, new=5000)


def test_what_the_new_rows_train_anyway_costs_little() -> None:
    """
    All files of the job's own kind share 5% of the job; one that slips in spite of it does not.
    """
    known = [Family(500, same_kind=True), Family(500, same_kind=True), Family(500)]
    slipping = [Family(500, same_kind=True, weight=2.0)]
    share = round(4000 * KNOWN_SHARE / (1 - KNOWN_SHARE))

    assert [
        Quota(share // 2 + share % 2, Because.SAME_KIND),
        Quota(share // 2, Because.SAME_KIND),
        Quota(300, Because.EQUAL),
    ] == quotas(known, presentations=300, new=4000)
    assert [Quota(600, Because.LOST_GROUND)] == quotas(slipping, presentations=300, new=4000)


def test_a_short_job_is_half_rehearsal_at_most() -> None:
    """
    Families are cut to one level; one that needs less leaves the rest to the others.
    """
    found = quotas([Family(500), Family(1), Family(500)], presentations=300, new=101)

    assert [
        Quota(41, Because.HALF_OF_JOB),
        Quota(20, Because.FEW_ROWS),
        Quota(40, Because.HALF_OF_JOB),
    ] == found
    assert [1, 1, 0] == [q.presentations for q in quotas([Family(9)] * 3, presentations=300, new=2)]


def test_a_family_that_lost_ground_keeps_more_of_a_short_job() -> None:
    """
    Cut to one level, it would get no more than those that hold, just when it needs it.
    """
    known = [Family(500, weight=0.5), Family(500), Family(500, weight=4.0)]

    found = [q.presentations for q in quotas(known, presentations=300, new=1100)]

    assert [101, 201, 798] == found


@given(
    st.lists(st.tuples(st.integers(1, 900), st.sampled_from([0.5, 1, 2, 4])), max_size=15),
    st.integers(0, 6000),
)
def test_shares_give_out_all_there_is(wanted: list[tuple[int, float]], total: int) -> None:
    """
    To none more than it wants, to none nothing, and by weight among those that are cut.
    """
    amounts, weights = [a for a, _ in wanted], [w for _, w in wanted]
    given = shares(amounts, weights, total)

    assert min(total, sum(amounts)) == sum(given)
    assert all(got <= amount for got, amount in zip(given, amounts, strict=True))
    if total >= len(amounts):
        assert all(got >= 1 for got in given)
        cut = [(g - 1) / w for g, a, w in zip(given, amounts, weights, strict=True) if g < a]
        assert max(cut, default=0) - min(cut, default=0) <= 2 / min(weights, default=1)


@given(st.lists(st.integers(0, 500), max_size=20), st.integers(0, 3000))
def test_the_water_level_is_the_highest_that_fits(amounts: list[int], total: int) -> None:
    """
    One more would be too much, unless nothing is cut.
    """
    level = water_level(amounts, total)

    assert sum(min(a, level) for a in amounts) <= total
    assert level == max(amounts, default=0) or sum(min(a, level + 1) for a in amounts) > total
