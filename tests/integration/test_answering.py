"""
Answers and losses of a batch are those of each prompt alone, and cost less.

The plain way knows nothing of batches: one prompt at a time through transformers'
own generate(), one whole sequence at a time through the model. The models are
random and some of their logits nearly tie; plain_answer() holds that none of the
prompts used here meets such a place, so that rounding cannot turn a token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from finetuned.inference import cached_answers, pending, stock_answers
from finetuned.inference.batches import shared_length
from finetuned.inference.cached_lm import CachedLM
from finetuned.inference.choices import choice_scores
from finetuned.inference.generate import answer_and_score, generate
from finetuned.inference.pending import Answer, Continuation
from support.engine import ARCHITECTURES, VOCABULARY, make_lm, plain_loss, tokens, with_lora

STOPS = frozenset(range(2, VOCABULARY, 19))
"""Many, so that random models end some of their answers."""
LIMIT = 14
HEAD = tokens(30, 7)
"""Longer than the sliding windows of the models here, which is 20."""


def prompts_of(kind: str) -> list[list[int]]:
    bodies = {
        "one": [25],
        "equal": [9, 9, 9, 9],
        "different": [1, 40, 3, 12, 27, 2],
    }
    shape, _, shared = kind.partition(" ")
    made = [tokens(n, 100 + i) for i, n in enumerate(bodies[shape])]
    return [HEAD + body for body in made] if shared else made


KINDS = ("one", "equal", "different", "equal shared", "different shared")


def recurrent(name: str) -> Any:
    shape = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2}
    torch.manual_seed(0)
    if name == "mamba":
        config = transformers.MambaConfig(**shape, state_size=8, pad_token_id=0, eos_token_id=2)
        model = transformers.MambaForCausalLM(config)
    else:
        config = transformers.FalconH1Config(
            **shape,
            intermediate_size=48,
            num_attention_heads=4,
            num_key_value_heads=2,
            mamba_d_ssm=32,
            mamba_n_heads=4,
            mamba_d_head=8,
            mamba_d_state=8,
            mamba_n_groups=1,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
        model = transformers.FalconH1ForCausalLM(config)
    with torch.no_grad():
        for parameter in model.get_input_embeddings().parameters():
            parameter.normal_(0.0, 1.0)
    return model.train()


def plain_answer(model: Any, prompt: Sequence[int], limit: int = LIMIT) -> Answer:
    model.eval()
    with torch.no_grad():
        out = model.generate(
            input_ids=torch.tensor([list(prompt)]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=limit,
            do_sample=False,
            eos_token_id=sorted(STOPS),
            pad_token_id=0,
            output_logits=True,
            return_dict_in_generate=True,
        )
    model.train()
    for logits in out.logits:
        best = logits[0].topk(2).values
        assert best[0] - best[1] > 2e-5 * best[0].abs(), "a near tie: take another seed"
    said = out.sequences[0, len(prompt) :].tolist()
    stopped = said[-1] in STOPS
    return Answer(said[:-1] if stopped else said, stopped, timed_out=False)


def score(
    model: Any,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Continuation] | None = None,
    **options: Any,
) -> list[tuple[Answer, tuple[float, int]]]:
    return answer_and_score(
        model,
        prompts,
        continuations or [[] for _ in prompts],
        **{
            "stop_token_ids": STOPS,
            "pad_token_id": 0,
            "max_new_tokens": LIMIT,
            "deadline": time.monotonic() + 600,
            "batch_size": 4,
            **options,
        },
    )


def answers(model: Any, prompts: Sequence[Sequence[int]], **options: Any) -> list[Answer]:
    return [answer for answer, _ in score(model, prompts, **options)]


def expectations(answers: Sequence[Answer]) -> list[Continuation]:
    """
    Nothing, what the model says, its beginning and then something else, all of it and more, other.
    """
    made: list[Continuation] = []
    for i, answer in enumerate(answers):
        said = answer.ids
        ids = [
            [],
            [*said, 2],
            [*said[: 1 + i], *tokens(9, i)],
            [*said, *tokens(12, 50 + i)],
            tokens(1 + i, 70 + i),
        ][(i + 1) % 5]
        made.append([(token, (i + k) % 4 != 1) for k, token in enumerate(ids)])
    return made


def check_losses(
    model: Any,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Continuation],
    found: Sequence[tuple[Answer, tuple[float, int]]],
) -> None:
    model.eval()
    for prompt, continuation, (_, (nll, n)) in zip(prompts, continuations, found, strict=True):
        ids = [*prompt, *(token for token, _ in continuation)]
        flags = [False] * len(prompt) + [supervised for _, supervised in continuation]
        with torch.no_grad():
            expected = float(plain_loss(model, (ids, flags))) if any(flags) else 0.0
        assert n == sum(flags)
        assert nll == pytest.approx(expected, rel=1e-5, abs=1e-6)
    model.train()


class Passes:
    """
    Counts passes through a model and the tokens they are given.
    """

    def __init__(self, model: Any) -> None:
        self.tokens: list[int] = []
        model.get_input_embeddings().register_forward_pre_hook(
            lambda _, args: self.tokens.append(args[0].numel())
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_a_batch_answers_and_loses_as_each_prompt_alone(name: str, kind: str) -> None:
    """
    Whatever the attention, the positions, the lengths and what is shared or expected.
    """
    model, prompts = make_lm(name), prompts_of(kind)
    assert CachedLM(model).is_exact(5)
    assert bool(shared_length(prompts)) == ("shared" in kind)
    expected = [plain_answer(model, prompt) for prompt in prompts]
    assert expected == answers(model, prompts)

    continuations = expectations(expected)
    found = score(model, prompts, continuations)
    assert expected == [answer for answer, _ in found]
    check_losses(model, prompts, continuations, found)
    again = score(model, prompts, continuations, reuse_agreement=False)
    assert expected == [answer for answer, _ in again]


@pytest.mark.parametrize("name", ["qwen3", "gpt2", "mistral"])
def test_adapters_answer_as_alone(name: str) -> None:
    """
    A model inside a PeftModel is asked with its adapter.
    """
    model, prompts = with_lora(make_lm(name)), prompts_of("different shared")
    assert CachedLM(model).is_exact(5)
    expected = [plain_answer(model, prompt) for prompt in prompts]
    with model.disable_adapter():
        assert expected != [plain_answer(model, prompt) for prompt in prompts]
    continuations = expectations(expected)
    found = score(model, prompts, continuations)
    assert expected == [answer for answer, _ in found]
    check_losses(model, prompts, continuations, found)


@pytest.mark.parametrize("name", ["mamba", "falcon_h1"])
def test_a_model_with_recurrent_states_goes_another_way_and_says_the_same(name: str) -> None:
    """
    Its cache cannot be shifted or cut, so transformers' own generate() is used.
    """
    model, prompts = recurrent(name), [*prompts_of("equal shared"), *prompts_of("different")]
    assert not CachedLM(model).is_exact(5)
    expected = [plain_answer(model, prompt) for prompt in prompts]
    continuations = expectations(expected)
    found = score(model, prompts, continuations)
    assert expected == [answer for answer, _ in found]
    check_losses(model, prompts, continuations, found)
    limits = [1 + i % 5 for i in range(len(prompts))]
    assert [plain_answer(model, p, n) for p, n in zip(prompts, limits, strict=True)] == answers(
        model, prompts, max_new_tokens=limits
    )
    log_likelihoods = choice_scores(model, prompts[0], [tokens(3, 1), tokens(5, 2)], 0)
    assert [3, 5] == [n for _, n in log_likelihoods]
    past = answers(model, prompts, deadline=time.monotonic() - 1)
    assert [Answer([], False, True)] * len(prompts) == past


def test_a_stop_token_ends_an_answer_and_is_no_part_of_it() -> None:
    """
    Also where the model agrees with an expected answer up to its stop token.
    """
    model = make_lm("qwen3")
    free = answers(model, prompts_of("different"), stop_token_ids=frozenset())
    assert all(not a.stopped and len(a.ids) == LIMIT for a in free)
    stop = free[1].ids[5]
    cut = free[1].ids.index(stop)
    continuation = [(token, True) for token in free[1].ids[: cut + 1]]
    expected = Answer(free[1].ids[:cut], True, False)
    for continuations in ([], continuation):
        [(found, _)] = score(
            model, [prompts_of("different")[1]], [continuations], stop_token_ids={stop}
        )
        assert expected == found


def test_each_prompt_has_its_own_longest_answer() -> None:
    """
    Rows that are done leave; what is left says what it would have said alone.
    """
    model = make_lm("llama")
    prompts = [*prompts_of("different shared"), *prompts_of("equal shared")]
    limits = [3, 14, 1, 9, 14, 2, 0, 14, 5, 14]
    found = answers(model, prompts, max_new_tokens=limits, batch_size=16)
    assert Answer([], False, False) == found[6]
    for prompt, limit, answer in zip(prompts, limits, found, strict=True):
        if limit:
            assert plain_answer(model, prompt, limit) == answer


@cache
def one_by_one(name: str) -> list[Answer]:
    """
    What a model says to each of the prompts below alone; the same for every size of batch.
    """
    model = make_lm(name)
    prompts = [*prompts_of("different"), *prompts_of("different shared")]
    return [plain_answer(model, prompt) for prompt in prompts]


@pytest.mark.parametrize("name", ["qwen3", "mistral"])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 32])
def test_the_size_of_a_batch_changes_nothing(name: str, batch_size: int) -> None:
    """
    Rows of several batches that are not done yet go on together.
    """
    model = make_lm(name)
    prompts = [*prompts_of("different"), *prompts_of("different shared")]
    expected = one_by_one(name)
    continuations = expectations(expected)
    found = score(model, prompts, continuations, batch_size=batch_size)
    assert expected == [a for a, _ in found]
    check_losses(model, prompts, continuations, found)


def test_a_deadline_in_the_past_asks_nothing() -> None:
    """
    Every answer is timed out, nothing is scored and no pass is made.
    """
    model = make_lm("qwen3")
    passes = Passes(model)
    prompts = prompts_of("different")
    found = score(model, prompts, [[(5, True)]] * 6, deadline=time.monotonic() - 1)
    assert [(Answer([], False, True), (0.0, 0))] * 6 == found
    assert [] == passes.tokens


def slow(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


@pytest.mark.parametrize("name", ["qwen3", "mamba"])
def test_a_deadline_cuts_between_two_tokens(name: str) -> None:
    """
    What was said by then is kept, and later batches are not begun.
    """
    model = recurrent(name) if name == "mamba" else make_lm(name)
    prompts = prompts_of("equal")
    options = {"stop_token_ids": frozenset(), "max_new_tokens": 400, "batch_size": 2}
    began = time.monotonic()
    found = answers(model, prompts, deadline=began + 0.5, on_token=slow(0.02), **options)
    assert time.monotonic() - began < 5
    assert all(a.timed_out and not a.stopped for a in found)
    assert all(0 < len(a.ids) < 400 for a in found[:2])
    options["max_new_tokens"] = len(found[0].ids)
    assert answers(model, prompts[:2], **options)[0].ids == found[0].ids


@pytest.mark.parametrize("name", ["qwen3", "mamba"])
def test_an_item_is_cut_when_it_has_had_its_time(name: str) -> None:
    """
    The next batch has its own; a cut answer is timed out and a finished one is not.
    """
    model = recurrent(name) if name == "mamba" else make_lm(name)
    found = answers(
        model,
        prompts_of("equal"),
        stop_token_ids=frozenset(),
        max_new_tokens=[400, 2, 400, 2],
        batch_size=2,
        item_seconds=0.4,
        on_token=slow(0.02),
    )
    assert [True, False, True, False] == [a.timed_out for a in found]
    assert all(2 < len(found[i].ids) < 400 for i in (0, 2))
    assert all(2 == len(found[i].ids) for i in (1, 3))


@pytest.mark.parametrize("name", ["qwen3", "mamba"])
def test_an_item_is_charged_for_its_own_share_of_its_batch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Passes of a second: 10 for four answers are 2.5 s each, 10 for one answer are cut at 3 s.
    """
    now = 0.0

    def passed() -> None:
        nonlocal now
        now += 1.0

    for room in (cached_answers, pending, stock_answers):
        monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=lambda: now))
    model = recurrent(name) if name == "mamba" else make_lm(name)
    options: dict[str, Any] = {
        "stop_token_ids": frozenset(),
        "max_new_tokens": 10,
        "deadline": 1e9,
        "item_seconds": 3.0,
        "on_token": passed,
        "batch_size": 8,
    }
    four = answers(model, prompts_of("equal"), **options)
    one = answers(model, prompts_of("equal")[:1], **options)
    assert [(10, False)] * 4 == [(len(a.ids), a.timed_out) for a in four]
    assert [(3, True)] == [(len(a.ids), a.timed_out) for a in one]


def test_answers_are_counted_as_they_end() -> None:
    """
    Not only at the end of all: how long the rest takes is told from it.
    """
    model, calls = make_lm("qwen3"), []
    prompts = prompts_of("equal")
    found = answer_and_score(
        model,
        prompts,
        [[] for _ in prompts],
        stop_token_ids=frozenset(),
        pad_token_id=0,
        max_new_tokens=[2 + i for i in range(len(prompts))],
        deadline=time.monotonic() + 60,
        on_answered=calls.append,
    )
    assert [1] * len(prompts) == calls
    assert [2 + i for i in range(len(prompts))] == [len(answer.ids) for answer, _ in found]


def test_every_pass_gives_a_sign_of_life_and_its_error_ends_the_call() -> None:
    """
    That is how a worker that has to stop gets out.
    """
    model, calls = make_lm("qwen3"), []
    answers(
        model,
        prompts_of("equal"),
        stop_token_ids=frozenset(),
        batch_size=8,
        on_token=lambda: calls.append(0),
    )
    assert LIMIT == len(calls)

    def stop() -> None:
        raise KeyError("stop")

    with pytest.raises(KeyError):
        answers(model, prompts_of("equal"), on_token=stop)
    assert model.training


def test_what_prompts_share_is_run_once_and_what_is_agreed_on_never_again() -> None:
    """
    One pass for the kind of cache, one for the prefix, one for prompts with their answers.
    """
    model, prompts = make_lm("qwen3"), prompts_of("equal shared")
    said = [plain_answer(model, prompt) for prompt in prompts]
    continuations = [[(t, True) for t in [*a.ids, *([] if a.stopped else [5])]] for a in said]
    for continuation, answer in zip(continuations, said, strict=True):
        if answer.stopped:
            free = answers(model, [prompts[said.index(answer)]], stop_token_ids=frozenset())
            continuation.append((free[0].ids[len(answer.ids)], True))
    passes = Passes(model)
    assert said == [a for a, _ in score(model, prompts, continuations, batch_size=8)]
    tail = max(map(len, continuations)) - 1
    assert [1, len(HEAD), len(prompts) * (9 + tail)] == passes.tokens


@pytest.mark.parametrize("name", ["qwen3", "gemma3", "gpt2"])
def test_choices_score_as_each_alone(name: str) -> None:
    """
    The prompt is run once; a choice's log-likelihood is that of the whole sequence without it.
    """
    model, choices = make_lm(name), [tokens(n, n) for n in (1, 7, 3, 12)]
    passes = Passes(model)
    found = choice_scores(model, HEAD, [*choices, []], 0)
    assert [1, len(HEAD) - 1, 5 * 12] == passes.tokens
    assert (0.0, 0) == found[-1]
    model.eval()
    for choice, (log_likelihood, n) in zip(choices, found, strict=False):
        with torch.no_grad():
            nll = plain_loss(model, (HEAD + choice, [i >= 30 for i in range(30 + len(choice))]))
        assert (len(choice), pytest.approx(-float(nll), rel=1e-5)) == (n, log_likelihood)
        [(alone, _)] = choice_scores(model, HEAD, [choice], 0)
        assert alone == pytest.approx(-float(nll), rel=1e-5)


def test_a_model_is_left_as_it_was() -> None:
    """
    Training goes on: mode, cache setting, gradients and random numbers are the same.
    """
    model = make_lm("qwen3")
    model.config.use_cache = False
    state = torch.get_rng_state()
    score(model, prompts_of("equal shared"))
    choice_scores(model, HEAD, [[5]], 0)
    assert model.training
    assert model.config.use_cache is False
    assert torch.equal(state, torch.get_rng_state())
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in model.parameters())
    model.eval()
    generate(
        model,
        [HEAD],
        stop_token_ids=STOPS,
        pad_token_id=0,
        max_new_tokens=2,
        deadline=time.monotonic() + 60,
    )
    assert not model.training


def test_no_prompts_no_answers() -> None:
    """
    A call without prompts returns nothing.
    """
    assert [] == answers(make_lm("qwen3"), [])
    assert [] == choice_scores(make_lm("qwen3"), HEAD, [], 0)


def looping() -> Any:
    """
    A model that says the same token for ever once it has begun: every position predicts 5.
    """
    model = make_lm("qwen3")
    with torch.no_grad():
        head = model.get_output_embeddings()
        head.weight = torch.nn.Parameter(torch.zeros_like(head.weight))
        model.config.tie_word_embeddings = False
        head.weight[5] = 1e-3
        norm = model.get_decoder().norm.weight
        norm.copy_(torch.ones_like(norm))
        model.get_input_embeddings().weight.abs_()
        for layer in model.get_decoder().layers:
            for parameter in layer.parameters():
                parameter.zero_()
    return model


def test_an_answer_that_repeats_itself_is_cut_but_not_while_it_is_right() -> None:
    """
    A greedy model does not leave a loop; an expected answer may still be one.
    """
    model = looping()
    arguments: dict[str, Any] = {
        "stop_token_ids": {2},
        "pad_token_id": 0,
        "max_new_tokens": 90,
        "deadline": time.monotonic() + 60,
    }
    prompts: list[list[int]] = [[7, 8, 9], [9, 8, 7]]
    golden = [(5, True)] * 70
    whole = answer_and_score(model, prompts, [[], golden], **arguments)
    cut = answer_and_score(model, prompts, [[], golden], **arguments, cut_loops=True)

    assert [[5] * 90, [5] * 90] == [answer.ids for answer, _ in whole]
    assert [[5] * 48, [5] * 72] == [answer.ids for answer, _ in cut]
    for answer, _ in cut:
        assert not answer.stopped
        assert not answer.timed_out
