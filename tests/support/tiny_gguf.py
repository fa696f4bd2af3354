"""
A Llama of two layers as a GGUF file in 4-bit blocks, as published small models are, and a
Python package that holds it.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.bases.known import KnownBase, Wheel

if TYPE_CHECKING:
    import numpy as np

WIDTH, LAYERS, HEADS, KEY_HEADS, POSITIONS = 64, 2, 4, 2, 256
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

_PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Names of a layer's weights in transformers, and in GGUF."""


def _names() -> dict[str, str]:
    """Return all names of weights in transformers, and in GGUF."""
    names = {"model.embed_tokens.weight": "token_embd.weight"}
    names["model.norm.weight"] = "output_norm.weight"
    for layer in range(LAYERS):
        for ours, theirs in _PARTS.items():
            names[f"model.layers.{layer}.{ours}.weight"] = f"blk.{layer}.{theirs}.weight"
    return names


def _rotated(name: str, weights: np.ndarray) -> np.ndarray:
    """Return queries and keys with the two halves of each head interleaved, as GGUF has them."""
    if not name.endswith(("q_proj.weight", "k_proj.weight")):
        return weights
    heads = HEADS if "q_proj" in name else KEY_HEADS
    return (
        weights.reshape(heads, 2, weights.shape[0] // heads // 2, weights.shape[1])
        .swapaxes(1, 2)
        .reshape(weights.shape)
    )


def make_tiny_gguf(path: Path, *, pre: str = "smollm") -> dict[str, np.ndarray]:
    """
    Write the file, and return the weights that it stands for, by their names in transformers.

    Args:
        path: The file.
        pre: How it says that text is cut.
    """
    import gguf
    import numpy as np
    from tokenizers import pre_tokenizers

    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "12", "he"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(POSITIONS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_freq_base(100_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(["1 2", "h e"])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    random = np.random.default_rng(0)
    rows = {"embed_tokens": len(tokens), "k_proj": WIDTH // 2, "v_proj": WIDTH // 2}
    rows |= {"gate_proj": 2 * WIDTH, "up_proj": 2 * WIDTH}
    weights = {}
    for ours, theirs in _names().items():
        part = ours.split(".")[-2]
        if "norm" in part:
            weights[ours] = random.normal(1, 0.1, WIDTH).astype(np.float32)
            writer.add_tensor(theirs, weights[ours])
            continue
        columns = 2 * WIDTH if part == "down_proj" else WIDTH
        drawn = random.normal(0, 0.2, (rows.get(part, WIDTH), columns)).astype(np.float32)
        kind = gguf.GGMLQuantizationType.Q4_1
        blocks = gguf.quants.quantize(_rotated(ours, drawn), kind)
        writer.add_tensor(theirs, blocks, raw_dtype=kind)
        # Blocks lie along a row, and rotating moves whole rows.
        weights[ours] = gguf.quants.dequantize(gguf.quants.quantize(drawn, kind), kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def make_tiny_wheel(folder: Path) -> KnownBase:
    """
    Write a package with the tiny model into *folder*, and return what it is to the product.
    """
    make_tiny_gguf(folder / "tiny.gguf")
    model = (folder / "tiny.gguf").read_bytes()
    name, version, member = "tiny_gguf_model", "0.1.2", "tiny_gguf_model/tiny.gguf"
    about = f"{name}-{version}.dist-info"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, model)
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('code of the package was run')\n")
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    file = f"{name}-{version}-py3-none-any.whl"
    (folder / file).write_bytes(packed.getvalue())
    return KnownBase(
        name="tiny",
        title="Tiny",
        publisher="a test",
        licence="Apache-2.0",
        parameters=sum(map(len, [model])),
        max_positions=POSITIONS,
        wheel=Wheel(
            package=name,
            version=version,
            file=file,
            bytes=len(packed.getvalue()),
            sha256=hashlib.sha256(packed.getvalue()).hexdigest(),
            member=member,
            member_bytes=len(model),
            member_sha256=hashlib.sha256(model).hexdigest(),
        ),
    )
