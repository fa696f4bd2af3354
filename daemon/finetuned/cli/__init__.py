"""
The commands of ``finetuned``: one file per verb, each of which defines a ``VERB``.

Importing a verb loads nothing heavy; what it works with is imported when it runs.
"""

from __future__ import annotations


def main() -> int:
    """
    Run the console script with the arguments of this process.

    Returns:
        The exit status.
    """
    from finetuned.cli.program import run_process

    return run_process()
