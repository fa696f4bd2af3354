"""
How small a p-value must be at each look, so that many looks promote by chance no more than one.

A look is one judgement of a candidate against the release. Look k may spend
alpha / (k (k + 1)), which sums to alpha over any number of looks: whatever the looks have in
common (rows, candidates), the chance that one of them goes wrong is at most that sum.

A release that an earlier program put in use, which counted no looks, begins at look 1. The
bound holds for all looks from then on, whatever came before them: a sum of chances needs no
independence. What the earlier looks could have done wrong they have not done, for the
release is still in use.

Source: Lan and DeMets, Biometrika 70 (1983), for spending alpha over looks whose number is
not known; Bonferroni's inequality, since candidates differ from look to look.
"""

from __future__ import annotations


def level_of_look(alpha: float, look: int) -> float:
    """
    Return the level of look number *look* (from 1) if *alpha* may be spent in all.

    Raises:
        ValueError: There is no such look.
    """
    if look < 1:
        raise ValueError(f"looks are counted from 1, got {look}")
    return alpha / (look * (look + 1))


def spent(alpha: float, looks: int) -> float:
    """
    Return how much of *alpha* the first *looks* looks spend, 0 to below *alpha*.
    """
    return alpha * looks / (looks + 1)
