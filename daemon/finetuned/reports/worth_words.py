"""
Cost, energy and change as people read them, on pages and in terminals.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetuned.core.cost import Cost
from finetuned.core.worth import Effect, Right, Worth
from finetuned.reports.wording import number, percent, signed

if TYPE_CHECKING:
    from finetuned.data.near_rows import NearRows


WORTHS = {
    Worth.GAIN: "yes",
    Worth.HARM: "no: it got worse",
    Worth.KNOWN: "no: known already",
    Worth.NOTHING: "no: nothing was learnt",
    Worth.UNSURE: "not shown",
}
"""Whether a file was worth it, in a cell of a table."""


def money_of(amount: float, currency: str) -> str:
    """
    Return an amount with its currency; small ones with four places.
    """
    digits = 4 if abs(amount) < 1 else 2
    return f"{amount:,.{digits}f} {currency}"


def price_of(cost: Cost, currency: str) -> str:
    """
    Return what some runs cost; ``?`` if that is not known, a dash if there were none.
    """
    if cost.runs and not cost.is_known:
        return "?"
    return money_of(cost.money, currency) if cost.runs else "-"


def energy_of(cost: Cost) -> str:
    """
    Return the energy with its unit; ``~`` marks an estimate, ``?`` what was not measured.
    """
    if cost.runs == cost.unmetered:
        return "?" if cost.runs else "-"
    about, more = "~" if cost.estimated else "", " + ?" if cost.unmetered else ""
    if cost.kwh >= 0.1:
        return f"{about}{number(cost.kwh, digits=2)} kWh{more}"
    return f"{about}{number(1000 * cost.kwh, digits=3)} Wh{more}"


def change_of(effect: Effect | None) -> str:
    """
    Return a change in points with its 95% interval.
    """
    if effect is None:
        return "-"
    return f"{signed(effect.points)} ({signed(effect.low)} to {signed(effect.high)})"


def before_of(right: Right | None) -> str:
    """
    Return how many held-out rows were right before, as counts.
    """
    return "-" if right is None else f"{right.right}/{right.asked}"


def near_of(near: NearRows | None) -> str:
    """
    Return the share of near rows; a dash if it is not known.
    """
    return "-" if near is None or not near.looked else percent(near.near / near.looked)
