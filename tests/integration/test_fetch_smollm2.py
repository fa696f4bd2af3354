"""
SmolLM2-135M-Instruct, really downloaded and converted, is the model that its publisher documents.

Takes 93 MB of network and about a minute, so it runs with FINETUNED_LONG=1 only.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetuned.cli.program import main
from finetuned.layout import Layout

pytestmark = [pytest.mark.slow, pytest.mark.long]

NAME = "smollm2-135m"
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""As the publisher's tokenizer_config.json has it; so in several public test suites."""
IDS = {
    "Hello, world!": [19556, 28, 905, 17],
    "The capital of France is Paris.": [504, 3575, 282, 4649, 314, 7042, 30],
    "2 + 2 = 4": [34, 1232, 216, 34, 446, 216, 36],
    "123 abc": [33, 34, 35, 43239],
    "The quick brown fox jumps over 13 lazy dogs.": [
        *(504, 2365, 6354, 16438, 27003, 690, 216, 33, 35, 23790, 5046, 30)
    ],
}
"""Token ids of the publisher's tokenizer, as public ports of it record them."""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """
    A root into which the model was fetched.
    """
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    layout = Layout(tmp_path_factory.mktemp("root"))
    assert 0 == main(["base", "fetch", NAME, "--root", str(layout.root)])
    return layout


def test_the_tokenizer_cuts_as_the_publishers_does(layout: Layout) -> None:
    """
    Also digits, which the file's format says in one word only.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(layout.bases / NAME)

    assert IDS == {text: tokenizer(text)["input_ids"] for text in IDS}
    assert TEMPLATE == tokenizer.chat_template
    assert (49_152, 8192) == (len(tokenizer), tokenizer.model_max_length)
    assert [0, 1, 2, 2] == tokenizer.convert_tokens_to_ids(
        [tokenizer.unk_token, tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token]
    )


def test_the_shape_is_the_publishers(layout: Layout) -> None:
    """
    As in its config.json.
    """
    config = json.loads((layout.bases / NAME / "config.json").read_text())

    expected = {
        "model_type": "llama",
        "vocab_size": 49_152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    assert expected == {key: config[key] for key in expected}
    assert 100_000 == config["rope_parameters"]["rope_theta"]
    assert 1e-5 == pytest.approx(config["rms_norm_eps"])


def test_it_answers_a_question(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """
    What an untrained, or wrongly converted, model could not know.
    """
    question = "What is the capital of France?"

    assert 0 == main(["ask", question, "--model", NAME, "--root", str(layout.root)])
    assert "Paris" in capsys.readouterr().out


def test_rows_can_be_checked_against_it(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Token counts are those of its tokenizer.
    """
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(
            json.dumps({"prompt": f"What is {i} + {i}?", "completion": f"{2 * i}"}) + "\n"
            for i in range(30)
        )
    )

    assert 0 == main(["check", str(rows), "--base", NAME, "--root", str(layout.root)])
    assert "30" in capsys.readouterr().out
