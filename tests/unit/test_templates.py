"""
What chat templates do with the parts of a row: what they drop, and where they open a think block.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from finetuned.data.reader import to_example
from finetuned.data.render import Renderer
from finetuned.errors import MalformedExample

MICRO = Path(__file__).parents[2] / "models" / "base" / "micro"
REPORTED = Path(__file__).parents[3] / "shared" / "data" / "reported"
TURN = "{{ '<|im_start|>' + message.role + '\\n' }}"
END = "{{ '<|im_end|>\\n' }}"
ASKS = "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
LOOP = "{%- for message in messages %}"

CALLS_WITHOUT_CONTENT = (
    f"{LOOP}{TURN}"
    "{%- if message.tool_calls %}{% for call in message.tool_calls %}"
    "{{ call.function | tojson }}{% endfor %}{% else %}{{ message.content }}{% endif %}"
    f"{END}{{%- endfor %}}{ASKS}"
)
"""Drops what the assistant says beside a call, as several wide-spread templates do."""

NAME_OF_THE_CALL_ONLY = (
    f"{LOOP}{TURN}{{{{ message.content }}}}"
    "{%- for call in message.tool_calls or [] %}{{ call.function.name }}{% endfor %}"
    f"{END}{{%- endfor %}}{ASKS}"
)

OPENS_THINK = (
    f"{LOOP}{TURN}"
    "{%- set content = message.content %}"
    "{%- if message.role == 'assistant' and '</think>' in content %}"
    "{%- set content = content.split('</think>')[-1] %}{% endif %}"
    f"{{{{ content }}}}{END}{{%- endfor %}}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}"
)
"""The prompt opens a think block, and the history is rendered without it."""

REASONS = (
    f"{LOOP}{TURN}"
    "{%- if message.role == 'assistant' and enable_thinking %}"
    "{{ '<think>\\n' + (message.reasoning_content or '') + '\\n</think>\\n\\n' }}{% endif %}"
    f"{{{{ message.content }}}}{END}{{%- endfor %}}{ASKS}"
    "{%- if add_generation_prompt and not enable_thinking %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
)
"""Has reasoning if it is switched on, and closes the think block in the prompt if it is not."""

CUTS_BEFORE = (
    f"{LOOP}{TURN}"
    "{%- set content = message.content %}"
    "{%- if '</think>' in content %}"
    "{{ '<think>' + content.split('</think>')[0].split('<think>')[-1] + '</think>' }}"
    "{%- set content = content.split('</think>')[-1] %}{% endif %}"
    f"{{{{ content }}}}{END}{{%- endfor %}}{ASKS}"
)
"""Keeps the think block and what follows it, and loses what stands before it."""

Load = Callable[..., Renderer]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """
    Return a loader of the embedded tokenizer with another template.
    """

    @cache
    def with_template(
        template: str | None, *, adds_bos: bool = False, enable_thinking: bool = False
    ) -> Renderer:
        tokenizer = json.loads((MICRO / "tokenizer.json").read_text())
        settings = json.loads((MICRO / "tokenizer_config.json").read_text())
        if adds_bos:
            begin = {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}
            tokenizer["post_processor"]["single"].insert(0, begin)
            tokenizer["post_processor"]["special_tokens"] = {
                "<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}
            }
            settings["bos_token"] = "<|im_start|>"
        folder = tmp_path_factory.mktemp("base")
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        if template is not None:
            (folder / "chat_template.jinja").write_text(template)
        return Renderer.load(folder, max_length=500, enable_thinking=enable_thinking)

    return with_template


def row(asked: str, said: str, **more: Any) -> dict[str, Any]:
    """
    Return a row of one question and one answer, whose turn has *more* keys.
    """
    return {
        "messages": [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": said, **more},
        ]
    }


def calls(**arguments: str) -> dict[str, Any]:
    return {"tool_calls": [{"function": {"name": "light", "arguments": arguments}}]}


def learned(renderer: Renderer, given: dict[str, Any]) -> list[str]:
    """
    Return the text of each run of tokens that carry loss.
    """
    found: list[list[int]] = []
    for sequence in renderer.render(to_example(given)):
        before = False
        for token, supervised in zip(sequence.input_ids, sequence.supervised, strict=True):
            if supervised and not before:
                found.append([])
            if supervised:
                found[-1].append(token)
            before = supervised
    return [renderer.decode(ids) for ids in found]


def refusal(renderer: Renderer, given: dict[str, Any]) -> MalformedExample:
    with pytest.raises(MalformedExample) as caught:
        renderer.render(to_example(given))
    return caught.value


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("Lights in the porch", "Lights in the porch"),
        ("Lights, yes?", "yes"),
        ("Lights", "They go on now."),
        ("Lights", "porch"),
        ("Lights", "light"),
    ],
)
def test_a_dropped_content_is_noticed_wherever_its_text_also_stands(
    load: Load, asked: str, said: str
) -> None:
    """
    In the question, in the call itself, or nowhere: what is lost is found by its place.
    """
    error = refusal(load(CALLS_WITHOUT_CONTENT), row(asked, said, **calls(room="porch")))

    assert "template_drops" == error.code
    assert "drops the content of message 1 (role 'assistant')" in error.reason


def test_what_is_rendered_in_its_place_is_accepted(load: Load) -> None:
    """
    The same template with a call alone, or with a content alone.
    """
    renderer = load(CALLS_WITHOUT_CONTENT)

    assert ["Done.<|im_end|>"] == learned(renderer, row("Lights", "Done."))
    (call,) = learned(renderer, row("Lights", "", **calls(room="porch")))
    expected = {"name": "light", "arguments": {"room": "porch"}}
    assert expected == json.loads(call.removesuffix("<|im_end|>"))


def test_dropped_arguments_are_noticed(load: Load) -> None:
    """
    The name alone is no call, and a call without arguments loses nothing.
    """
    renderer = load(NAME_OF_THE_CALL_ONLY)

    error = refusal(renderer, row("Lights in the porch", "Yes: ", **calls(room="porch")))
    assert "drops tool calls of message 1" in error.reason
    assert ["Yes: light<|im_end|>"] == learned(renderer, row("Lights", "Yes: ", **calls()))


def test_each_part_of_a_content_that_a_template_cuts_is_looked_for(load: Load) -> None:
    """
    Text before a think block is lost where the template cuts there.
    """
    renderer = load(CUTS_BEFORE)

    kept = row("3*4?", "<think>fours</think>12")
    assert ["<think>fours</think>12<|im_end|>"] == learned(renderer, kept)
    assert "template_drops" == refusal(renderer, row("Well?", "Well <think>fours</think>12")).code


def test_a_prompt_that_opens_a_think_block_is_trained_as_serving_sees_it(load: Load) -> None:
    """
    The model closes the block before it answers: after its reasoning, or at once.
    """
    renderer = load(OPENS_THINK)

    for said in ("<think>\nfours\n</think>\n\n12", "fours\n</think>\n\n12"):
        assert ["fours\n</think>\n\n12<|im_end|>"] == learned(renderer, row("3*4?", said))
    given = row("3*4?", "12", reasoning_content="fours")
    assert ["fours\n</think>\n\n12<|im_end|>"] == learned(renderer, given)
    assert ["\n</think>\n\n  12 <|im_end|>"] == learned(renderer, row("3*4?", "  12 "))
    assert "fours\n</think>\n\n12" == renderer.golden(to_example(given))
    assert renderer.decode(renderer.prompt_ids(to_example(given))).endswith("<think>\n")


def test_each_turn_of_such_a_conversation_is_trained(load: Load) -> None:
    """
    Earlier turns stand without their reasoning before the later ones, as in use.
    """
    first = row("3*4?", "<think>\nfours\n</think>\n\n12")["messages"]
    second = row("+1?", "13", thinking="add")["messages"]
    renderer = load(OPENS_THINK)

    expected = ["fours\n</think>\n\n12<|im_end|>", "add\n</think>\n\n13<|im_end|>"]
    assert expected == learned(renderer, {"messages": [*first, *second]})
    last = renderer.render(to_example({"messages": [*first, *second]}))[-1]
    assert "fours" not in renderer.decode(last.input_ids)


def test_lost_text_before_an_opened_block_is_noticed(load: Load) -> None:
    """
    What stands before the block cannot be written after it was opened.
    """
    error = refusal(load(OPENS_THINK), row("3*4?", "Well <think>fours</think>12"))

    assert "think_conflict" == error.code


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_is_rendered_if_template_and_setting_allow(load: Load, key: str) -> None:
    """
    Otherwise the row is refused with the reason that is true.
    """
    given = row("3*4?", "12", **{key: "fours"})

    on = load(REASONS, enable_thinking=True)
    assert ["<think>\nfours\n</think>\n\n12<|im_end|>"] == learned(on, given)
    off = refusal(load(REASONS), given)
    assert "think_conflict" == off.code
    assert "model.enable_thinking is false" in off.reason
    without = refusal(load(CALLS_WITHOUT_CONTENT), given)
    assert "template_drops" == without.code
    assert "drops the reasoning of message 1" in without.reason


def test_a_setting_that_is_on_is_never_said_to_be_off(load: Load) -> None:
    """
    A template that closes the block whatever the setting says.
    """
    closes = REASONS.replace("enable_thinking", "not_a_switch")

    for thinking in (True, False):
        error = refusal(load(closes, enable_thinking=thinking), row("?", "12", reasoning="fours"))
        assert "think_conflict" == error.code
        assert "enable_thinking" not in error.reason


def test_a_turn_that_is_not_trained_carries_no_loss(load: Load) -> None:
    """
    It is context for the turns after it.
    """
    renderer = load(None)
    turns = row("2+2?", "5", train=False)["messages"] + row("Sure?", "No, 4.")["messages"]

    assert ["No, 4.<|im_end|>"] == learned(renderer, {"messages": turns})
    (sequence,) = renderer.render(to_example({"messages": turns}))
    assert "Assistant:\n5<|im_end|>" in renderer.decode(sequence.input_ids)


def test_the_fallback_template_begins_as_the_tokenizer_does(load: Load) -> None:
    """
    A base that was trained with a first token is never shown a conversation without it.
    """
    example = to_example(row("Hi", "Hello"))

    (with_bos,) = load(None, adds_bos=True).render(example)
    assert [1] == with_bos.input_ids[:1]
    assert 1 not in with_bos.input_ids[1:]
    assert 1 not in load(None).render(example)[0].input_ids


def test_whether_names_are_shown_is_known(load: Load) -> None:
    """
    If they are not, rows with names are counted: who speaks is left out.
    """
    named = CUTS_BEFORE.replace(TURN, TURN + "{{ message.name or '' }}")

    assert not load(CUTS_BEFORE).shows_names
    assert load(named).shows_names


@pytest.mark.parametrize("adds_bos", [True, False])
def test_a_text_that_begins_with_the_first_token_has_it_once(load: Load, adds_bos: bool) -> None:
    """
    Whether the row writes it or the tokenizer adds it.
    """
    renderer = load(None, adds_bos=adds_bos)
    (written,) = renderer.render(to_example({"text": "<|im_start|>One tower."}))
    (plain,) = renderer.render(to_example({"text": "One tower."}))

    assert [1] == written.input_ids[:1]
    assert 1 not in written.input_ids[1:]
    assert (plain.input_ids == written.input_ids) == adds_bos


def test_a_row_whose_only_token_is_predicted_by_nothing_is_refused(load: Load) -> None:
    """
    Four steps of loss 0 would follow.
    """
    error = refusal(load(None), {"text": "<|im_end|>"})

    assert "no_supervised_token" == error.code
    assert "the first token of a row is predicted by nothing" in error.reason


def test_a_shape_is_rendered_with_markers_once(load: Load) -> None:
    """
    Rows of one shape cost one rendering each; a content that the template tests is another shape.
    """
    renderer = load(CUTS_BEFORE + "{# counted #}")
    check = renderer._template._check
    for i in range(50):
        renderer.render(to_example(row(f"{i}?", f"{i}!")))
    assert 1 == len(check._losses)
    for i in range(50):
        renderer.render(to_example(row(f"{i}?", f"<think>{i}</think>{i}")))
    assert 2 == len(check._losses)


def reported(name: str) -> list[dict[str, Any]]:
    """
    Return the rows of a file of reported inputs; skip the test if they are not here.
    """
    if not REPORTED.is_dir():
        pytest.skip("shared/data/reported is not here")
    return [json.loads(line) for line in (REPORTED / name).read_text().splitlines()]


def test_reported_contents_that_are_dropped_are_noticed(load: Load) -> None:
    """
    They also stand in the question, or in the call.
    """
    for given in reported("06_dropped_content_found_elsewhere.jsonl"):
        error = refusal(load(CALLS_WITHOUT_CONTENT), given)
        assert "drops the content of message 1" in error.reason


def test_reported_reasoning_is_trained_or_refused(load: Load) -> None:
    """
    Never an empty block in its place.
    """
    *fields, inline = reported("05_reasoning_fields.jsonl")
    expected = ["<think>\nThree fours are twelve.\n</think>\n\n12<|im_end|>"]
    for given in fields:
        assert expected == learned(load(REASONS, enable_thinking=True), given)
        assert "think_conflict" == refusal(load(REASONS), given).code
        assert "template_drops" == refusal(load(CALLS_WITHOUT_CONTENT), given).code
    assert expected == learned(load(CALLS_WITHOUT_CONTENT), inline)


def test_every_reported_row_is_trained_after_an_opened_think_block(load: Load) -> None:
    """
    Each answer of each row closes the block that the prompt opened.
    """
    for given in reported("11_template_opens_think.jsonl"):
        answers = [m["content"] for m in given["messages"] if m["role"] == "assistant"]
        texts = learned(load(OPENS_THINK), given)
        assert len(answers) == len(texts)
        for answer, text in zip(answers, texts, strict=True):
            _, closing, rest = text.partition("</think>\n\n")
            assert closing
            assert answer.rpartition("</think>")[2].lstrip("\n") + "<|im_end|>" == rest
