"""
Answers that are asked once and then known: by which digest they are found again.

An answer is found again by the exact weights and the exact token ids that it
came from, so it is the evidence it was when it was made. Answers that time cut
are never kept.

Knows questions and what models did; does not know who is incumbent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from finetuned.data.render import Renderer
from finetuned.data.suite import Question
from finetuned.files.answers import AnswerFile, KeptAnswer, MarkedAnswer
from finetuned.files.manifest import read_manifest
from finetuned.inference.outcome import Raw
from finetuned.layout import MANIFEST

MARKS_VERSION = 1
"""Part of every key: raised when answers made before may no longer stand for new ones."""

_SHAPES = ("config.json", "adapter_config.json")


class AnswerStore:
    """
    The answers of one root.
    """

    def __init__(self, path: Path) -> None:
        """
        Open or create the file *path*; see files/answers.py for what it may cost.
        """
        self._file = AnswerFile(path)

    def close(self) -> None:
        """
        Close the file.
        """
        self._file.close()

    def find(self, model: str, questions: Iterable[str]) -> dict[str, Raw]:
        """
        Return what *model* did before, by question; those it was never asked are left out.

        Args:
            model: See model_digest.
            questions: See question_key.
        """
        return {key: _raw(kept) for key, kept in self._file.find(model, questions).items()}

    def add(self, model: str, raws: Mapping[str, Raw]) -> None:
        """
        Keep what *model* did, by question, in one step; answers that time cut are left out.
        """
        self._file.add(model, {k: _kept(raw) for k, raw in raws.items() if not raw.timed_out})

    def add_results(
        self, run_id: str, subjects: Mapping[str, Mapping[str, Any]], items: Any
    ) -> None:
        """
        Keep the marked answers of one evaluation, for people to query.

        Args:
            run_id: The evaluation.
            subjects: As in an eval report: ``version``, and ``same_as`` if its outcomes
                stand under another subject's name.
            items: As in an eval report.
        """
        self._file.add_marked(_marked(run_id, subjects, items))


def _marked(
    run_id: str, subjects: Mapping[str, Mapping[str, Any]], items: Iterable[Mapping[str, Any]]
) -> Iterator[MarkedAnswer]:
    for item in items:
        for subject, about in subjects.items():
            outcome = item["outcomes"].get(about.get("same_as") or subject)
            if outcome is not None:
                yield MarkedAnswer(
                    run_id=run_id,
                    subject=subject,
                    version=about.get("version"),
                    suite=item["suite"],
                    item=item["id"],
                    prompt=item["prompt"],
                    golden=item["golden"],
                    answer=outcome["answer"],
                    correct=outcome["correct"],
                    score=outcome["score"],
                    exact=outcome["exact"],
                    loss=outcome["loss"],
                    n_tokens=outcome["n_tokens"],
                    stopped=outcome["stopped"],
                    timed_out=outcome["timed_out"],
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
    )


def question_key(renderer: Renderer, question: Question, limits: Sequence[Any]) -> str:
    """
    Return the digest of everything about a question that the model sees or that bounds its answer.

    Args:
        renderer: Whose token ids count.
        question: Any.
        limits: What else changes an answer, such as the longest one allowed.

    Raises:
        MalformedExample: It cannot be rendered.
    """
    example = question.example
    prompt = [] if example.kind == "text" else renderer.prompt_ids(example)
    facts = [
        MARKS_VERSION,
        prompt,
        [(s.input_ids, s.supervised) for s in renderer.render(example)] if question.scored else [],
        [renderer.answer_ids(example, choice) for choice in question.choices],
        question.scorer.name,
        question.scored,
        sorted(renderer.stop_token_ids),
        list(limits),
    ]
    return sha256(orjson.dumps(facts)).hexdigest()


def model_digest(base: Path, folder: Path | None, how: Sequence[str]) -> str:
    """
    Return the identity of a model's weights: manifests where there are some, else file stamps.

    Args:
        base: Directory of the base model.
        folder: A version or a candidate; None is the base alone.
        how: What else decides what it computes, such as precision and device.
    """
    facts: list[Any] = [MARKS_VERSION, list(how)]
    if folder is None or (folder / "adapter_config.json").is_file():
        facts.append(_weights(base))
    if folder is not None:
        facts.append(_weights(folder))
    return sha256(orjson.dumps(facts)).hexdigest()


def _weights(folder: Path) -> Any:
    if (folder / MANIFEST).is_file():
        files = read_manifest(folder)["files"]
        return sorted(
            (name, entry["sha256"])
            for name, entry in files.items()
            if "/" not in name and (name.endswith(".safetensors") or name in _SHAPES)
        )
    # A base model of gigabytes is not read for its name's sake: size and time of change do.
    return sorted(
        (p.name, s.st_size, s.st_mtime_ns)
        for p in folder.resolve().iterdir()
        if p.suffix == ".safetensors" or p.name in _SHAPES
        for s in (p.stat(),)
    )
