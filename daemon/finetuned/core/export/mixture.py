"""
Which precision each matrix of a GGUF file gets: llama.cpp's mixtures, for dense models.

A K-quant "M" keeps in more bits what costs most accuracy: the language head, and in some layers
the values of attention and the way out of the MLP. The rules are those of llama.cpp's
src/llama-quant.cpp. Pure: names and sizes in, a precision out.
"""

from __future__ import annotations

import re
from typing import Final

from finetuned.core.export.request import Quant

BLOCK: Final = {
    "F16": 1,
    "Q5_0": 32,
    "Q5_1": 32,
    "Q8_0": 32,
    "Q4_K": 256,
    "Q5_K": 256,
    "Q6_K": 256,
}
"""Weights of a row that are quantised together; a row must be a multiple of it."""

_USUAL: Final = {Quant.Q8_0: "Q8_0", Quant.Q5_K_M: "Q5_K", Quant.Q4_K_M: "Q4_K"}
_FALLBACK: Final = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""What is taken for rows that are no multiple of 256."""

_KEPT: Final = re.compile(
    r"_norm\.weight$|ffn_gate_inp|position_embd|token_types|conv1d|altup|laurel"
)
"""Matrices that are not quantised."""

_LAYER: Final = re.compile(r"^blk\.(\d+)\.(attn_v|attn_qkv|ffn_down)\.weight$")


def precision_of(
    name: str, columns: int, dimensions: int, quant: Quant, *, n_layers: int, has_head: bool
) -> str | None:
    """
    Return the precision of a tensor by its name in GGUF, None if it stays as it is.

    Args:
        name: As ``blk.0.attn_v.weight``.
        columns: Length of a row.
        dimensions: 1 for a vector, 2 for a matrix, 3 for matrices of experts.
        quant: Of the file.
        n_layers: Layers of the model, > 0.
        has_head: Whether the language head is a matrix of its own.
    """
    if dimensions < 2 or not name.endswith("weight") or _KEPT.search(name):
        return None
    wanted = _USUAL[quant]
    if quant is not Quant.Q8_0:
        wanted = _mixed(name, wanted, n_layers=n_layers, has_head=has_head)
    if columns % BLOCK[wanted]:
        wanted = _FALLBACK.get(wanted, "F16")
    return wanted if columns % BLOCK[wanted] == 0 else "F16"


def _mixed(name: str, usual: str, *, n_layers: int, has_head: bool) -> str:
    if name == ("output.weight" if has_head else "token_embd.weight"):
        return "Q6_K"
    layer = _LAYER.match(name)
    if layer is None:
        return usual
    if layer[2] == "attn_qkv":
        return {"Q4_K": "Q5_K", "Q5_K": "Q6_K"}[usual]
    return "Q6_K" if _costs_more(int(layer[1]), n_layers) else usual


def _costs_more(layer: int, n_layers: int) -> bool:
    """Return whether a layer is among the first or last eighth, or every third between them."""
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2
