"""
Rows made of what a model answered wrong: the question again, with a hint that says what was wrong.

``trained_rows`` draws rows that were trained, ``Collector`` asks them and makes the rows. Rows that
a suite or a held-out row asks are never asked, nor are rows that were made here before.
"""

from finetuned.sources.correction.collect import Answered, Collected, Collector, Counts
from finetuned.sources.correction.forms import FORMS, Wrong, rows_of
from finetuned.sources.correction.trained_rows import DrawnRows, TrainedRow, trained_rows

__all__ = [
    "FORMS",
    "Answered",
    "Collected",
    "Collector",
    "Counts",
    "DrawnRows",
    "TrainedRow",
    "Wrong",
    "rows_of",
    "trained_rows",
]
