"""
A model with fewer operations a pass gives the logits of the model as transformers runs it.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import DynamicCache

from finetuned.inference import fused_lm
from finetuned.inference.cached_lm import CachedLM
from finetuned.inference.fused_lm import FusedLM, fused
from support.engine import ARCHITECTURES, VOCABULARY, make_lm, with_lora

FUSED = {"llama", "qwen2", "qwen3"}


def loaded(name: str) -> Any:
    """
    Return a model as one that is served: without gradients.
    """
    model = make_lm(name).eval()
    model.requires_grad_(False)
    return model


def run(lm: CachedLM) -> torch.Tensor:
    """
    Return logits of three rows that differ in length, over three passes on one cache.
    """
    ids = torch.randint(0, VOCABULARY, (3, 330), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, :200] = 0
    mask[1, :3] = 0
    cache, found = DynamicCache(), []
    with torch.inference_mode():
        for begin, end, keep in ((0, 310, 2), (310, 311, 1), (311, 330, 19)):
            found.append(lm.logits(ids[:, begin:end], mask[:, :end], cache, keep))
    return torch.cat(found, 1)


@pytest.mark.parametrize("name", sorted(FUSED & ARCHITECTURES.keys()))
def test_known_models_are_fused_and_give_their_own_logits(name: str) -> None:
    """
    With grouped heads, biases or norms of heads, whatever the lengths; and nothing is kept twice.
    """
    expected = run(CachedLM(loaded(name)))
    model = loaded(name)
    storages = sum({p.untyped_storage().data_ptr(): p.nbytes for p in model.parameters()}.values())
    lm, again = fused(model), fused(model)
    own = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in model.parameters()}

    assert [FusedLM, FusedLM] == [type(lm), type(again)]
    torch.testing.assert_close(run(lm), expected, rtol=1e-4, atol=1e-5)
    assert storages == sum(own.values())
    torch.testing.assert_close(run(CachedLM(model)), expected)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES.keys() - FUSED))
def test_other_models_stay_as_they_are(name: str) -> None:
    """
    Another shape, a sliding window or another activation is left to transformers.
    """
    assert CachedLM is type(fused(loaded(name)))


def test_an_adapter_beside_its_base_stays_as_it_is() -> None:
    """
    Its matrices are not those of its layers.
    """
    model = with_lora(make_lm("qwen3")).eval()

    assert CachedLM is type(fused(model))


def test_a_model_whose_logits_differ_is_not_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The probe sees what the configuration does not say.
    """
    monkeypatch.setattr(fused_lm, "_half_turned", lambda x: x)

    assert CachedLM is type(fused(loaded("qwen3")))
