"""
What gateway and engine tell each other arrives as it was, or is refused.
"""

from pathlib import Path

import pytest

from finetuned.core.generation import (
    Beat,
    Cancel,
    Failed,
    FailureKind,
    Finished,
    FinishReason,
    Generate,
    Guide,
    HeldModel,
    Hold,
    Holding,
    Order,
    Piece,
    Report,
    Sampling,
    TokenLogprob,
)
from finetuned.errors import RecordError
from finetuned.process.channel import Channel

ORDERS = [
    Generate(
        id="r1",
        model="v0007",
        sampling=Sampling(max_tokens=5, stop=("\n",), guide=Guide.JSON_SCHEMA, schema={"a": [1]}),
        messages=({"role": "user", "content": "Ünïcode \u2028"},),
    ),
    Cancel(id="r1"),
    Hold(models=(HeldModel(name="v0007", base=Path("/b"), folder=Path("/v")),)),
]
REPORTS = [
    Piece(id="r1", text="x", logprobs=(TokenLogprob(text="x", logprob=-0.5, top=(("y", -1.0),)),)),
    Finished(
        id="r1",
        model="v0007",
        reason=FinishReason.STOP,
        prompt_tokens=3,
        cached_tokens=0,
        answer_tokens=1,
        confidence=0.9,
    ),
    Failed(id="r1", kind=FailureKind.TOO_LONG, message="300 of 256 tokens", field="messages"),
    Holding(names=("base",), problems={"v0007": "damaged"}),
    Beat(running=1, waiting=2, cache_bytes=3, cache_limit=4, device="cpu"),
]


@pytest.mark.parametrize("value", ORDERS, ids=lambda v: type(v).__name__)
def test_an_order_arrives_as_it_was(value):
    """
    One line, whatever its texts hold.
    """
    channel = Channel(Order, "gateway")
    line = channel.encode(value)

    assert 1 == line.count(b"\n")
    assert value == channel.decode(line)


@pytest.mark.parametrize("value", REPORTS, ids=lambda v: type(v).__name__)
def test_a_report_arrives_as_it_was(value):
    """
    Enums, paths and tuples are what they were.
    """
    channel = Channel(Report, "engine")

    assert value == channel.decode(channel.encode(value))


@pytest.mark.parametrize(
    "line", [b"\n", b"[]\n", b"{}\n", b'{"Piece": {}}\n', b'{"Cancel": {"id": 1}}\n', b"\xff\n"]
)
def test_what_is_no_order_is_refused_by_its_writer_s_name(line):
    """
    A gateway of another version is named, instead of a request half read.
    """
    with pytest.raises(RecordError, match="gateway"):
        Channel(Order, "gateway").decode(line)
