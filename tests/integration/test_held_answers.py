"""
Answers held to a format: by the embedded base, and token by token in every way of generating.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_answering import LIMIT, STOPS, prompts_of, recurrent

from finetuned.config import EvaluationConfig, ModelConfig
from finetuned.core.json_schema import schema_complaint
from finetuned.data.answer_formats import answer_format
from finetuned.data.intent_schema import intent_schema
from finetuned.data.render import Renderer
from finetuned.data.suite import Suite, load_suite
from finetuned.evaluation.answers import AnswerStore
from finetuned.evaluation.examiner import Examiner
from finetuned.evaluation.measured import score
from finetuned.evaluation.selected_suites import PickedSuite, formatted
from finetuned.files.shipped import shipped
from finetuned.inference.generate import answer_and_score
from finetuned.inference.pending import Continuation
from finetuned.model.load import load_version
from support.engine import VOCABULARY, make_lm, tokens


class Parity:
    """
    Allows even tokens first and odd ones next, in turn; and stop tokens of either kind.
    """

    def __init__(self) -> None:
        self.place = 0

    def likeliest(self, best: int, logits: torch.Tensor) -> int:
        """Return the likeliest token of those."""
        fits = torch.arange(VOCABULARY) % 2 == self.place % 2
        self.place += 1
        token = int(logits.masked_fill(~fits, -torch.inf).argmax())
        return best if fits[best] else token


def plainly(model: Any, prompt: Sequence[int]) -> tuple[list[int], int]:
    """
    Return the held answer to one prompt, a whole pass for each token, and the tokens refused.
    """
    guard, ids, refused = Parity(), list(prompt), 0
    model.eval()
    while len(ids) < len(prompt) + LIMIT:
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1]
        best = int(logits.argmax())
        token = guard.likeliest(best, logits)
        refused += token != best
        if token in STOPS:
            break
        ids.append(token)
    return ids[len(prompt) :], refused


@pytest.mark.parametrize("name", ["qwen3", "mamba"])
def test_a_held_answer_is_that_of_a_plain_loop(name: str) -> None:
    """
    Also where tokens of an expected answer are taken from the pass that scores it, and where
    transformers generates; how many tokens were refused is counted.
    """
    model = recurrent(name) if name == "mamba" else make_lm(name)
    prompts = prompts_of("different shared")
    expected = [plainly(model, prompt) for prompt in prompts]
    assert any(refused for _, refused in expected)
    continuations: list[Continuation] = [
        [(token, True) for token in (*said[: i + 2], *tokens(3, i))]
        for i, (said, _) in enumerate(expected)
    ]

    for wanted in ([[] for _ in prompts], continuations):
        found = answer_and_score(
            model,
            prompts,
            wanted,
            stop_token_ids=STOPS,
            pad_token_id=0,
            max_new_tokens=LIMIT,
            deadline=time.monotonic() + 600,
            batch_size=4,
            guards=[Parity() for _ in prompts],
        )
        assert expected == [(answer.ids, answer.n_refused) for answer, _ in found]


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("name", ["qwen3", "mamba"])
def test_the_likelihood_of_an_answer_is_that_of_a_whole_pass_over_it(name: str, held: bool) -> None:
    """
    Of the model itself, before a format refuses a token, and with the token that ended it;
    whichever pass a token was taken from.
    """
    model = recurrent(name) if name == "mamba" else make_lm(name)
    prompts = prompts_of("different shared")
    facts = [whole_pass(model, prompt, held=held) for prompt in prompts]
    for wanted in ([[] for _ in prompts], [[(t, True) for t in ids[:4]] for ids, _ in facts]):
        found = answer_and_score(
            model,
            prompts,
            wanted,
            stop_token_ids=STOPS,
            pad_token_id=0,
            max_new_tokens=LIMIT,
            deadline=time.monotonic() + 600,
            batch_size=4,
            guards=[Parity() if held else None for _ in prompts],
        )
        for (answer, _), (ids, expected) in zip(found, facts, strict=True):
            assert answer.ids == ids
            assert answer.likelihood is not None
            assert expected == pytest.approx(astuple(answer.likelihood), abs=1e-4)


def whole_pass(
    model: Any, prompt: Sequence[int], *, held: bool
) -> tuple[list[int], tuple[float, ...]]:
    """
    Return the answer to one prompt, and number, mean, least ln p and smallest lead of its tokens.
    """
    guard, ids, facts = Parity(), list(prompt), []
    model.eval()
    while len(ids) < len(prompt) + LIMIT:
        with torch.no_grad():
            logprobs = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        best = int(logprobs.argmax())
        token = guard.likeliest(best, logprobs) if held else best
        others = torch.cat([logprobs[:token], logprobs[token + 1 :]])
        facts.append((float(logprobs[token]), float(logprobs[token] - others.max())))
        if token in STOPS:
            break
        ids.append(token)
    logs, leads = zip(*facts, strict=True)
    return ids[len(prompt) :], (len(logs), sum(logs) / len(logs), min(0.0, *logs), min(leads))


@pytest.fixture(scope="module")
def suite() -> Suite:
    """
    A few commands of the suite, under the format of commands.
    """
    whole = load_suite(Path(__file__).parents[2] / "benchmarks" / "infra_200.jsonl")
    return replace(whole, questions=whole.questions[:60:12])


def test_the_embedded_base_answers_in_the_format_and_freely(tmp_path: Path, suite: Suite) -> None:
    """
    Every held answer that ended fits the schema; the free ones are marked apart, and only those
    that the format changed are asked again.
    """
    base = shipped().bases / "micro"
    model = load_version(base, None, ModelConfig(device="cpu", dtype="float32"))
    renderer = Renderer.load(base, max_length=2048)
    store = AnswerStore(tmp_path / "answers.sqlite3")
    config = EvaluationConfig(format_mode="both", max_new_tokens=96)
    examiner = Examiner(renderer, config, store)
    picked = formatted(PickedSuite(suite), answer_format("intents"), config)
    load = lambda: model  # noqa: E731
    held = examiner.measure(load, "digest", picked.suite, deadline=time.monotonic() + 600)
    found = examiner.measure_free(load, "digest", held, deadline=time.monotonic() + 600)
    freely = formatted(PickedSuite(suite), None, replace(config, format_mode="free"))
    alone = examiner.measure(load, "digest", freely.suite, deadline=time.monotonic() + 600)
    store.close()

    counts = score(found).format
    assert counts is not None
    assert counts.free is not None
    assert (5, 5, 5) == (counts.n_asked, counts.n_held, counts.free.n_asked)
    ended = [o for o in found.outcomes.values() if o.stopped]
    assert any(o.raw.n_refused for o in ended)
    for outcome in ended:
        assert None is schema_complaint(json.loads(outcome.answer or ""), intent_schema())
    fits = [o.grade.detail["fits"] for o in found.outcomes.values() if o.grade is not None]
    assert counts.n_fit == fits.count(True) >= len(ended)
    assert {i: o.answer for i, o in alone.outcomes.items()} == {
        i: o.answer for i, o in (found.free or {}).items()
    }
    changed = {i for i, o in found.outcomes.items() if o.raw.n_refused}
    assert changed == {i for i, o in found.outcomes.items() if o.answer != alone.outcomes[i].answer}
    assert counts.n_changed == len(changed)
    assert alone.n_cached == len(changed), "what the format changed was asked freely, and kept"
