"""
A set of line numbers of one file, as small as one bit for each line.

Pure.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LineSet:
    """
    Line numbers, from 0.
    """

    bits: int = 0
    """Bit n is set if line n is in the set."""

    @classmethod
    def of(cls, lines: Iterable[int]) -> LineSet:
        """
        Return the set of *lines*.
        """
        found = bytearray()
        for line in lines:
            if line // 8 >= len(found):
                found.extend(bytes(line // 8 + 1 - len(found)))
            found[line // 8] |= 1 << line % 8
        return cls(int.from_bytes(found, "little"))

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __and__(self, other: LineSet) -> LineSet:
        return LineSet(self.bits & other.bits)

    def lines(self) -> list[int]:
        """
        Return the lines in ascending order.
        """
        return [8 * i + k for i, byte in enumerate(self._bytes()) for k in _BITS_OF[byte]]

    def as_text(self) -> str:
        """
        Return the set as ASCII text, for a journal or a JSON file: base64 of the bits.
        """
        return base64.b64encode(self._bytes()).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> LineSet:
        """
        Return the set that ``as_text`` wrote.

        Raises:
            ValueError: The text is no such set.
        """
        try:
            return cls(int.from_bytes(base64.b64decode(text, validate=True), "little"))
        except binascii.Error as error:
            raise ValueError(f"not a set of lines: {error}") from None

    def _bytes(self) -> bytes:
        return self.bits.to_bytes((self.bits.bit_length() + 7) // 8, "little")


_BITS_OF = [[k for k in range(8) if byte >> k & 1] for byte in range(256)]
"""For each byte the numbers of its bits that are set."""
