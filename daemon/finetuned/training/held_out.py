"""
The loss on a fixed choice of held-out rows.

Does not generate answers and does not decide when to stop (early_stopping.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from finetuned.data.render import Renderer
from finetuned.data.suite import Question
from finetuned.files.rank import rank, world
from finetuned.loss.micro_batch import MaskedTokens, make_micro_batch, supervised_count
from finetuned.loss.supervised import SHARING, SupervisedLM
from finetuned.training import processes, sharded

MAX_SCORED_QUESTIONS = 64
"""
Most held-out questions that are scored, spread evenly over all of them: enough for a loss
that moves smoothly, few enough to be cheap.
"""

_MAX_BATCH_ROWS = 16
"""Most rows that are scored together."""


class HeldOutLoss:
    """
    The rows to score, rendered once, and the model that scores them.
    """

    def __init__(
        self,
        model: SupervisedLM,
        questions: Sequence[Question],
        renderer: Renderer,
        *,
        max_tokens: Callable[[], int],
        most: int = MAX_SCORED_QUESTIONS,
    ) -> None:
        """
        Args:
            model: The model in training; its mode is kept.
            questions: All held-out rows of the job, >= 1.
            renderer: Of the model's tokenizer and template.
            max_tokens: Returns the token budget of a training micro-batch. A batch that is
                scored without gradients needs less memory, so it fits as well.
            most: Questions that are scored, spread evenly, >= 1.
        """
        stride = max(1, -(-len(questions) // most))
        rows: list[MaskedTokens] = [
            (s.input_ids, s.supervised)
            for q in questions[::stride]
            for s in renderer.render(q.example)
        ]
        rows.sort(key=lambda row: len(row[0]))
        self._model = model
        self._rows = rows
        self._max_tokens = max_tokens
        self._supervised_tokens = sum(map(supervised_count, rows))

    def loss(self) -> float:
        """
        Return the mean loss in nats per supervised token, the same in every process.

        Every process of the run calls it. Each scores its share of the batches; with a
        sharded model all of them score every batch together.
        """
        was_training = self._model.training
        self._model.eval()
        try:
            together = sharded.asked()
            batches = cut_into_batches(self._rows, processes.lowest(self._max_tokens()))
            share = batches if together else batches[rank() :: world()]
            total = sum(map(self._summed_loss, share))
        finally:
            self._model.train(was_training)
        times_scored = world() if together else 1
        return processes.totals(total)[0] / times_scored / max(1, self._supervised_tokens)

    def _summed_loss(self, rows: Sequence[MaskedTokens]) -> float:
        model = self._model
        share = model.kernels.prefix in SHARING
        batch = make_micro_batch(rows, model.pad_token_id, share=share)
        return float(model.row_losses(batch.to(model.device)).sum())


def cut_into_batches(rows: Sequence[MaskedTokens], max_tokens: int) -> list[list[MaskedTokens]]:
    """
    Return the rows in batches of at most *max_tokens*, padding included, or of one row.

    Args:
        rows: Sorted by length, shortest first.
        max_tokens: >= 1.
    """
    batches: list[list[MaskedTokens]] = []
    for row in rows:
        fits = batches and (len(batches[-1]) + 1) * len(row[0]) <= max_tokens
        if fits and len(batches[-1]) < _MAX_BATCH_ROWS:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
