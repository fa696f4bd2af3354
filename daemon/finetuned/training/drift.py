"""
How far a training has moved from the incumbent: an early warning of forgetting.

KL(incumbent || now) per token, on a fixed set of expected answers, most of them
to prompts that this job does not train. Of the incumbent's distribution the 128
most likely tokens are kept and the rest is one more outcome, so what is measured
is a lower bound of the divergence (data processing inequality) that needs a few
kilobytes and not a second model.

Source: forgetting follows the divergence from the model before,
"RL's Razor" (arXiv 2509.04259).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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

REFERENCE = "kl_reference.safetensors"
"""In a run folder: what the incumbent said, for a run that goes on with the job."""

_EARLIER_ROWS = 4
"""Of each earlier dataset, at most."""

_LOGITS = 1 << 25
"""Most logits that are held at once."""

_KEPT = 128
_MAX_TOKENS = 512
"""Longest row that is looked at."""
_POSITIONS = 32
"""Most tokens of one answer that are looked at."""

Row = tuple[list[int], list[int]]
"""Token ids, and the positions whose next token is part of the answer."""


class Drift:
    """
    The distance of one model from where it began, on fixed prompts.
    """

    def __init__(self, rows: Sequence[Row], reference: dict[str, torch.Tensor]) -> None:
        self._rows = list(rows)
        self._reference = reference

    @classmethod
    def begin(cls, model: Any, rows: Sequence[Row], run_dir: Path) -> Drift:
        """
        Take *model* as it is now as the incumbent, and write down what it says.

        Raises:
            OSError: The file system refused.
        """
        kept = min(_KEPT, int(model.config.vocab_size) - 1)
        with answering(model):
            top = torch.cat(list(_log_probabilities(model, rows))).topk(kept)
        reference = {
            "ids": top.indices.contiguous(),
            "log_p": top.values.contiguous(),
            "log_rest": _log_rest(top.values).contiguous(),
        }
        with disk_errors():
            save_file(reference, run_dir / REFERENCE)
        return cls(rows, reference)

    @classmethod
    def resume(cls, rows: Sequence[Row], folders: Sequence[Path]) -> Drift | None:
        """
        Go on with what an earlier run of the same job wrote down; None where none fits.

        Args:
            rows: The same as at the beginning.
            folders: Of the runs of the job.
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

    def measure(self, model: Any) -> float:
        """
        Return the divergence now, in nats per token, >= 0 but for rounding.
        """
        ids, old = self._reference["ids"], self._reference["log_p"]
        old_rest = self._reference["log_rest"]
        with answering(model):
            new = torch.cat(list(_log_probabilities(model, self._rows))).gather(1, ids)
        moved = (old.exp() * (old - new)).sum(1)
        moved += old_rest.exp() * (old_rest - _log_rest(new))
        return max(0.0, float(moved.mean()))


def open_drift(
    model: Any,
    held_out: Sequence[Question],
    renderer: Renderer,
    *,
    limit: int,
    run_dir: Path,
    spec: TrainingSpec,
    resumed: bool,
) -> Drift | None:
    """
    Return what measures the distance from the incumbent, None where there is nothing to.

    Args:
        model: At a job's beginning the incumbent itself.
        held_out: Held-out rows of the job, looked at where there are no older ones.
        renderer: Of the model's tokenizer and template.
        limit: ``evaluation.kl_prompts``.
        run_dir: The run.
        spec: Names the canaries, earlier datasets, and the runs that this one goes on with.
        resumed: Whether the model is further than the job's beginning.

    Raises:
        OSError: The file system refused.
    """
    fixed = [q for suite in _fixed(spec) for q in suite]
    rows = rows_of([*fixed, *held_out], renderer, limit)
    if not rows:
        return None
    if resumed:
        folders = [f.parent for f in spec.resume_from]
        return Drift.resume(rows, folders[::-1])
    return Drift.begin(model, rows, run_dir)


def _fixed(spec: TrainingSpec) -> Iterator[list[Question]]:
    """Yield the canaries, then a few held-out rows of each earlier dataset."""
    if spec.canaries:
        try:
            yield list(load_suite(spec.canaries).questions)
        except SuiteError:
            pass  # the evaluation will say so
    for folder in spec.earlier:
        yield questions_of(TokenisedDataset.open(folder))[:_EARLIER_ROWS]


def rows_of(questions: Sequence[Question], renderer: Renderer, limit: int) -> list[Row]:
    """
    Return up to *limit* rows to look at; questions that do not fit this model are passed over.
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
        positions = [i - 1 for i, s in enumerate(sequence.supervised) if s and i][:_POSITIONS]
        if positions and len(sequence.input_ids) <= _MAX_TOKENS:
            rows.append((list(sequence.input_ids), positions))
    return rows


def _log_probabilities(model: Any, rows: Sequence[Row]) -> Iterator[torch.Tensor]:
    """Yield log probabilities at each row's positions, float32 on the CPU, in the rows' order."""
    device = next(model.parameters()).device
    longest = max(len(ids) for ids, _ in rows)
    at_once = max(1, _LOGITS // (longest * int(model.config.vocab_size)))
    for start in range(0, len(rows), at_once):
        part = rows[start : start + at_once]
        width = max(len(ids) for ids, _ in part)
        ids = torch.zeros((len(part), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, (tokens, _) in enumerate(part):
            ids[i, : len(tokens)] = torch.tensor(tokens)
            mask[i, : len(tokens)] = 1
        logits = model(
            input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False
        ).logits
        for i, (_, positions) in enumerate(part):
            yield logits[i, positions].float().log_softmax(-1).cpu()


def _log_rest(log_p: torch.Tensor) -> torch.Tensor:
    """Return the log of the probability that is left, shape (positions,)."""
    left = (1 - log_p.exp().sum(1)).clamp_min(1e-9)
    return left.log()
