"""
The loss on the same held-out rows, again and again: what early stopping looks at.

Does not generate and does not decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from finetuned.data.render import Renderer
from finetuned.data.suite import Question
from finetuned.files.rank import rank, world
from finetuned.loss.micro_batch import MaskedTokens, make_micro_batch, supervised_count
from finetuned.loss.supervised import SHARING, SupervisedLM
from finetuned.training import processes, sharded

MAX_ROWS = 64
"""Of all held-out rows, spread evenly: enough for a loss that moves smoothly, cheap to score."""

_BATCH = 16
"""The most rows that are scored together."""


class HeldOutLoss:
    """
    A fixed choice of held-out rows, ready to be scored.
    """

    def __init__(
        self,
        model: SupervisedLM,
        questions: Sequence[Question],
        renderer: Renderer,
        *,
        max_tokens: Callable[[], int],
    ) -> None:
        """
        Args:
            model: Scored as it is at each call.
            questions: All held-out rows of the job, >= 1.
            renderer: Of the model's tokenizer and template.
            max_tokens: What a micro-batch of training may hold by now, which scoring, without
                gradients, then may as well.
        """
        stride = max(1, -(-len(questions) // MAX_ROWS))
        rows: list[MaskedTokens] = [
            (s.input_ids, s.supervised)
            for q in questions[::stride]
            for s in renderer.render(q.example)
        ]
        rows.sort(key=lambda row: len(row[0]))
        self._model = model
        self._rows = rows
        self._max_tokens = max_tokens
        self._tokens = sum(map(supervised_count, rows))

    def loss(self) -> float:
        """
        Return the mean loss in nats per supervised token.

        Every process of the run calls it, scores its share and gets the same number.
        """
        was_training = self._model.training
        self._model.eval()
        try:
            # A sharded model computes with all processes or not at all.
            together = sharded.asked()
            batches = _cut(self._rows, processes.lowest(self._max_tokens()))
            share = batches if together else batches[rank() :: world()]
            total = sum(map(self._summed_loss, share))
        finally:
            self._model.train(was_training)
        shares = world() if together else 1
        return processes.totals(total)[0] / shares / max(1, self._tokens)

    def _summed_loss(self, rows: Sequence[MaskedTokens]) -> float:
        model = self._model
        share = model.kernels.prefix in SHARING
        batch = make_micro_batch(rows, model.pad_token_id, share=share)
        return float(model.row_losses(batch.to(model.device)).sum())


def _cut(rows: Sequence[MaskedTokens], max_tokens: int) -> list[list[MaskedTokens]]:
    """Cut rows, shorter ones first, into batches that are within the limits or of one row."""
    batches: list[list[MaskedTokens]] = []
    for row in rows:
        fits = batches and (len(batches[-1]) + 1) * len(row[0]) <= max_tokens
        if fits and len(batches[-1]) < _BATCH:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
