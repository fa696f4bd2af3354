"""
The held-out rows of a job and of earlier jobs, and the model's loss on them.

Used to choose the share of its change that a job keeps, and to say what a trial of a search
learnt and forgot. Does not know what follows from a loss.
"""

from __future__ import annotations

from collections.abc import Iterable

from finetuned.data.store import TokenisedDataset
from finetuned.data.suite import Question, questions_of
from finetuned.errors import MalformedExample
from finetuned.training.held_out import HeldOutLoss
from finetuned.training.job import Job


def scorers_of(job: Job, *, most: int) -> tuple[HeldOutLoss | None, HeldOutLoss | None]:
    """
    Return what scores the held-out rows of the job, and those of what its parent has learnt.

    Args:
        job: The job; its model is scored as it is when ``loss`` is called.
        most: Rows of each that are scored, spread evenly, >= 1.

    Returns:
        None in the place of rows of which there are none that can be rendered.
    """
    earlier = job.spec.earlier[:: max(1, -(-len(job.spec.earlier) // most))]
    own = [question for dataset in job.rows.datasets for question in questions_of(dataset)]
    old = [q for folder in earlier for q in questions_of(TokenisedDataset.open(folder))]
    return _scorer(job, own, most), _scorer(job, old, most)


def _scorer(job: Job, questions: list[Question], most: int) -> HeldOutLoss | None:
    """Return what scores some of *questions*, spread evenly; None if none can be rendered."""
    some = [q for q in _spread(questions, most) if _can_be_rendered(job, q)]
    if not some:
        return None
    # Memory may have run out in training, and the budget be lower than the configured one.
    found = job.heartbeat.now.max_batch_tokens
    budget = job.spec.config.training.max_batch_tokens if found is None else found
    return HeldOutLoss(job.loaded.model, some, job.renderer, max_tokens=lambda: budget, most=most)


def _spread(questions: list[Question], most: int) -> Iterable[Question]:
    return questions[:: max(1, -(-len(questions) // most))]


def _can_be_rendered(job: Job, question: Question) -> bool:
    """Return whether today's template takes a row that an earlier one took."""
    try:
        job.renderer.render(question.example)
    except MalformedExample:
        return False
    return True
