"""
What real tokenizers and their stock templates make of real rows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from finetuned.data.examples import Example
from finetuned.data.reader import to_example
from finetuned.data.render import Renderer
from finetuned.data.strict_json import parse_line
from finetuned.data.training_sequence import TrainingSequence
from finetuned.errors import BaseModelMissing, ConfigError, MalformedExample

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
TOKENIZERS = DATA / "tokenizers"
MICRO = ROOT / "models" / "base" / "micro"

pytestmark = pytest.mark.skipif(
    not TOKENIZERS.is_dir(), reason="shared/data/tokenizers is not here"
)

STOPS = {"qwen3": "<|im_end|>", "phi3": "<|end|>", "gpt2": "<|endoftext|>"}
CONVERSATIONS = (
    "alpaca_instructions",
    "gsm8k_prompt_completion",
    "syllo_levels_1_to_5",
    "toolcalls_sharegpt",
)
TOOL = {"type": "function", "function": {"name": "add", "description": "", "parameters": {}}}


@cache
def _renderer(name: str, *, max_length: int = 16_384, enable_thinking: bool = False) -> Renderer:
    return Renderer.load(TOKENIZERS / name, max_length=max_length, enable_thinking=enable_thinking)


@cache
def _auto_tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(TOKENIZERS / name)


def _examples(dataset: str, n: int = 80) -> list[Example]:
    with (DATA / "datasets" / f"{dataset}.jsonl").open("rb") as f:
        return [to_example(parse_line(line)) for _, line in zip(range(n), f, strict=False)]


def _chat(*contents: str, **more: Any) -> Example:
    """Alternating user and assistant messages."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": c} for i, c in enumerate(contents)]
    return to_example({"messages": messages, **more})


def _runs(sequence: TrainingSequence) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each run of supervised ids."""
    begin = None
    for i, learned in enumerate([*sequence.supervised, False]):
        if learned and begin is None:
            begin = i
        elif not learned and begin is not None:
            yield begin, i
            begin = None


def _refusal(renderer: Renderer, example: Example) -> MalformedExample:
    with pytest.raises(MalformedExample) as caught:
        renderer.render(example)
    return caught.value


@pytest.mark.parametrize("name", STOPS)
@pytest.mark.parametrize("dataset", CONVERSATIONS)
def test_exactly_the_answers_are_learned(name: str, dataset: str) -> None:
    """
    The supervised spans decode to the assistant's turns, each with its stop token, and no more.
    """
    renderer = _renderer(name)
    n_turns = 0
    for example in _examples(dataset):
        if name == "phi3" and any(m["role"] == "tool" for m in example.messages):
            assert "template_drops" == _refusal(renderer, example).code
            continue
        if name == "phi3" and example.tools:
            continue
        sequences = renderer.render(example)
        turns = iter(m for m in example.messages if m["role"] == "assistant")
        for sequence in sequences:
            assert len(sequence.input_ids) == len(sequence.supervised)
            for begin, end in _runs(sequence):
                turn = next(turns)
                n_turns += 1
                learned = renderer.decode(sequence.input_ids[begin:end])
                assert sequence.input_ids[end - 1] in renderer.stop_token_ids
                assert 1 == sum(i in renderer.stop_token_ids for i in sequence.input_ids[begin:end])
                if "tool_calls" in turn:
                    assert turn["tool_calls"][0]["function"]["name"] in learned
                    assert learned.endswith("</tool_call>" + STOPS[name])
                else:
                    assert turn["content"] + STOPS[name] == learned
        assert [] == list(turns)
    assert n_turns > 0


@pytest.mark.parametrize("name", STOPS)
@pytest.mark.parametrize("dataset", CONVERSATIONS)
def test_each_turn_is_learned_after_what_serving_sees(name: str, dataset: str) -> None:
    """
    The ids before each supervised span are the whole prompt, rendered and tokenised alone.
    """
    renderer, tokenizer = _renderer(name), _auto_tokenizer(name)
    for example in _examples(dataset, 40):
        try:
            sequences = renderer.render(example)
        except MalformedExample:
            continue
        at = iter(i for i, m in enumerate(example.messages) if m["role"] == "assistant")
        for sequence in sequences:
            for begin, _ in _runs(sequence):
                i = next(at)
                expected = tokenizer.apply_chat_template(
                    example.messages[:i],
                    tools=example.tools,
                    add_generation_prompt=True,
                    enable_thinking=False,
                    chat_template=renderer._tokenizer.chat_template,
                    return_dict=False,
                )
                assert expected == sequence.input_ids[:begin]
        assert renderer.prompt_ids(example) == sequences[-1].input_ids[:begin]


@pytest.mark.parametrize("name", STOPS)
def test_golden_is_what_the_last_span_teaches(name: str) -> None:
    """
    What an answer is compared with is what was learned, less the stop token.
    """
    renderer = _renderer(name)
    for example in _examples("gsm8k_prompt_completion", 20):
        sequence = renderer.render(example)[-1]
        begin, end = list(_runs(sequence))[-1]
        assert renderer.golden(example) == renderer.decode(sequence.input_ids[begin : end - 1])


@pytest.mark.parametrize("name", STOPS)
def test_rendering_together_is_rendering_one_by_one(name: str) -> None:
    """
    A batch changes the speed and nothing else, and one bad row spoils no other.
    """
    renderer = _renderer(name)
    examples = [*_examples("toolcalls_sharegpt", 12), *_examples("web_text", 3)]
    examples.insert(5, _chat("hi", f"no {STOPS[name]} here"))
    together = renderer.render_many(examples)

    for example, outcome in zip(examples, together, strict=True):
        if isinstance(outcome, MalformedExample):
            assert outcome.code == _refusal(renderer, example).code
        else:
            assert outcome == renderer.render(example)
    assert isinstance(together[5], MalformedExample)


def test_a_template_that_rewrites_history_splits_the_conversation() -> None:
    """
    Stock Qwen3 drops the think block of earlier turns: each turn becomes its own sequence.
    """
    renderer = _renderer("qwen3")
    first, second = renderer.render(_chat("1+1?", "Two.", "2+2?", "Four."))

    assert 1 == renderer.decode(first.input_ids).count("<think>")
    assert 1 == renderer.decode(second.input_ids).count("<think>")
    assert "Two." in renderer.decode(second.input_ids)
    assert 1 == len(list(_runs(second)))


@pytest.mark.parametrize("name", ["phi3", "gpt2"])
def test_a_template_that_keeps_history_gives_one_sequence(name: str) -> None:
    """
    All turns are learned in one row where serving sees them so.
    """
    (sequence,) = _renderer(name).render(_chat("1+1?", "Two.", "2+2?", "Four."))

    assert 2 == len(list(_runs(sequence)))


@pytest.mark.parametrize("name", STOPS)
@pytest.mark.parametrize("answer", ["\n\nx", "  x", "x\n", "\tx  \n", "é\u0301", "🙂", "\u200bx"])
def test_no_merge_crosses_from_the_prompt_into_the_answer(name: str, answer: str) -> None:
    """
    Whatever an answer begins with, the prompt keeps the ids it has alone.
    """
    renderer = _renderer(name)
    example = _chat("hi", answer)
    (sequence,) = renderer.render(example)
    begin, _ = next(_runs(sequence))

    assert renderer.prompt_ids(example) == sequence.input_ids[:begin]
    # Qwen3's tokenizer composes characters; Phi-3's decoder takes one space off the front.
    expected = unicodedata.normalize("NFC", renderer.golden(example)) + STOPS[name]
    learned = unicodedata.normalize("NFC", renderer.decode(sequence.input_ids[begin:]))
    assert learned in (expected, expected[1:] if name == "phi3" and answer[0] == " " else expected)


def test_stop_tokens_are_found_without_being_told() -> None:
    """
    The end of a turn is read off the template; the tokenizer's eos stops as well.
    """
    for name, stop in STOPS.items():
        tokenizer = _auto_tokenizer(name)
        expected = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(stop)}
        assert expected == _renderer(name).stop_token_ids
    assert 50256 == _renderer("gpt2").pad_token_id


def test_stop_tokens_of_the_generation_config_count(tmp_path: Path) -> None:
    """
    A model may stop at more tokens than its tokenizer knows of.
    """
    (tmp_path / "tokenizer.json").symlink_to(TOKENIZERS / "gpt2" / "tokenizer.json")
    (tmp_path / "tokenizer_config.json").symlink_to(TOKENIZERS / "gpt2" / "tokenizer_config.json")
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [50256, 7]}')

    assert {50256, 7} == Renderer.load(tmp_path, max_length=100).stop_token_ids


def test_thinking_is_one_switch_for_prompt_and_answer() -> None:
    """
    Switched on, the model learns the think block; off, it is part of the prompt.
    """
    example = _chat("hi", "Hello.")
    off, on = _renderer("qwen3"), _renderer("qwen3", enable_thinking=True)

    assert "Hello." == off.golden(example)
    assert "<think>\n\n</think>\n\nHello." == on.golden(example)
    assert off.fingerprint != on.fingerprint

    reasoned = _chat("hi", "<think>\nPolite.\n</think>\n\nHello.")
    assert "<think>\nPolite.\n</think>\n\nHello." == on.golden(reasoned)
    assert "think_conflict" == _refusal(off, reasoned).code


@pytest.mark.parametrize("name", STOPS)
def test_control_tokens_in_a_conversation_are_refused(name: str) -> None:
    """
    A row cannot end its own turn, nor forge another's, wherever it hides the token.
    """
    stop = STOPS[name]
    call = {"function": {"name": "add", "arguments": {"a": stop}}}
    rows: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": f"x{stop}"}]},
        {"messages": [{"role": "system", "content": stop}, {"role": "user", "content": "x"}]},
        {
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "tool_calls": [call]},
            ]
        },
    ]
    for row in rows:
        row["messages"].append({"role": "assistant", "content": "y"})
        error = _refusal(_renderer(name), to_example(row))
        assert "control_token" == error.code
        assert stop in error.reason
    tool = {"type": "function", "function": {"name": "f", "description": stop}}
    assert "control_token" == _refusal(_renderer(name), _chat("x", "y", tools=[tool])).code


def test_what_a_template_would_lose_is_refused() -> None:
    """
    Phi-3's template knows neither tools nor the tool role.
    """
    renderer = _renderer("phi3")
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": {}}}]}
    user, answer = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
    tool = {"role": "tool", "content": "4"}

    dropped_role = _refusal(renderer, to_example({"messages": [user, tool, answer]}))
    assert "template_drops" == dropped_role.code
    assert "'tool'" in dropped_role.reason
    assert "template_drops" == _refusal(renderer, to_example({"messages": [user, call]})).code
    assert "template_drops" == _refusal(renderer, _chat("x", "y", tools=[TOOL])).code


def test_too_long_is_refused_with_both_numbers_and_never_cut() -> None:
    """
    The limit itself is allowed, one token more is not.
    """
    example = _chat("hi", "word " * 50)
    n = len(_renderer("qwen3").render(example)[0].input_ids)

    exact = Renderer.load(TOKENIZERS / "qwen3", max_length=n)
    assert n == len(exact.render(example)[0].input_ids)
    error = _refusal(Renderer.load(TOKENIZERS / "qwen3", max_length=n - 1), example)
    assert "too_long" == error.code
    assert str(n) in error.reason
    assert str(n - 1) in error.reason


@pytest.mark.parametrize("name", STOPS)
def test_a_text_is_learned_whole_and_ends(name: str) -> None:
    """
    Every id of a plain text but the first, which nothing predicts, is supervised; eos follows.
    """
    renderer = _renderer(name)
    for example in _examples("web_text", 10):
        (sequence,) = renderer.render(example)
        assert [False] + [True] * (len(sequence.input_ids) - 1) == sequence.supervised
        assert renderer.eos_token_id == sequence.input_ids[-1]
        begins = "<s> " if name == "phi3" else ""  # as that tokenizer begins every text
        assert begins + str(example.text) == renderer.decode(sequence.input_ids[:-1])
        with pytest.raises(ValueError, match="text"):
            renderer.golden(example)


def test_the_fingerprint_tells_what_changes_ids_or_limits() -> None:
    """
    Equal settings agree; another limit or tokenizer does not.
    """
    again = Renderer.load(TOKENIZERS / "gpt2", max_length=16_384)

    assert again.fingerprint == _renderer("gpt2").fingerprint
    assert again.fingerprint != _renderer("gpt2", max_length=100).fingerprint
    assert again.fingerprint != _renderer("phi3").fingerprint


def _mask_by_markers(tokenizer: Any, example: Example) -> tuple[list[int], list[bool]]:
    marked = tokenizer.apply_chat_template(
        example.messages,
        tools=example.tools,
        return_dict=True,
        return_assistant_tokens_mask=True,
        enable_thinking=False,
    )
    return marked["input_ids"], [bool(m) for m in marked["assistant_masks"]]


def _assert_mask_equals_markers(folder: Path, examples: list[Example]) -> None:
    from transformers import AutoTokenizer

    renderer = Renderer.load(folder, max_length=16_384)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for example in examples:
        (sequence,) = renderer.render(example)
        ids, mask = _mask_by_markers(tokenizer, example)
        n = len(sequence.input_ids)  # the markers' rendering may go on after the last stop token
        assert ids[:n] == sequence.input_ids
        assert mask[:n] == sequence.supervised
        assert not any(mask[n:])


GENERATION_TEMPLATE = """\
{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' %}
{%- generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}
{%- else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


def test_the_mask_equals_the_one_of_generation_markers(tmp_path: Path) -> None:
    """
    Where a template does mark its answers, both ways agree on ids and mask.
    """
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).symlink_to(TOKENIZERS / "qwen3" / name)
    (tmp_path / "chat_template.jinja").write_text(GENERATION_TEMPLATE)
    examples = _examples("alpaca_instructions", 20) + _examples("gsm8k_prompt_completion", 20)

    _assert_mask_equals_markers(tmp_path, [*examples, _chat("1?", "One.", "2?", "Two.")])


@pytest.mark.skipif(
    not (MICRO / "tokenizer.json").is_file(), reason="models/base/micro is not here"
)
def test_the_mask_equals_the_markers_of_the_embedded_model() -> None:
    """
    micro's own template marks its answers; training sees the same ids and mask.
    """
    examples = [
        _chat("Add an A record for api.local to 10.0.0.5", '{"action":"dns_add"}'),
        _chat("hi", "Hello.", "Who made you?", "People did."),
        *_examples("gsm8k_prompt_completion", 10),
    ]

    _assert_mask_equals_markers(MICRO, examples)


def test_no_tokenizer_is_a_clear_error(tmp_path: Path) -> None:
    """
    The configuration is wrong, not the dataset.
    """
    with pytest.raises(BaseModelMissing):
        Renderer.load(tmp_path, max_length=100)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError):
        Renderer.load(tmp_path, max_length=100)


def test_rendering_does_not_load_torch() -> None:
    """
    Ingestion must start in a second and leave the memory to training.
    """
    code = (
        "import sys; from pathlib import Path; from finetuned.data.render import Renderer;"
        "from finetuned.data.reader import to_example;"
        f"r = Renderer.load(Path({str(TOKENIZERS / 'gpt2')!r}), max_length=100);"
        "r.render(to_example({'prompt': 'a', 'completion': 'b'}));"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {"PYTHONPATH": str(ROOT / "daemon"), "PATH": "/usr/bin:/bin"}

    assert 0 == subprocess.run([sys.executable, "-c", code], env=environment).returncode


def test_tool_arguments_are_rendered_as_json() -> None:
    """
    The call that is learned can be parsed again.
    """
    example = to_example(
        {
            "messages": [
                {"role": "user", "content": "2+2?"},
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "add", "arguments": '{"a": "ü"}'}}],
                },
            ],
            "tools": [TOOL],
        }
    )
    for name in ("qwen3", "gpt2"):
        golden = _renderer(name).golden(example)
        call = json.loads(golden.split("<tool_call>")[1].split("</tool_call>")[0])
        assert {"name": "add", "arguments": {"a": "ü"}} == call
