"""
A model as it is asked: how it is loaded, and under which identity its answers are kept.

A version with an adapter for each family of files is several: each question goes to the
family whose prompts are nearest to its last user turn. An adapter that a job left as it was
has the identity that it had before, so what it answered is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from finetuned.core.family_choice import FamilyChoice
from finetuned.data.suite import Question
from finetuned.evaluation.subjects import Subject
from finetuned.files.family_list import choice_of, read_families

if TYPE_CHECKING:
    from finetuned.model.types import LanguageModel


@dataclass(frozen=True, slots=True)
class Asked:
    """
    One model, or one for each family of a version.
    """

    load: Callable[[], LanguageModel]
    """Called only if an answer is not known."""
    digest: str
    """Of its weights; see model_digest."""
    families: Mapping[str, Asked] = field(default_factory=dict)
    """By name; empty if it is one model."""
    choice: FamilyChoice | None = None
    """Tells the family of a question; None if it is one model."""

    def parts(self, questions: Sequence[Question]) -> list[tuple[Asked, tuple[Question, ...]]]:
        """
        Return *questions* by the one model that each is asked of.
        """
        if self.choice is None:
            return [(self, tuple(questions))]
        found: dict[str, list[Question]] = {}
        for question in questions:
            found.setdefault(self.choice.choose(question.last_turn), []).append(question)
        return [(self.families[name], tuple(found[name])) for name in sorted(found)]


def asked_of(
    subject: Subject,
    load: Callable[[Subject], LanguageModel],
    digest: Callable[[Subject], str],
) -> Asked:
    """
    Return *subject* as it is asked.

    Args:
        subject: A version with families, or any other model.
        load: Returns the model of a subject that is one model.
        digest: Returns its identity.

    Raises:
        ModelError: Its list of families cannot be read.
    """
    whole, listed = _one(subject, load, digest), read_families(subject.folder)
    if len(listed) < 2 or subject.folder is None:
        return whole
    parts = {f.name: replace(subject, folder=f.path(subject.folder)) for f in listed}
    families = {name: _one(part, load, digest) for name, part in parts.items()}
    return replace(whole, families=families, choice=choice_of(listed))


def _one(
    subject: Subject,
    load: Callable[[Subject], LanguageModel],
    digest: Callable[[Subject], str],
) -> Asked:
    return Asked(lambda: load(subject), digest(subject))
