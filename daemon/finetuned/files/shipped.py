"""
What comes with the program: the embedded base model and the benchmark suites.

In a checkout they lie at its top; in an installed package, below finetuned/shipped/,
where setup.py put them. This is the one file that knows the difference.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from finetuned.layout import Layout

_PACKAGE = Path(__file__).resolve().parents[1]


@cache
def checkout() -> Path | None:
    """
    Return the checkout that the running code lies in, None if the package is installed.

    A checkout is recognised by setup.cfg beside daemon/.
    """
    top = _PACKAGE.parents[1]
    return top if (top / "setup.cfg").is_file() and _PACKAGE.parent.name == "daemon" else None


def shipped() -> Layout:
    """
    Return the folders that come with the program, by the names that a root gives them.

    Only ``bases`` and ``benchmarks`` exist there, and they may be read-only.
    """
    return Layout(checkout() or _PACKAGE / "shipped")


def find_suite(layout: Layout, name: str) -> Path | None:
    """
    Return the suite *name*: the root's own, else the one that comes with the program, else None.

    Args:
        layout: The root; its benchmarks/ is looked at first.
        name: A file name without .jsonl, as in ``infra_200``.
    """
    for folder in (layout.benchmarks, shipped().benchmarks):
        if (path := folder / f"{name}.jsonl").is_file():
            return path
    return None
