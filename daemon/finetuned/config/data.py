"""
Knobs of the inbox, and of how its rows are validated and split.
"""

from __future__ import annotations

from dataclasses import dataclass

from finetuned.config.checks import ranges, words

MOST_TIMES = 10
"""Most rows that augmentation makes of one, itself included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InboxConfig:
    stability_seconds: float = 5.0
    """
    How long a file must keep its size, mtime and inode before it is claimed, in
    seconds, >= 0. Guards against half-copied files; `mv` into inbox/ needs none of it.
    """

    scan_seconds: float = 5.0
    """
    Longest time between two full scans of inbox/, in seconds, 0.1 to 60. The
    scan is the truth: file system events only make it come earlier.
    """

    max_attempts: int = 3
    """Runs a job may fail, before it is given up as failed, >= 1. Stops and power cuts are free."""

    share_run_max_examples: int = 500
    """
    Datasets of at most this many examples that wait together share one run, >= 0.
    A run costs seconds of start-up whatever its size; 0 gives each file its own.
    """

    until_idle_seconds: float = 600.0
    """
    How long `run --until-idle` waits for a file that somebody has open for writing, or that
    does not stop changing, in seconds, >= 0. Then it ends with status 75 and names the file.
    """

    def __post_init__(self) -> None:
        ranges(
            "inbox",
            self,
            stability_seconds=(0, None),
            scan_seconds=(0.1, 60),
            until_idle_seconds=(0, None),
            max_attempts=(1, None),
            share_run_max_examples=(0, None),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    max_length: int = 2048
    """
    Longest example in tokens after rendering, 16 to 131072. Longer examples are
    rejected with both numbers, never cut. The model's own limit applies as well.
    """

    max_line_bytes: int = 8 * 2**20
    """Longest line in bytes, 1 KiB to 1 GiB. A longer one is rejected without being read whole."""

    max_rejected_fraction: float = 0.05
    """
    Share of rejected lines, 0 to 1, above which the whole dataset is quarantined:
    so many bad lines mean a broken export, not a few typing errors.
    """

    unknown_keys: str = "report"
    """
    What is done with a row that has a key nobody knows: "report" (the row is trained, the
    key is kept as metadata and counted in report, status and log) or "refuse".
    """

    holdout_fraction: float = 0.05
    """Share of prompts kept out of training for evaluation, 0 to 0.5; 0 holds nothing out."""

    holdout_min_rows: int = 8
    """
    Least held-out rows of one dataset, 1 to 1000, but at most a fifth of its prompts.
    Fewer than seven rows cannot show a gain at 95% alone.
    """

    holdout_max_rows: int = 200
    """Most held-out rows of one dataset, 1 to 10000: enough for +-7 points, cheap to ask."""

    augment: str = ""
    """
    How many rows are trained for each row to train, itself included: "2x" to "10x", or "" for
    the rows as they are. The others are made of it and checked, see docs/how-to/augment-rows.md;
    held-out rows have none. A file that is a dataset already stays as it is.
    """

    self_correction: bool = False
    """
    Whether trained rows of a job that its candidate answers wrong become a new file in inbox/:
    three rows for each wrong answer, see docs/how-to/correct-what-was-not-learnt.md. At most one
    file for a job, if its version becomes head, and none for a job of such files. Off, because no
    gain was shown.
    """

    correction_examples: int = 200
    """Most rows of such a file, 3 to 10000."""

    correction_seconds: float = 60.0
    """
    How long a job's rows are asked for it, in seconds, above 0, to 3600: its verdict waits as long.
    """

    def __post_init__(self) -> None:
        words("data", self, unknown_keys=("report", "refuse"))
        words("data", self, augment=("", *(f"{n}x" for n in range(2, MOST_TIMES + 1))))
        ranges(
            "data",
            self,
            max_length=(16, 131072),
            max_line_bytes=(1024, 2**30),
            max_rejected_fraction=(0, 1),
            holdout_fraction=(0, 0.5),
            holdout_min_rows=(1, 1000),
            holdout_max_rows=(1, 10000),
            correction_examples=(3, 10000),
            correction_seconds=(0.001, 3600),
        )

    @property
    def times(self) -> int:
        """Rows that are trained for each row to train, itself included; 1 without augmentation."""
        return int(self.augment.removesuffix("x") or 1)
