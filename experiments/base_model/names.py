"""
Names as people give them: any word may be one, and several in a sentence belong together.

A share is often called as the last folder of its path, an alias lies in the domain of
its target. Every stem but what hosts end in is of the training half
(``finetuned.sources.intents.entities``).

Knows what names look like and what belongs together; does not know sentences.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import cache

from experiments.base_model import wording
from finetuned.sources.intents.entities import is_heldout
from finetuned.sources.intents.grammar import GAP, tidy
from finetuned.sources.intents.service_names import ServiceNames
from finetuned.sources.intents.tables import stems

ENDINGS = tidy(
    "lan local internal home box office intern corp example test dev cloud net org com io de fr nl"
    " uk se eu info app site zone home.lan office.lan corp.local home.local prod.internal"
    " dev.internal lab.example branch.office"
).split()
"""What hosts end in, beside ``names.tsv``: many, so that the end is copied and not guessed."""


@cache
def ordinary_words() -> tuple[str, ...]:
    """
    Return words of everyday language that may be names in the training half.
    """
    words = {w for bank in wording.SMALL_TALK.values() for w in bank.split()}
    return tuple(sorted(w for w in words if len(w) >= 3 and not is_heldout(w)))


class WideNames(ServiceNames):
    """
    Names of the training half, with everyday words and many domains among them.

    Args:
        rng: Where the draws come from.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng, heldout=False)

    def _stem(self, kind: str) -> str:
        if kind != "suffix" and self._rng.random() < 0.2:
            return self._rng.choice(ordinary_words())
        return super()._stem(kind)

    def _zone(self) -> str:
        if self._rng.random() < 0.5:
            return super()._zone()
        return f"{self._host()}.{self.domain()}"

    def _host(self) -> str:
        rng = self._rng
        host = self._stem("host")
        return host + rng.choice(("", "", "", f"{rng.randint(1, 99)}", f"-{rng.randint(1, 30)}"))

    def domain(self) -> str:
        """
        Return what hosts of one site have in common, such as ``home.lan``.
        """
        rng = self._rng
        end = rng.choice(ENDINGS)
        if rng.random() < 0.15:
            end = "".join(rng.choice(part) for part in (stems("onset"), stems("nucleus"), "nrlst"))
            while is_heldout(end):
                end += rng.choice("aeiou")
        return end if rng.random() < 0.4 else f"{self._stem('domain')}.{end}"

    def for_gaps(self, gaps: Iterable[str]) -> dict[str, str]:
        """
        Draw a name for every gap, no two of them equal.

        Args:
            gaps: Names of gaps, such as ``zone`` or ``user2``.
        """
        rng = self._rng
        values: dict[str, str] = {}
        gaps = tuple(dict.fromkeys(gaps))
        domain = self.domain() if rng.random() < 0.4 else ""
        for gap in gaps:
            kind = gap[:-1] if gap[-1] in "23" else gap
            while (name := self._one(kind, domain, values)) in values.values():
                domain = "" if rng.random() < 0.2 else domain
            values[gap] = name
        return values

    def _one(self, kind: str, domain: str, values: dict[str, str]) -> str:
        rng = self._rng
        if domain and kind in ("zone", "target", "wild"):
            host = f"{self._host()}.{domain}"
            return host if kind != "wild" else f"*.{rng.choice((domain, host))}"
        if kind == "path" and "share" in values and rng.random() < 0.4:
            return f"{rng.choice(stems('parent'))}/{values['share']}"
        if kind == "share" and "path" in values and rng.random() < 0.4:
            return values["path"].rpartition("/")[2]
        return self.draw(kind)


def gaps_of(phrasing: str) -> tuple[str, ...]:
    """
    Return the gaps of *phrasing* in their order, each once.
    """
    return tuple(dict.fromkeys(GAP.findall(phrasing)))
