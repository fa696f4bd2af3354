"""
The wording tables beside this file: sentences, parts of sentences and names.

One tab-separated row per line; lines that begin with ``#`` are comments. A table
is read when it is first needed. The order of its rows decides what a seed draws,
so a row is added at the end of its block and never moved. Knows the columns; does
not know how sentences are made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Predicate:
    """
    Who or what is to do or be something, as parts of templates.
    """

    spec: str
    """What it asks for."""
    subject: str
    predicate: str


def _rows(name: str, columns: int) -> list[Row]:
    """
    Return the rows of the table *name*.

    Raises:
        ValueError: A row has another number of columns.
    """
    found = []
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#"):
            continue
        row = tuple(line.split("\t"))
        if len(row) != columns:
            raise ValueError(f"{name}:{number}: {len(row)} columns, expected {columns}")
        found.append(row)
    return found


@cache
def wording() -> Mapping[str, tuple[tuple[str, str], ...]]:
    """
    Return block -> (what it asks for, template) of every sentence of the training set.
    """
    blocks: dict[str, list[tuple[str, str]]] = {}
    for block, spec, template in _rows("wording.tsv", 3):
        blocks.setdefault(block, []).append((spec, template))
    return {block: tuple(rows) for block, rows in blocks.items()}


@cache
def frames() -> tuple[str, ...]:
    """
    Return the templates that hold SUBJECT and PREDICATE.
    """
    return tuple(frame for (frame,) in _rows("frames.tsv", 1))


@cache
def predicates() -> Mapping[str, tuple[Predicate, ...]]:
    """
    Return block -> the predicates that are put into each frame.
    """
    blocks: dict[str, list[Predicate]] = {}
    for block, spec, subject, predicate in _rows("predicates.tsv", 4):
        blocks.setdefault(block, []).append(Predicate(spec, subject, predicate))
    return {block: tuple(rows) for block, rows in blocks.items()}


@cache
def phrases(kind: str) -> tuple[str, ...]:
    """
    Return the parts of sentences of one *kind*: opener, greeting, closer or joint.

    Raises:
        KeyError: There is no such kind.
    """
    found = tuple(text for row_kind, text in _rows("phrases.tsv", 2) if row_kind == kind)
    if not found:
        raise KeyError(kind)
    return found


@cache
def macros() -> Mapping[str, str]:
    """
    Return what each macro of a template stands for, such as ``@NEW``.
    """
    return {
        kind.removeprefix("macro "): text
        for kind, text in _rows("phrases.tsv", 2)
        if kind.startswith("macro ")
    }


@cache
def stems(kind: str) -> tuple[str, ...]:
    """
    Return the stems of one *kind* of name: host, domain, person, group, share,
    suffix, parent, onset or nucleus.

    Raises:
        KeyError: There is no such kind.
    """
    return {name: tuple(words.split()) for name, words in _rows("names.tsv", 2)}[kind]


@cache
def heldout_sentences() -> Mapping[str, tuple[tuple[str, str], ...]]:
    """
    Return group -> (phrasing, what it asks for) of the test set's own sentences.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for group, spec, phrasing in _rows("heldout.tsv", 3):
        groups.setdefault(group, []).append((phrasing, spec))
    return {group: tuple(rows) for group, rows in groups.items()}


@dataclass(frozen=True, slots=True)
class Family:
    """
    One way to say a command: a template that somebody wrote.
    """

    number: int
    """Its place in the table of its domain, from 0."""
    only_tests: bool
    """Whether no training row is drawn from it."""
    spec: str
    """What it asks for."""
    text: str


@cache
def families(domain: str) -> tuple[Family, ...]:
    """
    Return the families of one domain, in the order of its table.

    Raises:
        ValueError: The use of one is neither ``train`` nor ``test``.
    """
    found: list[Family] = []
    for use, spec, text in _rows(f"families_{domain}.tsv", 3):
        if use not in ("train", "test"):
            raise ValueError(f"families_{domain}.tsv: {use!r} is neither 'train' nor 'test'")
        found.append(Family(len(found), use == "test", spec, text))
    return tuple(found)
