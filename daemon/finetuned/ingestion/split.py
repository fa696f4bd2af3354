"""
The second pass over a file: which rows are held out, and whether training rows give them away.

Writes the held-out rows and the hashes that later datasets are compared with.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from finetuned.config import DataConfig
from finetuned.core.phase import Phase
from finetuned.data import store
from finetuned.data.examples import Example, to_record
from finetuned.data.holdout import (
    HELD_OUT,
    TRAIN,
    Hashes,
    Holdout,
    PromptIndex,
    choose_holdout,
    distinct,
    write_hashes,
)
from finetuned.data.leak import LeakCheck
from finetuned.data.reader import to_example
from finetuned.data.render import Renderer
from finetuned.data.strict_json import parse_line
from finetuned.errors import MalformedExample, UnstableDataset
from finetuned.ingestion.children import Children
from finetuned.ingestion.history import History
from finetuned.ingestion.report import Report
from finetuned.ingestion.source import Tick

Families = Iterator[tuple[Hashes, Hashes]]
"""The prompt hash and the family of every row, in chunks."""

_ROWS_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class SecondPass:
    """
    The parts of one file's second pass.
    """

    renderer: Renderer
    config: DataConfig
    history: History
    """What earlier datasets trained and held out."""
    writer: store.DatasetWriter
    """Holds the rows that the first pass accepted."""
    report: Report
    children: Children | None = None
    """Makes more rows of those to train; None if it is not asked for."""

    def run(self, fd: int, tick: Tick) -> int:
        """
        Decide the split, write the held-out rows and look for leaks.

        Args:
            fd: The open source.
            tick: Called between batches; may raise Interrupted.

        Returns:
            The number of training sequences.

        Raises:
            UnstableDataset: A line is no longer what the first pass read.
            OSError: The disk refused.
        """
        tick(Phase.SPLITTING, self.report.rows_read, 0)

        def families() -> Iterator[tuple[Hashes, Hashes]]:
            for part in self.writer.families():
                tick(Phase.SPLITTING, self.report.rows_read, 0)
                yield part

        holdout = self._choose(families)
        if self.children is not None:
            self.report.augmentation = self.children.add(
                self.writer,
                self.report.name,
                lambda split: self._batches(fd, holdout, split, tick),
            )
        n_train = self.writer.apply_holdout(holdout)
        self._write_prompts(holdout, families)
        self.report.set_split(_rows_of_each_split(holdout, families()), holdout, n_train)
        hits = self.writer.folder / ".hits.tmp"
        check = LeakCheck(n_train_rows=self.report.train_rows, hits_file=hits)
        check.add_earlier(ngrams=self.history.ngrams, answers=self.history.answers)
        self._write_held_out(fd, holdout, check, tick)

        def training_rows() -> Iterator[list[Example]]:
            n_rows = 0
            for rows in self._rows_of(fd, holdout, TRAIN):
                tick(Phase.LEAK_CHECK, n_rows, 0)
                yield [example for _, example in rows]
                n_rows += len(rows)

        self.report.leaks = asdict(check.check(training_rows()))
        self.writer.forget_rows()
        return n_train

    def _choose(self, families: Callable[[], Families]) -> Holdout:
        def originals() -> Iterator[Hashes]:
            return (prompts[of == prompts] for prompts, of in families())

        return choose_holdout(
            originals,
            self.writer.n_originals,
            fraction=self.config.holdout_fraction,
            min_rows=self.config.holdout_min_rows,
            max_rows=self.config.holdout_max_rows,
            trained=self.history.trained,
            held_out=self.history.held_out,
        )

    def _batches(
        self, fd: int, holdout: Holdout, wanted: int, tick: Tick
    ) -> Iterator[list[tuple[int, Example]]]:
        n_rows = 0
        for rows in self._rows_of(fd, holdout, wanted):
            tick(Phase.SPLITTING, n_rows, 0)
            yield rows
            n_rows += len(rows)

    def _write_prompts(self, holdout: Holdout, families: Callable[[], Families]) -> None:
        """
        Write which prompts were trained, with the families of trained children, and which not.
        """
        writer = self.writer

        def trained() -> Iterator[Hashes]:
            for prompts, of in families():
                split = holdout.split(prompts, of)
                yield np.concatenate([prompts[split == TRAIN], of[split == TRAIN]])
            yield from writer.children()

        n_at_most = 2 * writer.n_rows + writer.n_sequences
        path = writer.folder / store.PROMPTS_TRAIN
        write_hashes(path, (u for u, _ in distinct(trained, n_at_most)))
        index = PromptIndex()
        index.add_file(path)

        def others() -> Iterator[Hashes]:
            for prompts, of in families():
                left = prompts[holdout.split(prompts, of) != TRAIN]
                # A child that is not trained may say what a trained row says as well.
                yield left[~index.contains(left)]

        path = writer.folder / store.PROMPTS_HELD_OUT
        write_hashes(path, (u for u, _ in distinct(others, writer.n_rows)))

    def _write_held_out(self, fd: int, holdout: Holdout, check: LeakCheck, tick: Tick) -> None:
        folder: Path = self.writer.folder
        with (folder / store.HELD_OUT_EXAMPLES).open("wb") as f:
            for rows in self._rows_of(fd, holdout, HELD_OUT):
                tick(Phase.SPLITTING, self.report.rows_read, 0)
                for number, example in rows:
                    check.add_held_out(example)
                    f.write(orjson.dumps(self._record(number, example)) + b"\n")
        grams, answers = check.held_out_hashes()
        write_hashes(folder / store.HELD_OUT_NGRAMS, [grams])
        write_hashes(folder / store.HELD_OUT_ANSWERS, [answers])

    def _record(self, number: int, example: Example) -> dict[str, Any]:
        identity = f"{self.report.dataset_id}:{number}"
        record = {"id": identity, "line": number, **to_record(example)}
        if example.kind == "text":
            return {**record, "system": None, "prompt": None, "golden": None}
        system = [m["content"] for m in example.messages if m["role"] == "system"]
        users = [m["content"] for m in example.messages if m["role"] == "user"]
        return {
            **record,
            "system": system[0] if system else None,
            "prompt": users[-1] if users else None,
            "golden": self.renderer.golden(example),
        }

    def _rows_of(
        self, fd: int, holdout: Holdout, wanted: int
    ) -> Iterator[list[tuple[int, Example]]]:
        """
        Read the rows of one split again, and yield them with their line numbers.
        """
        for rows in self.writer.rows():
            split = holdout.split(rows["prompt_hash"].copy(), rows["family"].copy())
            chosen = rows[split == wanted]
            for start in range(0, len(chosen), _ROWS_AT_ONCE):
                batch = []
                for row in chosen[start : start + _ROWS_AT_ONCE]:
                    line = os.pread(fd, int(row["length"]), int(row["offset"]))
                    try:
                        batch.append((int(row["line"]), to_example(parse_line(line))))
                    except MalformedExample:
                        raise UnstableDataset(
                            f"line {row['line']} changed between two reads"
                        ) from None
                yield batch


def _rows_of_each_split(holdout: Holdout, families: Families) -> list[int]:
    rows_of = [0, 0, 0]
    for prompts, of in families:
        split = holdout.split(prompts, of)
        for value in range(3):
            rows_of[value] += int((split == value).sum())
    return rows_of
