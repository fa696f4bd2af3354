"""
What the validation counted in one dropped file, in words.

Pure: a report in, labelled facts out. Knows words; does not know files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from finetuned.core.unused_keys import unused_keys

Fact = tuple[str, str]
"""A label and its text."""


def facts_of(report: Mapping[str, object]) -> Iterator[Fact]:
    """
    Yield what a person should know of the rows of one file beside their counts.

    Args:
        report: As report.json has it; what it does not say is left out.
    """
    yield from _refused(report)
    accepted, split = report.get("rows_accepted"), report.get("split")
    if not isinstance(accepted, int) or not isinstance(split, Mapping):
        return
    distinct = split.get("distinct_prompts")
    if isinstance(distinct, int) and distinct < accepted:
        yield "repeats", f"{accepted:,} accepted rows ask {distinct:,} different questions"
    if because := split.get("no_heldout_because"):
        yield "held out", f"none, because {because}"
    yield from _augmentation(report.get("augmentation"))
    unused = report.get("unused_keys")
    if isinstance(unused, dict) and unused:
        yield "unused", f"keys that are not trained: {unused_keys(unused, accepted)}"


def _augmentation(counts: object) -> Iterator[Fact]:
    """Yield what became of the children that data.augment asked for."""
    if not isinstance(counts, Mapping):
        return
    if because := counts.get("none_because"):
        yield "augmented", f"no, because {because}"
        return
    made, wanted, dropped = (counts.get(key) for key in ("made", "wanted", "dropped"))
    yield "augmented", f"{made} of {wanted} rows were made of those to train"
    if isinstance(dropped, Mapping) and dropped:
        reasons = ", ".join(f"{n} {reason}" for reason, n in dropped.items())
        yield "", f"not made: {reasons}"


def codes_of(report: Mapping[str, object]) -> str:
    """
    Return how many rows were refused for which reason, empty if none was.
    """
    codes = report.get("rejected")
    return ", ".join(f"{n} {code}" for code, n in codes.items()) if isinstance(codes, dict) else ""


def _refused(report: Mapping[str, object]) -> Iterator[Fact]:
    """Yield each reason for which rows were refused, with its first line if that is listed."""
    codes, listed = report.get("rejected"), report.get("first_rejects")
    if not isinstance(codes, Mapping):
        return
    first: dict[object, str] = {}
    for line in listed if isinstance(listed, list) else ():
        if isinstance(line, Mapping):
            said = f" (the first is line {line.get('line')}: {line.get('reason')})"
            first.setdefault(line.get("code"), said)
    for number, (code, n) in enumerate(codes.items()):
        yield "" if number else "refused", f"{n} {code}{first.get(code, '')}"
