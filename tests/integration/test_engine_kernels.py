"""
Which way of computing is used: only one that was seen to be right, and then the fastest.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import transformers

from finetuned.loss.candidates import candidates
from finetuned.loss.kernel_check import refusal
from finetuned.loss.kernels import choose
from finetuned.loss.micro_batch import MaskedTokens
from finetuned.loss.supervised import Kernels, SupervisedLM
from support.engine import ARCHITECTURES, SPLIT, make_lm, row, tokens, with_lora

_CPU = torch.device("cpu")


def _rows() -> list[MaskedTokens]:
    head = tokens(48, 0)
    return [row(head + tokens(12 + i, 1 + i), (52, 60 + i)) for i in range(4)]


def _chosen(lm: Any, *, prefix: str = "auto", may_autocast: bool = False) -> Any:
    model = SupervisedLM(lm, Kernels("stock", lm.config._attn_implementation)).train()
    choice = choose(
        model, _rows(), prefix=prefix, may_autocast=may_autocast, on_progress=lambda: None
    )
    assert (choice.kernels, choice.autocast) == (model.kernels, model.autocast)
    return choice


class _Forgetful(transformers.Qwen3ForCausalLM):  # type: ignore[misc]
    """
    Attention that does not look at the cache it is given.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        for layer in self.model.layers:
            inner = layer.self_attn.forward

            def forward(*args: Any, _inner: Any = inner, **kwargs: Any) -> Any:
                return _inner(*args, **{**kwargs, "past_key_values": None})

            layer.self_attn.forward = forward


class _Displaced(transformers.Qwen3ForCausalLM):  # type: ignore[misc]
    """
    Positions that always begin at zero, whatever the caller says.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        inner = self.model.rotary_emb.forward

        def forward(x: torch.Tensor, position_ids: torch.Tensor) -> Any:
            return inner(x, position_ids - position_ids[:, :1])

        self.model.rotary_emb.forward = forward


class _Unplaced(transformers.Qwen3ForCausalLM):  # type: ignore[misc]
    """
    Positions counted from the beginning of whatever it is given.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        inner = self.model.rotary_emb.forward

        def forward(x: torch.Tensor, position_ids: torch.Tensor) -> Any:
            return inner(x, torch.arange(position_ids.shape[1]).unsqueeze(0))

        self.model.rotary_emb.forward = forward


class _Louder(transformers.Qwen3ForCausalLM):  # type: ignore[misc]
    """
    A language model that does more to its hidden states than the head does.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * 1.5
        return output


def _broken(kind: Any) -> Any:
    healthy = make_lm("qwen3")
    model = kind(healthy.config)
    model.load_state_dict(healthy.state_dict())
    return model.train()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_known_architecture_shares_its_prefixes(name: str) -> None:
    """
    No candidate of a model that transformers ships is refused on this machine.
    """
    choice = _chosen(make_lm(name))
    assert {} == choice.refused
    assert choice.kernels.prefix in ("split", "cache")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_attention_in_two_parts_is_for_those_that_see_everything(name: str) -> None:
    """
    A sliding window, a softcap or dropout in attention is nothing that it could do.
    """
    lm = make_lm(name)
    offered = {k.prefix for k in candidates(lm, _CPU)}
    assert (name in SPLIT) == ("split" in offered)
    for setting in ("attention_dropout", "attn_pdrop"):
        setattr(lm.config, setting, 0.1)
    assert "split" not in {k.prefix for k in candidates(lm, _CPU)}


@pytest.mark.parametrize("kind", [_Forgetful, _Displaced])
def test_a_model_whose_cache_is_broken_is_not_run_through_it(kind: Any) -> None:
    """
    The cache is refused with the number that says why; a way without it is right and is used.
    """
    choice = _chosen(_broken(kind))
    assert "split" == choice.kernels.prefix
    (refused,) = choice.refused
    assert refused.startswith("prefix=cache")
    assert "differs by" in choice.refused[refused]
    assert "none" == _chosen(_broken(kind), prefix="cache").kernels.prefix


def test_experts_share_their_prefixes_too() -> None:
    """
    Of the last layer they see the scored positions alone.
    """
    lm = make_lm("qwen3_moe")
    model = SupervisedLM(lm, Kernels("stock", "sdpa")).train()
    ways = candidates(lm, _CPU)
    assert ["split", "cache", "none", "stock"] == [k.prefix for k in ways]
    assert [None] * 4 == [refusal(model, kernels) for kernels in ways]


def test_a_model_without_positions_runs_its_rows_side_by_side() -> None:
    """
    Where no shared way is right, plain rows are, and are used.
    """
    choice = _chosen(_broken(_Unplaced))
    assert "none" == choice.kernels.prefix
    assert {"split", "cache"} == {r.split()[0].removeprefix("prefix=") for r in choice.refused}
    for reason in choice.refused.values():
        assert "differs by" in reason


def test_a_model_that_does_more_than_its_head_is_run_as_it_is() -> None:
    """
    Where even plain rows with our head differ, the model's own forward is what is left.
    """
    choice = _chosen(_broken(_Louder))
    assert "stock" == choice.kernels.prefix
    assert 3 == len(choice.refused)


def test_a_cache_that_raises_is_a_refusal() -> None:
    """
    What fails in the check would fail in every step: the reason is kept, nothing escapes.
    """
    lm = make_lm("qwen3")
    inner = lm.model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("past_key_values") is not None:
            raise NotImplementedError("no cache here")
        return inner(*args, **kwargs)

    lm.model.forward = forward
    choice = _chosen(lm, prefix="cache")
    assert "none" == choice.kernels.prefix
    assert {"NotImplementedError: no cache here"} == set(choice.refused.values())


def test_every_shared_candidate_is_timed_or_refused() -> None:
    """
    Nothing is chosen unseen; the plain ways are for models that can do no better.
    """
    for lm in (_broken(_Unplaced), make_lm("qwen3")):
        offered = candidates(lm, _CPU)
        choice = _chosen(lm)
        looked_at = {*choice.timings, *choice.refused}
        shared = [k for k in offered if k.prefix in ("split", "cache")]
        assert 2 == len(shared)
        for kernels in shared:
            assert any(name.startswith(str(kernels)) for name in looked_at)
    assert all(seconds > 0 for seconds in choice.timings.values())


def test_rows_that_do_not_fit_refuse_a_candidate_and_not_the_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Out of memory while timing: the rehearsal that follows finds a size that fits.
    """
    lm = make_lm("qwen3")
    inner = SupervisedLM.batch_loss

    def batch_loss(self: SupervisedLM, batch: Any) -> torch.Tensor:
        if len(batch.branches) == len(_rows()):
            raise torch.OutOfMemoryError("planted")
        return inner(self, batch)

    monkeypatch.setattr(SupervisedLM, "batch_loss", batch_loss)
    choice = _chosen(lm)
    assert {} == choice.timings
    assert {"OutOfMemoryError: planted"} == set(choice.refused.values())
    assert choice.kernels.prefix in ("split", "cache")


@pytest.mark.parametrize("prefix", ["split", "cache", "none", "stock"])
def test_what_is_configured_is_what_is_used(prefix: str) -> None:
    """
    training.kernels names one way; it is still checked.
    """
    assert prefix == _chosen(make_lm("llama"), prefix=prefix).kernels.prefix


def test_looking_changes_nothing() -> None:
    """
    Parameters, gradients, training mode and random state are bit for bit what they were.
    """
    lm = with_lora(make_lm("qwen3"), lora_dropout=0.2)
    for i, parameter in enumerate(lm.parameters()):
        if parameter.requires_grad and i % 2:
            parameter.grad = torch.randn_like(parameter)
    model = SupervisedLM(lm, Kernels("stock", "sdpa")).train()
    before = copy.deepcopy({n: (p.data, p.grad) for n, p in lm.named_parameters()})
    state = torch.get_rng_state()
    choose(model, _rows(), prefix="auto", may_autocast=True, on_progress=lambda: None)
    assert torch.equal(state, torch.get_rng_state())
    assert all(m.training for m in model.modules())
    for name, parameter in lm.named_parameters():
        data, gradient = before[name]
        assert torch.equal(data, parameter.data), name
        assert (gradient is None) == (parameter.grad is None), name
        assert gradient is None or torch.equal(gradient, parameter.grad), name


def test_float16_is_never_tried() -> None:
    """
    On a CPU it is slow and overflows: what is tried is the loaded precision and bfloat16.
    """
    choice = _chosen(make_lm("qwen3"), may_autocast=True)
    tried = {name.rpartition(" head=")[2].partition(" ")[2] for name in choice.timings}
    assert "as loaded" in tried
    assert tried <= {"as loaded", "bfloat16"}
    assert choice.autocast in (None, torch.bfloat16)


def test_recomputation_leaves_the_plain_way_only() -> None:
    """
    Layers that are run again do not meet the cache they met before.
    """
    lm = make_lm("qwen3")
    lm.gradient_checkpointing_enable({"use_reentrant": False})
    assert ["none", "stock"] == [k.prefix for k in candidates(lm, _CPU)]
    model = SupervisedLM(lm, Kernels("stock", "sdpa")).train()
    assert None is refusal(model, Kernels("none", "sdpa"))


def _several(monkeypatch: pytest.MonkeyPatch, lm: Any, kernels: str) -> Kernels:
    """
    Return what each of two processes chooses.
    """
    from finetuned.config import TrainingConfig
    from finetuned.training import kernel_choice

    monkeypatch.setattr(kernel_choice, "world", lambda: 2)
    model = SupervisedLM(lm, Kernels("stock", lm.config._attn_implementation)).train()
    chosen = kernel_choice.choose_afresh(
        model,
        TrainingConfig(kernels=kernels),
        typical=_rows(),
        may_autocast=True,
        on_progress=lambda: None,
    )
    assert {} == chosen.timings
    assert chosen.kernels == model.kernels
    return model.kernels


@pytest.mark.parametrize("kernels", ["auto", "split", "cache"])
def test_several_processes_share_nothing_that_is_computed_again(
    monkeypatch: pytest.MonkeyPatch, kernels: str
) -> None:
    """
    In a check without training a cache looks right; in training transformers drops it.
    """
    lm = make_lm("qwen3")
    lm.gradient_checkpointing_enable({"use_reentrant": False})
    assert "none" == _several(monkeypatch, lm, kernels).prefix


@pytest.mark.parametrize("kernels", ["auto", "split"])
def test_several_processes_do_not_split_what_slides(
    monkeypatch: pytest.MonkeyPatch, kernels: str
) -> None:
    """
    Rows of a check are shorter than most windows.
    """
    lm = make_lm("mistral")
    lm.config.sliding_window = 64
    assert "split" != _several(monkeypatch, lm, kernels).prefix


@pytest.mark.parametrize("prefix", ["split", "cache"])
def test_a_way_that_would_compute_something_else_raises(prefix: str) -> None:
    """
    Whoever set it: no loss is better than a wrong one.
    """
    lm = make_lm("qwen3")
    lm.gradient_checkpointing_enable({"use_reentrant": False})
    model = SupervisedLM(lm, Kernels(prefix, "sdpa")).train()
    with pytest.raises(RuntimeError, match="gradient checkpointing"):
        model(_rows())


def test_what_a_lineage_computed_with_is_recalled_where_it_is_offered_and_right() -> None:
    """
    As it was, or the best that is right, or nothing where it is not offered.
    """
    from finetuned.config import TrainingConfig
    from finetuned.training.kernel_choice import recall

    def recalled(lm: Any, known: str, **training: Any) -> Any:
        model = SupervisedLM(lm, Kernels("stock", lm.config._attn_implementation)).train()
        choice = recall(model, TrainingConfig(**training), known, "bfloat16")
        return choice and (choice.kernels.prefix, choice.precision)

    lm = make_lm("qwen3")
    for kernels in candidates(lm, _CPU):
        assert kernels == Kernels.parse(str(kernels))
    cache, none = str(Kernels("cache", "sdpa")), str(Kernels("none", "sdpa"))
    assert ("cache", "bfloat16") == recalled(lm, cache)
    assert ("split", "bfloat16") == recalled(lm, none)  # nothing speaks against it any more
    assert ("none", "bfloat16") == recalled(lm, none, kernels="none")
    assert None is recalled(lm, cache, kernels="none")
    for nothing in ("", "split", "prefix=split"):
        assert None is recalled(lm, nothing)
    lm.gradient_checkpointing_enable({"use_reentrant": False})
    assert None is recalled(lm, cache)
    assert ("none", "bfloat16") == recalled(lm, none)


def test_held_out_rows_are_scored_within_the_budget() -> None:
    """
    Batches of 16 rows at most, within the tokens that training fits; a longer row alone.
    """
    from finetuned.training.held_out import cut_into_batches

    rows = sorted((row(tokens(n, n), (1, n)) for n in range(2, 90)), key=lambda r: len(r[0]))
    for limit in (1, 50, 300, 10**6):
        batches = cut_into_batches(rows, limit)
        assert rows == [r for batch in batches for r in batch]
        for batch in batches:
            cost = len(batch) * max(len(ids) for ids, _ in batch)
            assert len(batch) <= 16
            assert len(batch) == 1 or cost <= limit


def test_scored_rows_keep_no_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A chunk of logits is gone before the next is made.
    """
    import weakref

    from finetuned.loss import supervised
    from finetuned.loss.head_loss import LanguageHead
    from finetuned.loss.micro_batch import make_micro_batch

    model = SupervisedLM(make_lm("qwen3"), Kernels("split", "sdpa")).eval()
    batch = make_micro_batch(_rows(), 0)
    whole = model.row_losses(batch)
    alive: list[Any] = []
    most = 0
    inner = LanguageHead.__call__

    def counted(self: LanguageHead, hidden: torch.Tensor) -> torch.Tensor:
        nonlocal most
        logits = inner(self, hidden)
        alive.append(weakref.ref(logits))
        most = max(most, sum(x().numel() for x in alive if x() is not None))
        return logits

    monkeypatch.setattr(LanguageHead, "__call__", counted)
    monkeypatch.setattr(supervised, "CHUNK_LOGITS", 500)
    assert torch.allclose(whole, model.row_losses(batch), rtol=1e-5)
    assert len(alive) > 4
    assert most <= 500
