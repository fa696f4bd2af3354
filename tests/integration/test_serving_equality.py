"""
Same weights, same tokens: neither neighbours, nor the cache, nor drafts change a greedy answer.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from finetuned.core.generation import EngineSettings, Finished, HeldModel, Piece
from support.serving import MICRO, EngineProcess, asked, running_engine

LONG = bool(os.environ.get("FINETUNED_LONG"))
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
MAX_TOKENS = 24
AT_ONCE = 16
ROUNDING = 1e-4
"""Two logits of float32 that are nearer than this may change their order with the batch."""


def questions(number: int) -> list[str]:
    """
    Return different questions of all benchmarks, short and long.
    """
    found = []
    for suite in ("infra_200", "syllo_easy_100", "syllo_medium_100", "syllo_hard_100"):
        for line in (BENCHMARKS / f"{suite}.jsonl").read_text().splitlines():
            row = json.loads(line)
            found.append(next(m["content"] for m in row["messages"] if m["role"] == "user"))
    assert 500 == len(set(found))
    return found[:: len(found) // number][:number]


@dataclass(frozen=True)
class Alone:
    """
    What transformers' own generate() answers to one prompt, batch size 1.
    """

    ids: list[int]
    gaps: list[float]
    """At each token, how far the likeliest logit is above the next."""


class Transformers:
    """
    The model as transformers runs it.
    """

    def __init__(self) -> None:
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(MICRO)
        self._model: Any = AutoModelForCausalLM.from_pretrained(MICRO, dtype=torch.float32).eval()
        self.stop: int = self._model.config.eos_token_id

    def answer(self, content: str) -> Alone:
        text = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        ids = self.tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        out = self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=MAX_TOKENS,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        best = [logits[0].topk(2) for logits in out.logits]
        return Alone(
            out.sequences[0, ids.shape[1] :].tolist(),
            [float(b.values[0] - b.values[1]) for b in best],
        )


def texts(engine: EngineProcess, name: str) -> list[str]:
    """
    Return the tokens of one answer, each as text.
    """
    pieces = [r for r in engine.reports if isinstance(r, Piece) and r.id == name]
    return [token.text for piece in pieces for token in piece.logprobs]


def first_difference(alone: Alone, given: list[str], source: Transformers) -> int | None:
    """
    Return the place of the first token that differs, None if none does.
    """
    expected = [source.tokenizer.decode([token]) for token in alone.ids if token != source.stop]
    if expected == given:
        return None
    pairs = enumerate(zip(expected, given, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(expected), len(given)))


@pytest.mark.timeout(3600 if LONG else 300)
def test_among_fifteen_others_each_answers_as_alone() -> None:
    """
    Twice: the second time prompts are kept and answers are drafted. Ties are counted.
    """
    source = Transformers()
    asks = questions(500 if LONG else 20)
    alone = [source.answer(content) for content in asks]
    ties = []
    with running_engine(EngineSettings(device="cpu", max_running=AT_ONCE)) as engine:
        engine.hold(HeldModel(name="base", base=MICRO))
        for turn in ("first", "again"):
            names = [f"{turn}{i}" for i in range(len(asks))]
            ends = engine.answers(
                *(
                    replace(
                        asked(name, content, max_tokens=MAX_TOKENS, top_logprobs=0), seconds=3600
                    )
                    for name, content in zip(names, asks, strict=True)
                )
            )
            assert [] == [end for end in ends.values() if not isinstance(end, Finished)]
            for name, content, expected in zip(names, asks, alone, strict=True):
                place = first_difference(expected, texts(engine, name), source)
                if place is None:
                    continue
                gap = expected.gaps[place]
                assert gap < ROUNDING, f"{content!r}: token {place} differs, {gap:.2g} apart"
                ties.append((content, place, gap))
    print(f"{2 * len(asks)} answers, {len(ties)} differ where two logits tie: {ties}")
    assert len(ties) <= len(asks) // 50
