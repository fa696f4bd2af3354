"""
Chat templates as marks around turns, as a Modelfile can say them.
"""

import pytest

from finetuned.core.export.chat_marks import marks_of
from finetuned.errors import ExportRefused


def chatml(turns):
    return (
        "".join(f"<|im_start|>{r}\n{c}<|im_end|>\n" for r, c in turns) + "<|im_start|>assistant\n"
    )


def with_default_system(turns):
    given = turns if turns[0][0] == "system" else [("system", "You help."), *turns]
    return chatml(given)


def gemma(turns):
    system = ""
    if turns[0][0] == "system":
        system, turns = turns[0][1] + "\n\n", turns[1:]
    names = {"user": "user", "assistant": "model"}
    parts = ["<bos>"]
    for i, (role, content) in enumerate(turns):
        parts.append(f"<start_of_turn>{names[role]}\n{system if i == 0 else ''}{content}")
        parts.append("<end_of_turn>\n")
    return "".join(parts) + "<start_of_turn>model\n"


def llama3(turns):
    marks = "<|start_header_id|>{}<|end_header_id|>\n\n"
    body = "".join(marks.format(r) + c + "<|eot_id|>" for r, c in turns)
    return "<|begin_of_text|>" + body + marks.format("assistant")


@pytest.mark.parametrize("render", [chatml, with_default_system, gemma, llama3])
def test_marks_render_what_the_template_renders(render):
    """
    On a conversation of another length and other contents than those that were tried.
    """
    marks = marks_of(render)
    turns = [("system", "s."), *[("user", "a?"), ("assistant", "b!")] * 4, ("user", "c?")]

    assert render(turns) == marks.render(turns)
    assert render(turns[1:]) == marks.render(turns[1:])


def counted(turns):
    return f"{len(turns)} turns: " + chatml(turns)


def shouted(turns):
    return chatml([(r, c.upper()) for r, c in turns])


def only_last(turns):
    return chatml(turns[-1:])


@pytest.mark.parametrize("render", [counted, shouted, only_last])
def test_a_template_that_does_more_than_marks_is_refused(render):
    """
    Half a template would make a model that answers nonsense, or never stops.
    """
    with pytest.raises(ExportRefused, match="--to gguf"):
        marks_of(render)
