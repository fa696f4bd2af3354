"""
The loss on the same held-out rows, again and again: what early stopping looks at.

Does not generate and does not decide.
"""

from __future__ import annotations

from collections.abc import Sequence

from finetuned.data.render import Renderer
from finetuned.files.rank import rank, world
from finetuned.model.ask import Question
from finetuned.model.micro_batch import Row, make_micro_batch
from finetuned.model.supervised import SupervisedLM
from finetuned.training import processes, sharded

MAX_ROWS = 64
"""Of all held-out rows, spread evenly: enough for a loss that moves smoothly, cheap to score."""

_BATCH = 16


class HeldOutLoss:
    """
    A fixed choice of held-out rows, ready to be scored.
    """

    def __init__(
        self, model: SupervisedLM, questions: Sequence[Question], renderer: Renderer
    ) -> None:
        """
        Args:
            model: Scored as it is at each call.
            questions: All held-out rows of the job, >= 1.
            renderer: Of the model's tokenizer and template.
        """
        stride = max(1, -(-len(questions) // MAX_ROWS))
        rows: list[Row] = [
            (s.input_ids, s.supervised)
            for q in questions[::stride]
            for s in renderer.render(q.example)
        ]
        rows.sort(key=lambda row: len(row[0]))
        self._model = model
        self._batches = [
            make_micro_batch(
                rows[i : i + _BATCH],
                model.pad_token_id,
                share=model.kernels.prefix in ("split", "cache"),
            )
            for i in range(0, len(rows), _BATCH)
        ]
        self._tokens = sum(len(b.targets) for b in self._batches)

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
            share = self._batches if together else self._batches[rank() :: world()]
            total = sum(
                float(self._model.row_losses(b.to(self._model.device)).sum()) for b in share
            )
        finally:
            self._model.train(was_training)
        shares = world() if together else 1
        return processes.totals(total)[0] / shares / max(1, self._tokens)
