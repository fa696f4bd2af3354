"""
The answer store: what every model answered, asked once and then known.

An answer is found by the exact weights and the exact token ids that it was made from
(identity.py), so it proves as much as when it was made. Answers that a time limit cut are
not kept. Does not know which model is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from finetuned.files.answers import AnswerFile, KeptAnswer, MarkedAnswer
from finetuned.files.eval_report import ItemRecord, SubjectScores
from finetuned.inference.outcome import Raw


class AnswerStore:
    """
    The answers of one root.
    """

    def __init__(self, path: Path) -> None:
        """
        Open or create the file *path*; see files/answers.py for its errors and durability.
        """
        self._file = AnswerFile(path)

    def close(self) -> None:
        """
        Close the file.
        """
        self._file.close()

    def find(self, model: str, questions: Iterable[str]) -> dict[str, Raw]:
        """
        Return what *model* did before, by question; unknown questions are left out.

        Args:
            model: See model_digest.
            questions: See question_key.
        """
        return {key: _raw(kept) for key, kept in self._file.find(model, questions).items()}

    def add(self, model: str, raws: Mapping[str, Raw]) -> None:
        """
        Keep what *model* did, by question, in one transaction; cut answers are left out.
        """
        self._file.add(model, {k: _kept(raw) for k, raw in raws.items() if not raw.timed_out})

    def add_results(
        self, run_id: str, subjects: Mapping[str, SubjectScores], items: Iterable[ItemRecord]
    ) -> None:
        """
        Keep the marked answers of one evaluation, for people to query.

        Args:
            run_id: The evaluation.
            subjects: As in its report. A subject with the numbers of another has entries of
                its own.
            items: As in its report.
        """
        self._file.add_marked(_marked(run_id, subjects, items))


def _marked(
    run_id: str, subjects: Mapping[str, SubjectScores], items: Iterable[ItemRecord]
) -> Iterator[MarkedAnswer]:
    for item in items:
        for name, subject in subjects.items():
            outcome = item.outcomes.get(subject.same_as or name)
            if outcome is not None:
                yield MarkedAnswer(
                    run_id=run_id,
                    subject=name,
                    version=subject.version,
                    suite=item.suite,
                    item=item.id,
                    prompt=item.prompt,
                    golden=item.golden,
                    answer=outcome.answer,
                    correct=outcome.correct,
                    score=outcome.score,
                    exact=outcome.exact,
                    loss=outcome.loss,
                    n_tokens=outcome.n_tokens,
                    stopped=outcome.stopped,
                    timed_out=outcome.timed_out,
                )


def _kept(raw: Raw) -> KeptAnswer:
    return KeptAnswer(
        text=raw.text,
        loss_sum=raw.loss_sum,
        n_tokens=raw.n_tokens,
        golden_tokens=raw.golden_tokens,
        answer_tokens=raw.answer_tokens,
        stopped=raw.stopped,
        seconds=raw.seconds,
        choices=raw.choices,
        n_refused=raw.n_refused,
        likelihood=raw.likelihood,
    )


def _raw(kept: KeptAnswer) -> Raw:
    return Raw(
        text=kept.text,
        loss_sum=kept.loss_sum,
        n_tokens=kept.n_tokens,
        golden_tokens=kept.golden_tokens,
        answer_tokens=kept.answer_tokens,
        stopped=kept.stopped,
        timed_out=False,
        seconds=kept.seconds,
        choices=kept.choices,
        n_refused=kept.n_refused,
        likelihood=kept.likelihood,
    )
