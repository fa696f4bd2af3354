"""
The states of one dropped file, from its claim to its last place.
"""

from __future__ import annotations

from enum import StrEnum


class DatasetState(StrEnum):
    CLAIMED = "claimed"  # taken out of the inbox, not validated yet
    ACCEPTED = "accepted"  # validated; waits for a job, or belongs to one
    DUPLICATE = "duplicate"  # same bytes as an earlier dataset; not trained again
    QUARANTINED = "quarantined"  # refused; its original is in inbox/rejected/
    RETIRED = "retired"  # its original is in inbox/done/ or rejected/; a retry changes no state
