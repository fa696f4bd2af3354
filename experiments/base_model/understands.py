"""
What the embedded base model understands before any job, asked in its own notation.

    python -m experiments.base_model.understands benchmarks/infra_200.jsonl
    python -m experiments.base_model.understands --base build/try benchmarks/people_100.jsonl

Each row's answer, an intent, is written in the notation ``op``; an answer is right if it is
the same JSON. Answers are the likeliest tokens, one thread.

Exit status: 0 asked, 1 a row's answer is no intent.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.base_model.notations import as_json
from finetuned.data.intents import IntentError, canonical

ROOT = Path(__file__).resolve().parents[2]
MAX_NEW_TOKENS = 200
AT_ONCE = 25


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.base_model.understands",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suites", type=Path, nargs="+", help="files of commands and intents")
    parser.add_argument("--base", type=Path, default=ROOT / "models/base/micro", help="folder")
    parser.add_argument("--show", action="store_true", help="print what was answered wrong")
    args = parser.parse_args(argv)
    for suite in args.suites:
        rows = [json.loads(line) for line in suite.read_text().splitlines()]
        try:
            wanted = [_in_op(row) for row in rows]
        except IntentError as e:
            print(f"{suite}: {e}", file=sys.stderr)
            return 1
        right: Counter[str] = Counter()
        asked: Counter[str] = Counter()
        for row, want, answer in zip(rows, wanted, answers(args.base, rows), strict=True):
            part = row.get("metadata", {}).get("split", "all")
            asked[part] += 1
            right[part] += (good := _same(answer, want))
            if args.show and not good:
                print(f"{row['messages'][0]['content']}\n    {want}\n    {answer}")
        print(f"{suite.name}: " + ", ".join(f"{right[p]} of {asked[p]} {p}" for p in asked))
    return 0


def _in_op(row: dict[str, Any]) -> str:
    intent = canonical(json.loads(row["messages"][-1]["content"]))
    return as_json(intent["steps"] if intent["action"] == "batch" else [intent])


def _same(answer: str, want: str) -> bool:
    try:
        return bool(json.loads(answer) == json.loads(want))
    except ValueError:
        return False


def answers(base: Path, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """
    Yield the base model's answer to the prompt of each row.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "system", "content": "op"}, row["messages"][0]], add_generation_prompt=True
        )["input_ids"]
        for row in rows
    ]
    order = sorted(range(len(rows)), key=lambda i: len(prompts[i]))
    found: dict[int, str] = {}
    for at in range(0, len(order), AT_ONCE):
        part = order[at : at + AT_ONCE]
        width = max(len(prompts[i]) for i in part)
        left = [width - len(prompts[i]) for i in part]
        ids = [[tokenizer.pad_token_id] * n + prompts[i] for n, i in zip(left, part, strict=True)]
        mask = [[0] * n + [1] * (width - n) for n in left]
        with torch.no_grad():
            out = model.generate(
                input_ids=torch.tensor(ids),
                attention_mask=torch.tensor(mask),
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=False,
            )
        for i, tokens in zip(part, out.tolist(), strict=True):
            found[i] = tokenizer.decode(tokens[width:], skip_special_tokens=True)
    yield from (found[i] for i in range(len(rows)))


if __name__ == "__main__":
    sys.exit(main())
