"""
How far a training has moved the model from the one it started from: an early warning of forgetting.

Measured as KL(start || model) per token, on a fixed set of expected answers, most of
them to prompts that this job does not train. Of the distribution at the start only the 128
most likely tokens are kept; all others count as one outcome. By the data processing
inequality that gives a lower bound of the divergence, and it needs a few kilobytes
instead of a second model.

Source: forgetting follows the divergence from the model before, "RL's Razor"
(arXiv 2509.04259).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from finetuned.data.render import Renderer
from finetuned.data.store import TokenisedDataset
from finetuned.data.suite import Question, load_suite, questions_of
from finetuned.errors import MalformedExample, SuiteError
from finetuned.files.spec import TrainingSpec
from finetuned.inference.cached_lm import answering
from finetuned.model.tensors import disk_errors
from finetuned.model.types import LanguageModel

REFERENCE = "kl_reference.safetensors"
"""File in a run folder: the distributions at the start, for a run that resumes the job."""

MAX_ROWS_PER_DATASET = 4
"""Most held-out rows of each earlier dataset."""

MAX_ROW_TOKENS = 512
"""Longest row that is used."""

MAX_POSITIONS_PER_ROW = 32
"""Most tokens of one answer that are compared."""

_KEPT_TOKENS = 128
"""Tokens of the distribution at the start that are kept for each position."""

_MAX_LOGITS = 2**25
"""Most logits that one forward pass may return: 128 MiB of float32."""

Row = tuple[list[int], list[int]]
"""Token ids, and the positions whose next token is part of the answer."""


class Drift:
    """
    The distance of one model from what it was at the start, on fixed rows.
    """

    def __init__(
        self, rows: Sequence[Row], reference: dict[str, torch.Tensor], begin_seconds: float = 0.0
    ) -> None:
        self._rows = list(rows)
        self._reference = reference
        self.begin_seconds = begin_seconds
        """How long the rows took at the start, about as long as they take again; 0 if unknown."""

    @classmethod
    def begin(cls, model: LanguageModel, rows: Sequence[Row], run_dir: Path) -> Drift:
        """
        Take *model* as it is now as the start, and save its distributions in *run_dir*.

        Raises:
            OSError: The file system refused.
        """
        began = time.monotonic()
        kept = min(_KEPT_TOKENS, int(model.config.vocab_size) - 1)
        with answering(model):
            top = torch.cat(list(_log_probabilities(model, rows))).topk(kept)
        reference = {
            "ids": top.indices.contiguous(),
            "log_p": top.values.contiguous(),
            "log_rest": _log_rest(top.values).contiguous(),
        }
        with disk_errors():
            save_file(reference, run_dir / REFERENCE)
        return cls(rows, reference, time.monotonic() - began)

    @classmethod
    def resume(cls, rows: Sequence[Row], folders: Sequence[Path]) -> Drift | None:
        """
        Use what an earlier run of the same job saved.

        Args:
            rows: The same as in that run.
            folders: Run folders of the job; the first that has a reference is used.

        Returns:
            None if no folder has a reference that fits *rows*.
        """
        n = sum(len(positions) for _, positions in rows)
        for folder in folders:
            try:
                reference = load_file(folder / REFERENCE)
            except (OSError, SafetensorError):
                continue
            if reference.keys() == {"ids", "log_p", "log_rest"} and len(reference["ids"]) == n:
                return cls(rows, reference)
        return None

    def measure(self, model: LanguageModel) -> float:
        """
        Return the divergence of *model* from the start, in nats per token, >= 0.
        """
        ids, old = self._reference["ids"], self._reference["log_p"]
        old_rest = self._reference["log_rest"]
        with answering(model):
            new = torch.cat(list(_log_probabilities(model, self._rows))).gather(1, ids)
        moved = (old.exp() * (old - new)).sum(1)
        moved += old_rest.exp() * (old_rest - _log_rest(new))
        return max(0.0, float(moved.mean()))


def open_drift(
    model: LanguageModel,
    held_out: Sequence[Question],
    renderer: Renderer,
    *,
    run_dir: Path,
    spec: TrainingSpec,
    resumed: bool,
) -> Drift | None:
    """
    Return the measurement of a run, None if there is nothing to measure with.

    Args:
        model: As it is at the beginning of a job.
        held_out: Held-out rows of the job, used if there are too few older ones.
        renderer: Of the model's tokenizer and template.
        run_dir: Folder of the run.
        spec: Names canaries, earlier datasets, evaluation.kl_prompts and earlier runs.
        resumed: Whether the model was trained further than the beginning of the job.

    Raises:
        OSError: The file system refused.
    """
    older = [question for suite in _older_suites(spec) for question in suite]
    rows = rows_of([*older, *held_out], renderer, spec.config.evaluation.kl_prompts)
    if not rows:
        return None
    if resumed:
        folders = [f.parent for f in spec.resume_from]
        return Drift.resume(rows, folders[::-1])
    return Drift.begin(model, rows, run_dir)


def _older_suites(spec: TrainingSpec) -> Iterator[list[Question]]:
    """Yield the canaries, then a few held-out rows of each earlier dataset."""
    if spec.canaries:
        try:
            yield list(load_suite(spec.canaries).questions)
        except SuiteError:
            pass  # the evaluation reports it
    for folder in spec.earlier:
        yield questions_of(TokenisedDataset.open(folder))[:MAX_ROWS_PER_DATASET]


def rows_of(questions: Sequence[Question], renderer: Renderer, limit: int) -> list[Row]:
    """
    Return up to *limit* rows; questions that this model's template cannot render are left out.
    """
    rows: list[Row] = []
    for question in questions:
        if len(rows) == limit:
            break
        if not question.scored:
            continue
        try:
            sequence = renderer.render(question.example)[-1]
        except MalformedExample:
            continue
        answer = [i - 1 for i, s in enumerate(sequence.supervised) if s and i]
        if answer and len(sequence.input_ids) <= MAX_ROW_TOKENS:
            rows.append((list(sequence.input_ids), answer[:MAX_POSITIONS_PER_ROW]))
    return rows


def _log_probabilities(model: LanguageModel, rows: Sequence[Row]) -> Iterator[torch.Tensor]:
    """Yield log probabilities at each row's positions, float32 on the CPU, in the rows' order."""
    device = next(model.parameters()).device
    longest = max(len(ids) for ids, _ in rows)
    at_once = max(1, _MAX_LOGITS // (longest * int(model.config.vocab_size)))
    for start in range(0, len(rows), at_once):
        part = rows[start : start + at_once]
        ids, mask = _padded([ids for ids, _ in part])
        logits = model(
            input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False
        ).logits
        for i, (_, positions) in enumerate(part):
            yield logits[i, positions].float().log_softmax(-1).cpu()


def _padded(sequences: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and attention mask, both int64 of shape (sequences, longest), padded right."""
    ids = torch.zeros((len(sequences), max(map(len, sequences))), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, tokens in enumerate(sequences):
        ids[i, : len(tokens)] = torch.tensor(tokens)
        mask[i, : len(tokens)] = 1
    return ids, mask


def _log_rest(log_p: torch.Tensor) -> torch.Tensor:
    """Return the log of the probability that *log_p* leaves, shape (positions,)."""
    left = (1 - log_p.exp().sum(1)).clamp_min(1e-9)
    return left.log()
