"""
When live evals are made, and their outcomes written down: evals.jsonl and the heartbeat.

Does not ask the model (live_eval.py) and concludes nothing about it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuned.core.answer import count_think_tags
from finetuned.core.evolution import is_scheduled
from finetuned.core.phase import Phase
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.run import EVALS, append_metrics
from finetuned.inference.outcome import Outcome
from finetuned.training.progress import RunState
from finetuned.training.rows import StepRows

if TYPE_CHECKING:
    from finetuned.training.live_eval import LiveEval  # loads torch

RECENT_EXAMPLES = 5
"""Newest answers that the status shows in full."""

EVAL_SAMPLES = 50
"""Newest answers that the status lists."""

ACCURACY_HISTORY_LOOKS = 200
"""Looks whose accuracy the status shows."""

_PROMPT_CHARACTERS = 2000
"""Longest prompt that the status shows, in characters."""


_ANSWER_CHARACTERS = 4000
"""Longest answer that evals.jsonl keeps, in characters."""


class EvalRecorder:
    """
    Makes the live evals of one run and shows them; only rank 0 has one.
    """

    def __init__(
        self,
        run_dir: Path,
        state: RunState,
        heartbeat: Heartbeat,
        *,
        live_eval: LiveEval,
        eval_steps: int,
        describe_step: Callable[[int], StepRows],
    ) -> None:
        """
        Args:
            run_dir: Folder of the run; evals.jsonl is appended to there.
            state: Position of the job; its running sums are added to.
            heartbeat: Shows answers, accuracy and alerts.
            live_eval: Asks the model.
            eval_steps: Job steps between two looks, >= 1; there is one after step 1 too.
            describe_step: Returns the rows of a job step.
        """
        self._run_dir = run_dir
        self._state = state
        self._heartbeat = heartbeat
        self._live_eval = live_eval
        self._eval_steps = eval_steps
        self._describe_step = describe_step
        self._is_due = False
        self._followed_at = state.job_step
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT_EXAMPLES)
        self._samples: deque[dict[str, Any]] = deque(maxlen=EVAL_SAMPLES)
        self._accuracies: deque[float] = deque(maxlen=ACCURACY_HISTORY_LOOKS)

    def after_step(self, *, stopping: bool) -> None:
        """
        Look if it is time and the budget allows it; a look that it does not allow stays due.
        """
        step = self._state.job_step
        self._is_due = self._is_due or step % self._eval_steps == 0 or step == 1
        if stopping or not self._is_due:
            return
        if rows := self._live_eval.rows_affordable(self._training_seconds()):
            self._is_due = False
            self._look(rows)

    def _training_seconds(self) -> float:
        return time.monotonic() - self._state.training_began

    def _expected_seconds(self) -> float:
        """Return what _training_seconds() will be at the last step, if steps go on as so far."""
        now = self._training_seconds()
        return now + self._state.seconds_left(now)

    def _look(self, rows: int) -> None:
        live_eval = self._live_eval
        before = live_eval.seconds
        self._heartbeat.beat(force=True, phase=Phase.EVALUATING)
        now, expected = self._training_seconds(), self._expected_seconds()
        step = self._state.job_step
        followed = is_scheduled(self._followed_at, step)
        if followed:
            self._followed_at = step
        outcomes = live_eval.look(
            rows, seconds=live_eval.seconds_allowed(now, expected), followed=followed
        )
        kl = live_eval.drift_now(self._training_seconds(), expected)
        self._state.add("seconds_eval", live_eval.seconds - before)
        self._count(outcomes)
        n_tokens = sum(o.raw.n_tokens for o in outcomes)
        loss = sum(o.raw.loss_sum for o in outcomes) / n_tokens if n_tokens else None
        record = {
            "step": step,
            "lineage_step": self._state.lineage_step,
            "loss": loss,
            "kl": kl,
            "followed": followed,
            "answers": [kept_answer(outcome) for outcome in outcomes],
        }
        append_metrics(self._run_dir, record, EVALS)
        self._beat(outcomes, loss, kl)

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        """Add the answers to the running sums and to what the status shows."""
        run = self._state
        current_file = self._describe_step(run.job_step).current_file
        for outcome in outcomes:
            if outcome.answer is None:
                continue  # a language modelling row has a loss and no answer
            self._recent.append(
                recent_example(outcome, step=run.lineage_step, current_file=current_file)
            )
            if outcome.matches is None:
                continue  # cut by the deadline: shown, and neither right nor wrong
            run.add("evals", 1)
            run.add("correct", float(outcome.matches))
            run.add("think_tags", float(count_think_tags(outcome.raw.text or "")))
            self._samples.append(eval_sample(outcome, step=run.lineage_step))
        if run.totals.get("evals"):
            accuracy = 100 * run.totals.get("correct", 0.0) / run.totals["evals"]
            self._accuracies.append(round(accuracy, 2))

    def _beat(self, outcomes: Sequence[Outcome], loss: float | None, kl: float | None) -> None:
        totals = self._state.totals
        fields: dict[str, Any] = {} if loss is None else {"validation_loss": round(loss, 6)}
        if kl is not None:
            fields["kl_to_incumbent"] = round(kl, 6)
            fields["active_alerts"] = alerts(kl, self._live_eval.kl_warning)
        self._heartbeat.beat(
            force=True,
            phase=Phase.TRAINING,
            recent_examples=list(self._recent),
            eval_samples=list(self._samples),
            accuracy_history=list(self._accuracies),
            total_evals=int(totals.get("evals", 0)),
            total_correct=int(totals.get("correct", 0)),
            eval_share=round(self._live_eval.seconds / self._training_seconds(), 4),
            last_eval_rows=len(outcomes),
            **fields,
        )


def alerts(kl: float, warning: float) -> list[dict[str, str]]:
    """
    Return the alerts of the status, at most one, for a distance from the start of the job.

    Args:
        kl: Distance in nats per token.
        warning: evaluation.kl_warning, in the same unit.
    """
    if kl <= warning:
        return []
    detail = (
        f"{kl:.2f} nats per token from the model it started from, on canaries and earlier rows "
        f"(evaluation.kl_warning {warning:g}): what was learnt before may be forgotten"
    )
    return [{"name": "drift", "detail": detail}]


def recent_example(outcome: Outcome, *, step: int, current_file: str) -> dict[str, Any]:
    """
    Return one answer in full, as ``recent_examples`` of the status shows it.
    """
    question = outcome.question
    loss = outcome.raw.loss_sum / outcome.raw.n_tokens if outcome.raw.n_tokens else None
    return {
        "step": step,
        "current_file": current_file,
        "system_prompt": question.system[:_PROMPT_CHARACTERS],
        "prompt": question.prompt[:_PROMPT_CHARACTERS],
        "golden": question.golden,
        "model_output": outcome.answer,
        "matches": outcome.matches,
        "loss": None if loss is None else round(loss, 6),
        "timed_out": outcome.raw.timed_out,
        "golden_tokens": outcome.raw.golden_tokens,
        "answer_tokens": outcome.raw.answer_tokens,
    }


def kept_answer(outcome: Outcome) -> dict[str, object]:
    """
    Return one answer as a line of evals.jsonl keeps it: what is needed to follow its question.
    """
    answer = outcome.answer
    return {
        "id": outcome.question.id,
        "answer": None if answer is None else answer[:_ANSWER_CHARACTERS],
        "matches": outcome.matches,
        "loss": outcome.raw.loss_sum / outcome.raw.n_tokens if outcome.raw.n_tokens else None,
        "n_tokens": outcome.raw.n_tokens,
    }


def eval_sample(outcome: Outcome, *, step: int) -> dict[str, Any]:
    """
    Return one answer in short, as ``eval_samples`` of the status lists it.
    """
    question = outcome.question
    return {
        "id": question.id,
        "step": step,
        "prompt": question.prompt[:_PROMPT_CHARACTERS],
        "golden": question.golden,
        "model_answer": outcome.answer,
        "answer_matches": outcome.matches,
        "held_out": True,
    }
