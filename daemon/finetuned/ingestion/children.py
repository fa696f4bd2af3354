"""
The children of a dataset's training rows, as ``data.augment`` asks for them.

They are made after the split, of rows that are trained, so that none is ever made of a held-out
row. They depend on the rows, their lines and the settings alone: after a crash the same ones are
made again. Knows one file's dataset in the making and what is kept out; does not know jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from finetuned.data import store
from finetuned.data.examples import Example, prompt_hash
from finetuned.data.holdout import HELD_OUT, RESERVED, TRAIN, PromptIndex
from finetuned.data.render import Renderer
from finetuned.data.row_family import family_of
from finetuned.data.training_sequence import TrainingSequence
from finetuned.errors import MalformedExample, SuiteError
from finetuned.sources.augment import ChildMaker, FileFacts, KeptOut, Known, chosen
from finetuned.sources.augment.exchange import exchange_of

SEED: Final = 0
"""Of all children that ingestion makes."""

Batches = Callable[[int], Iterator[list[tuple[int, Example]]]]
"""Given TRAIN, HELD_OUT or RESERVED, reads the rows of that split with their lines."""


class Children:
    """
    Makes children, for one file after another.
    """

    def __init__(
        self, times: int, renderer: Renderer, datasets: Path, benchmarks: Path | None
    ) -> None:
        """
        Args:
            times: Rows for each row to train, itself included; at least 2.
            renderer: Of the base that is trained.
            datasets: Folder of the published datasets.
            benchmarks: Folder of the suites.
        """
        self._times = times
        self._renderer = renderer
        self._rendered: list[TrainingSequence] = []
        self._kept_out: KeptOut | None = None
        self._why_not: str | None = None
        try:
            self._kept_out = KeptOut.load(datasets, benchmarks)
        except SuiteError as error:
            self._why_not = f"a suite cannot be read, so no row can be compared with it: {error}"

    def published(self, folder: Path) -> None:
        """
        Keep the held-out rows of a new dataset out as well.
        """
        if self._kept_out is not None:
            self._kept_out.add_dataset(folder)

    def add(self, writer: store.DatasetWriter, name: str, batches: Batches) -> dict[str, object]:
        """
        Add the children of all rows that are trained to the dataset.

        Args:
            writer: Closed, with all rows of the file.
            name: What people call the file.
            batches: Its rows.

        Returns:
            For the report: how many there are, of which transforms, and why not more.
        """
        said: dict[str, object] = {"times": self._times, "seed": SEED}
        if self._kept_out is None:
            return {**said, "none_because": self._why_not}
        kept_out = self._kept_out.copy()
        for split in (HELD_OUT, RESERVED):
            for rows in batches(split):
                kept_out.add(example for _, example in rows)
        prompts = PromptIndex()
        for hashes, _ in writer.families():
            prompts.add(np.unique(hashes))
        maker = ChildMaker(
            facts=_facts(batches),
            kept_out=kept_out,
            known=Known(prompts),
            transforms=chosen(None),
            times=self._times,
            seed=SEED,
            source=name,
            accepts=self._refusal,
        )
        before = writer.n_sequences, writer.n_tokens
        writer.reopen()
        try:
            self._add(writer, maker, batches)
        finally:
            writer.close()
        return {
            **said,
            **maker.counts.as_dict(),
            "sequences": writer.n_sequences - before[0],
            "tokens": writer.n_tokens - before[1],
        }

    def _add(self, writer: store.DatasetWriter, maker: ChildMaker, batches: Batches) -> None:
        for rows in batches(TRAIN):
            for line, example in rows:
                for child in maker.children(example, line):
                    writer.add_child(
                        line=line,
                        prompt_hash=prompt_hash(child.example),
                        family=family_of(child.example),
                        sequences=self._rendered,
                    )

    def _refusal(self, example: Example) -> str | None:
        try:
            self._rendered = self._renderer.render(example)
        except MalformedExample as error:
            return error.code
        return None


def _facts(batches: Batches) -> FileFacts:
    facts = FileFacts()
    for rows in batches(TRAIN):
        for _, example in rows:
            exchange = exchange_of(example)
            if not isinstance(exchange, str):
                facts.add(exchange)
    return facts
