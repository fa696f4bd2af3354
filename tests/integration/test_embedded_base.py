"""
Laws of the embedded base model, its tokenizer and the text it was made from.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetuned.data.intents import is_intent
from finetuned.sources import intents

MICRO = Path(__file__).resolve().parents[2] / "models" / "base" / "micro"
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "op"},
    {"role": "user", "content": [{"type": "text", "text": "is a.lan "}, {"text": "up?"}]},
    {"role": "assistant", "content": "", "tool_calls": [
        {"type": "function", "function": {"name": "ping", "arguments": {"host": "a.lan"}}}
    ]},
    {"role": "tool", "content": "up"},
    {"role": "assistant", "content": "a.lan: up"},
]  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": "ping", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(MICRO)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(MICRO)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=80))
@example('  Add user  svc-jo.x\t\r\n\x00 to \u65e5\u672c \U0001f600 caf\u00e9 e\u0301 {"a":"b"}, ')
@example("the share. a: b, *.x://")
def test_any_text_comes_back_as_it_was(tokenizer: Any, text: str) -> None:
    """
    Tokens are bytes and words, so nothing is lost, normalised or unknown.
    """
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize("name", ["svc-marco", "share", "web.share.lan", "user1", "/srv/data/the"])
def test_a_name_has_the_same_tokens_wherever_it_stands(tokenizer: Any, name: str) -> None:
    """
    Copying from the prompt into JSON is copying token by token.
    """
    inside = tokenizer.tokenize(f'"{name}"')
    alone = tokenizer.tokenize(name)
    assert [t for t in inside if t.strip('"')] == alone
    if name != "share":
        assert tokenizer.tokenize(f"x {name} y")[2:-2] == alone


def test_the_template_renders_every_role_and_marks_what_is_trained(tokenizer: Any) -> None:
    """
    The mask covers each assistant turn and the stop token that ends it, and nothing else.
    """
    text = tokenizer.apply_chat_template(MESSAGES, tools=TOOLS, tokenize=False)
    assert text == (
        "<|im_start|>system\nop\ntools:\n" + json.dumps(TOOLS[0]) + "<|im_end|>\n"
        "<|im_start|>user\nis a.lan up?<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>{"name": "ping", "arguments": {"host": "a.lan"}}'
        "</tool_call><|im_end|>\n"
        "<|im_start|>tool\nup<|im_end|>\n"
        "<|im_start|>assistant\na.lan: up<|im_end|>\n"
    )
    encoded = tokenizer.apply_chat_template(
        MESSAGES, tools=TOOLS, return_dict=True, return_assistant_tokens_mask=True
    )
    pairs = zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
    trained = tokenizer.decode([token for token, mask in pairs if mask])
    assert trained == (
        '<tool_call>{"name": "ping", "arguments": {"host": "a.lan"}}</tool_call><|im_end|>'
        "a.lan: up<|im_end|>"
    )


def test_a_prompt_is_a_prefix_of_the_whole_conversation(tokenizer: Any) -> None:
    """
    What generation starts from is what training saw before the answer.
    """
    row = MESSAGES[:2] + MESSAGES[-1:]
    whole = tokenizer.apply_chat_template(row)["input_ids"]
    prompt = tokenizer.apply_chat_template(row[:-1], add_generation_prompt=True)["input_ids"]
    assert whole[: len(prompt)] == prompt
    assert tokenizer.decode(whole[len(prompt) :]) == "a.lan: up<|im_end|>\n"


def test_stop_and_padding_are_distinct_tokens_everywhere(tokenizer: Any, model: Any) -> None:
    """
    Tokenizer, model and generation settings agree on what ends an answer.
    """
    stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert tokenizer.eos_token_id == stop
    assert model.generation_config.eos_token_id == [stop]
    assert tokenizer.pad_token_id == model.config.pad_token_id != stop
    assert len(tokenizer) == model.config.vocab_size


def test_the_model_is_small_and_is_what_was_asked_for(model: Any) -> None:
    """
    A Qwen3 of 3 to 8 million parameters in bf16, tied, at most 16 MB on disk.
    """
    assert model.config.model_type == "qwen3"
    assert 3_000_000 <= sum(p.numel() for p in model.parameters()) <= 8_000_000
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.config.tie_word_embeddings
    assert model.config.max_position_embeddings >= 2048
    assert sum(f.stat().st_size for f in MICRO.iterdir()) <= 16_000_000


def test_the_base_does_not_know_the_demo_before_it_is_trained(tokenizer: Any, model: Any) -> None:
    """
    It stops by itself, and answers no test row in the demo's schema.
    """
    stop = tokenizer.eos_token_id
    for row in intents.test_rows()[::20]:
        prompt = tokenizer.apply_chat_template(
            row["messages"][:1], add_generation_prompt=True, return_tensors="pt"
        )
        with torch.no_grad():
            out = model.float().generate(**prompt, max_new_tokens=200)[0].tolist()
        answer = tokenizer.decode(out[prompt["input_ids"].shape[1] :])
        assert out[-1] == stop
        assert answer != row["messages"][1]["content"] + "<|im_end|>"


def names_of(row: dict[str, Any]) -> set[str]:
    """
    Return the names that stand in the gaps of a test row.
    """
    gaps = re.split(r"\{\w+\}", row["metadata"]["phrasing"])
    found = re.fullmatch("(.+?)".join(map(re.escape, gaps)), row["messages"][0]["content"])
    assert found is not None
    return set(found.groups())


def test_the_corpus_keeps_its_promises() -> None:
    """
    No name of the test set, no answer in the demo's schema, the same text from the same seed.
    """
    from experiments.base_model.corpus import documents

    names = set().union(*map(names_of, intents.test_rows()))
    texts = [document["messages"] for document in islice(documents(0), 4000)]
    words = {w for d in texts for m in d for w in re.split(r"[\s\",=(){}\[\]]+|[.:;!?](?!\S)",
                                                             str(m["content"]))}  # fmt: skip
    assert len(names) > 200
    assert names & words == set()
    for messages in texts:
        for message in messages:
            if message["content"].startswith("{"):
                assert not is_intent(orjson.loads(message["content"].split(" ")[0].split("\n")[0]))
    assert [d["messages"] for d in islice(documents(0), 4000)] == texts
