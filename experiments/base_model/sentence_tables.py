"""
The tables in ``sentences/``: ways to say a command that only the base model's corpus uses.

Each line has a block, what the sentence asks for, and a template, as in
``finetuned.sources.intents`` (``wording.tsv`` there). Knows the columns; does not know
names or how often a sentence is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from finetuned.sources.intents.catalog import Template

FOLDER = Path(__file__).parent / "sentences"


@cache
def tables() -> Mapping[str, tuple[Template, ...]]:
    """
    Return block -> its templates, those of every table, in the order of the files.

    Raises:
        ValueError: A line does not have three columns.
    """
    blocks: dict[str, list[Template]] = {}
    for path in sorted(FOLDER.glob("*.tsv")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if line.startswith("#"):
                continue
            columns = line.split("\t")
            if len(columns) != 3:
                raise ValueError(f"{path.name}:{number}: {len(columns)} columns, expected 3")
            block, spec, text = columns
            order = not text.startswith("= ")
            blocks.setdefault(block, []).append(
                Template(f"{block}.{path.stem}:{number}", spec, text.removeprefix("= "), order)
            )
    return {block: tuple(found) for block, found in blocks.items()}
