"""
Names of hosts, people, groups, shares and paths, in two disjoint halves: training and test.

Every name is built around a stem, and the hash of a stem decides which half it
belongs to; an address is hashed as a whole. So no row of the test set holds a
name that training has seen, however many of either are drawn.

Knows what names look like; does not know sentences.
"""

from __future__ import annotations

import hashlib
import ipaddress
import random
from collections.abc import Callable

from finetuned.sources.intents.tables import stems

HELDOUT_SHARE = 6
"""One stem in this many belongs to the test set."""


_CODAS = ("", "", "", "n", "r", "l", "s", "x", "m", "t", "ck", "nd")
"""Endings of invented syllables; most have none."""

# Words that sentences use too never belong to the test set: it shares no word with training.
_ORDINARY = frozenset(
    [
        "cache",
        "files",
        "node",
        "log",
        "queue",
        "music",
        "museum",
        "docker",
        "ops",
        "public",
        "catalog",
    ]
)


def is_heldout(stem: str) -> bool:
    """
    Tell whether *stem* (a bare name, or an IP address) belongs to the test half.
    """
    if stem in _ORDINARY:
        return False
    digest = hashlib.sha256(f"heldout:{stem}".encode()).digest()
    return int.from_bytes(digest[:4]) % HELDOUT_SHARE == 0


class Names:
    """
    A stream of names from one half.

    Args:
        rng: Where the draws come from.
        heldout: True for the test half, False for the training half.
    """

    def __init__(self, rng: random.Random, *, heldout: bool) -> None:
        self._rng = rng
        self._heldout = heldout

    def draw(self, kind: str) -> str:
        """
        Return a name of *kind*.

        Args:
            kind: One of ``_makers``, with or without a final digit.

        Raises:
            KeyError: There is no such kind.
        """
        makers = self._makers()
        while kind not in makers and kind[-1:].isdigit():
            kind = kind[:-1]
        return makers[kind]()

    def _makers(self) -> dict[str, Callable[[], str]]:
        """Return what draws a name, by its kind."""
        return {
            "zone": self._zone,
            "target": self._zone,
            "wild": lambda: f"*.{self._zone()}",
            "ip": lambda: self._ip6() if self._rng.random() < 0.2 else self._ip4(),
            "ip4": self._ip4,
            "ip6": self._ip6,
            "user": self._user,
            "group": self._group,
            "share": self._share,
            "path": self._path,
            "secret": lambda: (
                f"secret://{self._rng.choice(('', '', 'users/', 'vault/'))}{self._stem('person')}"
            ),
        }

    def _stem(self, kind: str) -> str:
        # Invented words keep a model from learning the bank by heart.
        while True:
            invented = self._rng.random() < 0.5
            if not invented:
                stem = self._rng.choice(stems(kind))
            else:
                stem = "".join(
                    self._rng.choice(part)
                    for _ in range(self._rng.choice((1, 2, 2, 3)))
                    for part in (stems("onset"), stems("nucleus"), _CODAS)
                )
            # A short invented word may be a real word that some sentence holds.
            shortest = 5 if invented and self._heldout else 3
            if len(stem) >= shortest and is_heldout(stem) == self._heldout:
                return stem

    def _zone(self) -> str:
        rng, suffixes = self._rng, stems("suffix")
        host = self._stem("host")
        host += rng.choice(("", "", "", str(rng.randint(1, 99)), f"-{rng.randint(1, 30):02d}"))
        if rng.random() < 0.1:
            host += "-" + self._stem("host")
        form = rng.random()
        if form < 0.35:
            return f"{host}.{rng.choice(suffixes)}"
        domain = self._stem("domain")
        if form < 0.9:
            return f"{host}.{domain}.{rng.choice(suffixes)}"
        return f"{host}.{self._stem('domain')}.{domain}.{rng.choice(suffixes)}"

    def _ip4(self) -> str:
        rng = self._rng
        while True:
            a, b, c, d = (rng.randint(0, 255) for _ in range(4))
            head = rng.choice(
                (
                    f"10.{b}.{c}",
                    f"10.0.{c % 20}",
                    f"192.168.{c}",
                    f"172.{16 + b % 16}.{c}",
                    f"{1 + a % 222}.{b}.{c}",
                )
            )
            address = f"{head}.{1 + d % 254}"
            if is_heldout(address) == self._heldout:
                return address

    def _ip6(self) -> str:
        rng = self._rng
        while True:
            head = rng.choice(
                (
                    "fd00",
                    f"fd{rng.randint(0, 255):02x}:{rng.randint(1, 65535):x}",
                    "2001:db8",
                    f"2001:db8:{rng.randint(1, 65535):x}",
                    f"2a01:{rng.randint(1, 4095):x}",
                    "fe80",
                )
            )
            tail = rng.choice(
                (
                    f"{rng.randint(1, 255):x}",
                    f"{rng.randint(1, 65535):x}",
                    f"{rng.randint(1, 65535):x}:{rng.randint(1, 65535):x}",
                )
            )
            address = str(ipaddress.ip_address(f"{head}::{tail}"))
            if is_heldout(address) == self._heldout:
                return address

    def _user(self) -> str:
        rng = self._rng
        stem = self._stem("person")
        return rng.choice(
            (
                stem,
                stem,
                stem,
                f"{rng.choice('abcdefghijklmnoprstvw')}.{stem}",
                f"{stem}{rng.randint(1, 99)}",
                f"{stem}_{rng.choice('abcdefghijklmnoprstvw')}",
                f"{stem}.{self._stem('person')}",
                f"svc-{stem}",
            )
        )

    def _group(self) -> str:
        rng = self._rng
        stem = self._stem("group")
        return rng.choice(
            (
                stem,
                stem,
                stem,
                f"{stem}-{rng.choice(('team', 'rw', 'ro', 'eu', 'all'))}",
                f"{stem}{rng.randint(1, 9)}",
                f"{stem}_{rng.choice(('users', 'team', 'ext'))}",
            )
        )

    def _share(self) -> str:
        rng = self._rng
        stem = self._stem("share")
        return rng.choice(
            (
                stem,
                stem,
                stem,
                f"{stem}-{self._stem('group')}",
                f"{stem}{rng.randint(2000, 2030)}",
                f"{stem}_{rng.choice(('old', 'new', 'shared', 'team'))}",
            )
        )

    def _path(self) -> str:
        rng = self._rng
        path = f"{rng.choice(stems('parent'))}/{self._stem('share')}"
        if rng.random() < 0.25:
            path += f"/{self._stem('group')}"
        if rng.random() < 0.15:
            path += str(rng.randint(1, 2030))
        return path
