"""
The prompts that all datasets so far trained and held out, as four sets of hashes.

One worker keeps it for the length of its run. It is the only author of datasets, so
no other dataset appears after it has read those that exist.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from finetuned.data import store
from finetuned.data.holdout import PromptIndex
from finetuned.data.suite import suite_files, suite_prompts
from finetuned.errors import SuiteError
from finetuned.layout import MANIFEST


class History:
    """
    The hashes of all published datasets.
    """

    def __init__(self) -> None:
        self.trained = PromptIndex()
        self.held_out = PromptIndex()
        self.ngrams = PromptIndex()
        self.answers = PromptIndex()

    @classmethod
    def load(cls, datasets_dir: Path, benchmarks: Path | None = None) -> History:
        """
        Read the hashes of every finished dataset under *datasets_dir*, and of every benchmark.

        The prompts of a benchmark are held out like the rows of an earlier dataset. A
        suite that cannot be read holds nothing out; the gate refuses such a suite.
        """
        history = cls()
        for suite in suite_files(benchmarks) if benchmarks is not None else ():
            try:
                history.held_out.add(np.unique(np.array(list(suite_prompts(suite)), dtype="<u8")))
            except SuiteError:
                continue
        for entry in sorted(os.listdir(datasets_dir)):
            if not entry.startswith(".") and (datasets_dir / entry / MANIFEST).is_file():
                history.add(datasets_dir / entry)
        return history

    def add(self, folder: Path) -> None:
        """
        Add the hashes of the finished dataset in *folder*.
        """
        self.trained.add_file(folder / store.PROMPTS_TRAIN)
        self.held_out.add_file(folder / store.PROMPTS_HELD_OUT)
        self.ngrams.add_file(folder / store.HELD_OUT_NGRAMS)
        self.answers.add_file(folder / store.HELD_OUT_ANSWERS)
