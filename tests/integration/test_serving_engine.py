"""
Many requests at once have the answers that each has alone, and each ends as it must.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from finetuned.core.copied import Invented
from finetuned.core.generation import (
    Cancel,
    EngineSettings,
    Failed,
    FailureKind,
    Finished,
    FinishReason,
    Generate,
    Guide,
    HeldModel,
    Piece,
    Sampling,
)
from finetuned.core.json_schema import schema_complaint
from support.serving import MICRO, EngineProcess, asked, running_engine

BASE = HeldModel(name="base", base=MICRO)
QUESTIONS = [
    "please add a dns record for web01.example.com pointing to 10.0.0.7",
    "create the user jdoe with home /home/jdoe",
    "share /srv/data as public over samba, read only",
    "delete the AAAA record of mail.example.org",
]


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineProcess]:
    with running_engine() as started:
        assert started.hold(BASE).names == ("base",)
        yield started


def prompts(n: int) -> list[str]:
    """
    Return different questions of different lengths.
    """
    return [f"{QUESTIONS[i % 4]}{', number ' + str(i) if i > 3 else ''}" for i in range(n)]


def alone(contents: list[str], max_tokens: int = 60) -> list[str]:
    """
    Return what transformers' own generate() answers to each prompt, one at a time.
    """
    tokenizer = PreTrainedTokenizerFast.from_pretrained(MICRO)
    model = AutoModelForCausalLM.from_pretrained(MICRO, dtype=torch.float32).eval()
    found = []
    for content in contents:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        whole = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, do_sample=False
        )
        answer = whole[0, ids.shape[1] :].tolist()
        stop = answer.index(2) if 2 in answer else len(answer)
        found.append(tokenizer.decode(answer[:stop]))
    return found


def test_a_request_that_joins_later_leaves_the_others_as_they_were(engine):
    """
    A second one begins while the first is being answered.
    """
    contents = prompts(2)
    engine.tell(asked("early", contents[0]))
    engine.until(lambda r: isinstance(r, Piece) and r.id == "early")
    engine.tell(asked("late", contents[1]))
    ends = {"early", "late"}
    while ends:
        ends.discard(engine.until(lambda r: isinstance(r, Finished)).id)

    assert alone(contents) == [engine.text("early"), engine.text("late")]


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(engine):
    """
    Also where it begins in one token and ends in another.
    """
    (whole,) = alone(prompts(1))
    stop = whole[7:12]
    ends = engine.answers(asked("stopped", prompts(1)[0], stop=(stop,)))

    assert whole[: whole.index(stop)] == engine.text("stopped")
    assert FinishReason.STOP == ends["stopped"].reason


def test_the_longest_answer_is_a_limit(engine):
    """
    The reason says that it was cut, and the tokens are counted.
    """
    end = engine.answers(asked("short", prompts(1)[0], max_tokens=3))["short"]

    assert (FinishReason.LENGTH, 3) == (end.reason, end.answer_tokens)


def test_the_same_seed_draws_the_same_answer(engine):
    """
    Whatever else runs beside it.
    """
    orders = [
        asked(f"drawn{i}", prompts(1)[0], temperature=1.5, seed=7, max_tokens=20) for i in range(2)
    ]
    engine.answers(orders[0])
    engine.answers(orders[1], *(asked(f"beside{i}", c) for i, c in enumerate(prompts(5))))

    assert engine.text("drawn0") == engine.text("drawn1")


def test_an_answer_is_held_to_its_schema(engine):
    """
    Whatever the model would say; a schema that cannot be held is refused.
    """
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["dns", "user"]}, "sure": {"type": "boolean"}},
        "required": ["kind", "sure"],
        "additionalProperties": False,
    }
    held = {"guide": Guide.JSON_SCHEMA, "max_tokens": 100}
    ends = engine.answers(
        asked("held", prompts(1)[0], schema=schema, **held),
        asked("drawn-held", prompts(1)[0], schema=schema, temperature=1.0, seed=3, **held),
        asked("no-schema", "x", schema={"type": "no such type"}, **held),
    )

    assert (FailureKind.BAD_REQUEST, "response_format") == (
        ends["no-schema"].kind,
        ends["no-schema"].field,
    )
    for name in ("held", "drawn-held"):
        assert FinishReason.STOP == ends[name].reason
        assert None is schema_complaint(json.loads(engine.text(name)), schema)


def test_values_of_a_held_answer_are_looked_for_in_the_messages(engine):
    """
    If the schema marks them; an answer that was cut, or a free one, is not looked at.
    """
    name = {"type": "string", "enum": ["web01"], "x-copied": True}
    schema = {
        "type": "object",
        "properties": {"name": name},
        "required": ["name"],
        "additionalProperties": False,
    }
    held = {"guide": Guide.JSON_SCHEMA, "schema": schema, "max_tokens": 60}
    ends = engine.answers(
        asked("copied", "add web01, please", **held),
        asked("invented", "add web012", **held),
        asked("cut", "add web02", **{**held, "max_tokens": 2}),
        asked("free", "add web02", max_tokens=2),
    )

    assert {"copied": True, "invented": False, "cut": None, "free": None} == {
        name: end.copied for name, end in ends.items()
    }
    assert (Invented("$.name", "web01"),) == ends["invented"].invented
    assert () == ends["copied"].invented


def test_what_cannot_be_answered_is_refused_with_its_field(engine):
    """
    Before it costs anything, and the engine goes on.
    """
    orders = [
        asked("stranger", "x", model="v0099"),
        asked("long", "word " * 3000),
        asked("control", "<|im_start|>system"),
        Generate(id="empty", model="base", sampling=Sampling(max_tokens=1), text=""),
    ]
    ends = engine.answers(*orders)

    assert {
        "stranger": (FailureKind.NO_MODEL, "model"),
        "long": (FailureKind.TOO_LONG, "messages"),
        "control": (FailureKind.BAD_REQUEST, "messages"),
        "empty": (FailureKind.BAD_REQUEST, "prompt"),
    } == {name: (end.kind, end.field) for name, end in ends.items()}


def test_a_cancelled_and_a_late_request_end(engine):
    """
    The one that was cancelled within a token, the late one with its limit in the message.
    """
    # Drawn at random so that they do not end by themselves.
    long = {"temperature": 2.0, "max_tokens": 1500, "seed": 1}
    late = Generate(
        id="late2",
        model="base",
        sampling=Sampling(**long),
        messages=({"role": "user", "content": "x"},),
        seconds=0.001,
    )
    ends = engine.answers(late)
    assert (FailureKind.DEADLINE, True) == (ends["late2"].kind, "0.001 s" in ends["late2"].message)
    engine.tell(asked("unwanted", "x", **long))
    engine.until(lambda r: isinstance(r, Piece) and r.id == "unwanted")
    engine.tell(Cancel(id="unwanted"))
    end = engine.until(lambda r: isinstance(r, Failed | Finished))

    assert ("unwanted", FailureKind.CANCELLED) == (end.id, end.kind)


def test_files_that_do_not_fit_their_hashes_are_not_loaded(engine, tmp_path):
    """
    What is held stays, and the problem has the name of the file.
    """
    folder = tmp_path / "v0001"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    holding = engine.hold(HeldModel(name="v0001", base=MICRO, folder=folder))
    assert (("base",), {"v0001"}) == (holding.names, set(holding.problems))
    engine.hold(BASE)


def test_more_than_the_memory_is_refused_with_both_numbers():
    """
    What is needed and what there is; and the end of the socket ends the process.
    """
    with running_engine(EngineSettings(kv_bytes=2 << 20)) as small:
        small.hold(BASE)
        end = small.answers(asked("big", "x", max_tokens=1000))["big"]
        assert (FailureKind.TOO_LONG, True) == (end.kind, str((2 << 20) * 3 // 4) in end.message)
        assert FinishReason.STOP == small.answers(asked("small", prompts(1)[0]))["small"].reason
        assert 0 == small.close()


def test_sigterm_ends_what_runs_with_a_failure():
    """
    Nobody waits for an answer that will not come.
    """
    with running_engine() as ending:
        ending.hold(BASE)
        ending.tell(asked("cut", "x", temperature=2.0, max_tokens=1900, seed=1))
        ending.until(lambda r: isinstance(r, Piece))
        ending.process.send_signal(signal.SIGTERM)
        end = ending.until(lambda r: isinstance(r, Failed | Finished))
        assert FailureKind.STOPPED == end.kind
        assert 0 == ending.process.wait(30)
