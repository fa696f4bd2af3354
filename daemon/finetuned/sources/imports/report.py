"""
What became of everything that a source holds, as counts that add up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from finetuned.core.review import Reason
from finetuned.sources.imports.found import Refusal

EXAMPLES: Final = 5
"""Refusals that are kept for each reason; all are counted."""


@dataclass(slots=True)
class Refused:
    """
    Refusals for one reason.
    """

    n: int = 0
    examples: list[Refusal] = field(default_factory=list)
    """The first EXAMPLES."""


@dataclass(slots=True)
class Report:
    """
    What became of one import. rows_found = rows_written + rows_to_review + rows_refused.
    """

    kind: str
    source: Path
    target: Path | None = None
    """The file with the rows that may be trained; None if there is none of them."""
    unchanged: bool = False
    """Whether *target* was there already, with the same bytes."""
    rows_found: int = 0
    rows_written: int = 0
    rows_to_review: int = 0
    """Rows of which a person must look at each answer first."""
    answers_queued: int = 0
    """Answers that wait for review since now; a conversation may have several."""
    answers_known: int = 0
    """Answers that were in the review queue already, or were decided on."""
    secrets_replaced: int = 0
    """Rows in which a secret was replaced."""
    reasons: Counter[Reason] = field(default_factory=Counter)
    """Why rows wait; a row may have several reasons."""
    refused: dict[str, Refused] = field(default_factory=dict)

    @property
    def rows_refused(self) -> int:
        """Rows that are neither written nor queued."""
        return sum(refused.n for refused in self.refused.values())

    def refuse(self, refusal: Refusal) -> None:
        """
        Count something that becomes no row.
        """
        refused = self.refused.setdefault(refusal.reason, Refused())
        refused.n += 1
        if len(refused.examples) < EXAMPLES:
            refused.examples.append(refusal)

    def as_dict(self) -> dict[str, object]:
        """
        Return the report as JSON.
        """
        return {
            "kind": self.kind,
            "source": str(self.source),
            "output": None if self.target is None else str(self.target),
            "unchanged": self.unchanged,
            "rows_found": self.rows_found,
            "rows_written": self.rows_written,
            "rows_to_review": self.rows_to_review,
            "answers_queued": self.answers_queued,
            "answers_known": self.answers_known,
            "secrets_replaced": self.secrets_replaced,
            "reasons": {str(reason): n for reason, n in sorted(self.reasons.items())},
            "rows_refused": self.rows_refused,
            "refused": {
                reason: {
                    "n": refused.n,
                    "examples": [
                        {
                            "file": one.place.file,
                            "line": one.place.line,
                            "part": one.place.part,
                            "detail": one.detail,
                        }
                        for one in refused.examples
                    ],
                }
                for reason, refused in sorted(self.refused.items())
            },
        }
