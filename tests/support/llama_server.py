"""
A real llama.cpp server with the embedded base model, exported to GGUF for tests.

llama.cpp does not know the base's own way of splitting words; the nearest that
it has gives the same tokens for plain text.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

from support.gateway import free_port, wait_until

SCRIPT = Path(__file__).with_name("serve_llama.py")


def export_gguf(base: Path, file: Path) -> None:
    """
    Write the Qwen3 model in folder *base* as GGUF with float32 weights.
    """
    import gguf
    import numpy as np
    from safetensors import deserialize

    config = orjson.loads((base / "config.json").read_bytes())
    blocks = config["num_hidden_layers"]
    writer = gguf.GGUFWriter(file, "qwen3")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(blocks)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    _add_tokenizer(writer, base, config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, blocks)
    for name, tensor in deserialize((base / "model.safetensors").read_bytes()):
        assert tensor["dtype"] == "BF16"  # the upper half of a float32
        values = np.frombuffer(tensor["data"], np.uint16).astype(np.uint32) << 16
        found = names.get_name(name, (".weight", ".bias"))
        writer.add_tensor(found, values.view(np.float32).reshape(tensor["shape"]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: Any, base: Path, config: dict[str, Any]) -> None:
    import gguf

    tokenizer = orjson.loads((base / "tokenizer.json").read_bytes())
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda pair: pair[1])
    special = {token["id"]: token["special"] for token in tokenizer["added_tokens"]}
    kinds = {None: gguf.TokenType.NORMAL, True: gguf.TokenType.CONTROL}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")  # a piece that is a token is taken whole
    writer.add_token_list([text for text, _ in vocabulary])
    writer.add_token_types(
        [kinds.get(special.get(at), gguf.TokenType.USER_DEFINED) for _, at in vocabulary]
    )
    writer.add_token_merges(["Ā Ā"])  # of two NUL bytes: llama.cpp wants at least one
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((base / "chat_template.jinja").read_text())


@contextmanager
def running_llama_cpp(file: Path, log: Path, alias: str = "micro") -> Iterator[str]:
    """
    Serve *file* as model *alias*; yields the address for OpenAI clients.
    """
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(file), str(port), alias],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
    try:

        def ready() -> bool:
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            try:
                return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(ready, "llama.cpp does not answer", 60)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.communicate()
