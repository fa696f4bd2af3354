"""
Which precision each matrix of a GGUF file gets.
"""

import pytest

from finetuned.core.export.mixture import BLOCK, precision_of
from finetuned.core.export.request import Quant

QUANTS = [Quant.Q8_0, Quant.Q5_K_M, Quant.Q4_K_M]


def kinds(quant, *, columns=256, n_layers=8, has_head=False):
    names = ["token_embd.weight", *(["output.weight"] if has_head else [])]
    parts = ("attn_q", "attn_v", "ffn_down")
    names += [f"blk.{i}.{part}.weight" for i in range(n_layers) for part in parts]
    return {
        name: precision_of(name, columns, 2, quant, n_layers=n_layers, has_head=has_head)
        for name in names
    }


def test_the_head_keeps_six_bits_and_so_do_some_layers():
    """
    Of 8 layers those before the first and after the last eighth, and every third between.
    """
    found = kinds(Quant.Q4_K_M)

    assert "Q6_K" == found["token_embd.weight"]
    assert [0, 3, 6, 7] == [i for i in range(8) if found[f"blk.{i}.attn_v.weight"] == "Q6_K"]
    assert {"Q4_K"} == {found[f"blk.{i}.attn_q.weight"] for i in range(8)}
    assert "Q4_K" == kinds(Quant.Q4_K_M, has_head=True)["token_embd.weight"]


@pytest.mark.parametrize("quant", QUANTS)
@pytest.mark.parametrize("columns", [64, 96, 100, 256, 576])
def test_a_row_is_always_a_whole_number_of_blocks(quant, columns):
    """
    llama.cpp cannot read a row that ends inside of a block.
    """
    found = kinds(quant, columns=columns).values()

    assert {0} == {columns % BLOCK[kind] for kind in found}


@pytest.mark.parametrize("quant", QUANTS)
@pytest.mark.parametrize(
    ("name", "dimensions"),
    [("blk.0.attn_norm.weight", 1), ("output_norm.weight", 2), ("a.bias", 2)],
)
def test_norms_and_vectors_stay_as_they_are(quant, name, dimensions):
    assert precision_of(name, 256, dimensions, quant, n_layers=2, has_head=False) is None
