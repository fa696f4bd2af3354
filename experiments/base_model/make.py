"""
Make the embedded base model, models/base/micro, from a seed.

    python -m experiments.base_model.make --autocast   the model as in the repository
    python -m experiments.base_model.make --steps 200 --out /tmp/try   a poor one

A Qwen3 of a few million parameters with a tokenizer of its own, trained on the
text of ``corpus``. The budget is steps, not minutes, so that the same seed gives
the same model on the same machine and libraries.

Every --save-every steps the state is written to --state; the same command goes on
from there after an interruption and makes the same model. A state of other settings
is refused.

Exit status: 0 made, 1 the model is larger than the repository takes, 2 wrong arguments
or a state of other settings.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.base_model.corpus import documents
from experiments.base_model.state import OtherSettings, load_state, save_state
from experiments.base_model.tokenizer import build_tokenizer

HIDDEN_SIZE = 256
LAYERS = 4
HEADS = 4
HEAD_DIM = 64
MLP_SIZE = 768
MAX_LENGTH = 2048
PROMPT_WEIGHT = 0.1
"""Loss weight of what the user says: worth knowing, but names cannot be guessed."""
CHUNK_BATCHES = 16
"""Batches drawn at once and sorted by length, so that little is padding."""
MAX_BYTES = 16 * 2**20


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.base_model.make",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--out", type=Path, default=root / "models/base/micro", help="folder")
    parser.add_argument("--seed", type=int, default=0, help="of weights and corpus (default 0)")
    parser.add_argument("--steps", type=int, default=9000, help="optimizer steps (default 9000)")
    parser.add_argument("--batch", type=int, default=32, help="documents per step (default 32)")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="peak (default 3e-3)")
    parser.add_argument(
        "--state", type=Path, default=root / "build/base_model", help="folder of the state"
    )
    parser.add_argument("--save-every", type=int, default=200, help="steps (default 200)")
    parser.add_argument(
        "--autocast",
        action="store_true",
        help="products in bfloat16: quicker if the CPU has avx512_bf16, far slower if not",
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    args = parser.parse_args(argv)
    if min(args.steps, args.batch, args.save_every) < 1:
        parser.error("--steps, --batch and --save-every are at least 1")

    # A thread that waits for the other must not keep it from running (busy machine);
    # read when torch is first imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    tokenizer = build_tokenizer()
    try:
        model = pretrain(tokenizer, args)
    except OtherSettings as e:
        print(e, file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    save(model, tokenizer, args.out)
    size = sum(f.stat().st_size for f in args.out.iterdir())
    print(f"{args.out}: {size / 2**20:.1f} MiB")
    if size > MAX_BYTES:
        print(f"larger than {MAX_BYTES} bytes", file=sys.stderr)
        return 1
    return 0


def new_model(tokenizer: Any) -> Any:
    """
    Return the untrained model for *tokenizer*, weights from torch's current seed.
    """
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN_SIZE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=HEAD_DIM,
        intermediate_size=MLP_SIZE,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)


def batches(
    tokenizer: Any, *, seed: int, size: int, skip: int = 0
) -> Iterator[tuple[list[list[int]], list[list[float]]]]:
    """
    Yield token ids and loss weights of *size* documents of similar length, for ever.

    Args:
        tokenizer: The base model's own.
        seed: Of the documents and their order.
        size: Documents in a batch.
        skip: Batches to leave out at the start, those of the steps already made.
    """
    source = documents(seed)
    rng = random.Random(f"batches:{seed}")
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    assistant = tokenizer.convert_tokens_to_ids("assistant")
    stop = tokenizer.eos_token_id
    while True:
        drawn = [next(source) for _ in range(size * CHUNK_BATCHES)]
        texts = [
            tokenizer.apply_chat_template(d["messages"], tools=d.get("tools"), tokenize=False)
            for d in drawn
        ]
        ids = sorted(tokenizer(texts)["input_ids"], key=len)
        chunks = [ids[i : i + size] for i in range(0, len(ids), size)]
        rng.shuffle(chunks)
        for chunk in chunks[skip:]:
            yield chunk, [_weights(row, start, assistant, stop) for row in chunk]
        skip = max(0, skip - len(chunks))


def _weights(ids: list[int], start: int, assistant: int, stop: int) -> list[float]:
    weights: list[float] = []
    ours = False
    for i, token in enumerate(ids):
        weights.append(1.0 if ours else PROMPT_WEIGHT)
        if ours and token == stop:
            ours = False
        # <|im_start|> assistant \n: the answer begins after the line break.
        elif i >= 2 and ids[i - 2] == start and ids[i - 1] == assistant:
            ours = True
    return weights


def pretrain(tokenizer: Any, args: argparse.Namespace) -> Any:
    """
    Train a model for ``args.steps`` steps, from the saved state if there is one.

    Reports loss, speed and time left.

    Raises:
        OtherSettings: The saved state is of other settings.
    """
    import torch
    from torch.nn import functional

    from experiments.base_model.muon import Muon

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    torch.use_deterministic_algorithms(True)
    model = new_model(tokenizer)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens")
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    # Muon needs about half the steps AdamW does here; scaled so that one rate suits both.
    optimizers: list[Any] = [
        Muon(hidden, lr=args.learning_rate),
        torch.optim.AdamW(others, lr=args.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    warmup = min(100, args.steps // 10 + 1)

    def rate(step: int) -> float:
        if step <= warmup:
            return args.learning_rate * step / warmup
        done = (step - warmup) / max(1, args.steps - warmup)
        return args.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))

    settings = _settings(tokenizer, args)
    first = load_state(args.state, settings, model, optimizers)
    source = batches(tokenizer, seed=args.seed, size=args.batch, skip=first)
    began, tokens, recent = time.monotonic(), 0, 0.0
    model.train()
    for step in range(first + 1, args.steps + 1):
        for group in (g for o in optimizers for g in o.param_groups):
            group["lr"] = rate(step)
        rows, weights = next(source)
        # Few different shapes: the CPU kernels keep a plan (and its memory) for each.
        width = -(-max(map(len, rows)) // 16) * 16
        pad = tokenizer.pad_token_id
        ids = torch.tensor([r + [pad] * (width - len(r)) for r in rows])
        weight = torch.tensor([w + [0.0] * (width - len(w)) for w in weights])[:, 1:]
        # Padding is on the right and attention is causal: no mask is needed.
        with torch.autocast("cpu", torch.bfloat16, enabled=args.autocast):
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        losses = functional.cross_entropy(
            logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
        )
        loss = (losses * weight.flatten()).sum() / weight.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad()
        tokens += sum(map(len, rows))
        recent = loss.item() if step == first + 1 else 0.98 * recent + 0.02 * loss.item()
        if step % 50 == 0 or step == args.steps:
            spent = time.monotonic() - began
            left = spent / (step - first) * (args.steps - step)
            print(
                f"step {step}/{args.steps}  loss {recent:.4f}  "
                f"{tokens / spent:.0f} tokens/s  {left:.0f} s left",
                flush=True,
            )
        if step % args.save_every == 0:
            save_state(args.state, settings, step, model, optimizers)
    return model


def _settings(tokenizer: Any, args: argparse.Namespace) -> dict[str, str]:
    """
    Return what a state must agree in for the run to go on from it.
    """
    text = hashlib.sha256()
    for document in itertools.islice(documents(args.seed), 200):
        text.update(json.dumps(document, sort_keys=True).encode())
    text.update(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode())
    return {
        "seed": str(args.seed),
        "steps": str(args.steps),
        "batch": str(args.batch),
        "learning_rate": str(args.learning_rate),
        "autocast": str(args.autocast),
        "text": text.hexdigest(),
    }


def save(model: Any, tokenizer: Any, out: Path) -> None:
    """
    Write weights (bf16), tokenizer, template and generation settings into *out*.
    """
    import torch
    from transformers import GenerationConfig

    model = model.to(torch.bfloat16).eval()
    model.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=[tokenizer.eos_token_id],
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "LICENSE.txt").write_text(
        "Weights, tokenizer and the text they were made from: written for this project,\n"
        "Apache License 2.0. How they were made: docs/why/base-model.md.\n"
    )
    for path in out.iterdir():
        path.chmod(0o644)


if __name__ == "__main__":
    sys.exit(main())
