"""
A real engine process at the other end of a socket, for tests.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import torch
from peft import LoraConfig, get_peft_model

from finetuned.config import ModelConfig
from finetuned.core.generation import (
    Beat,
    EngineSettings,
    Failed,
    Finished,
    Generate,
    HeldModel,
    Hold,
    Holding,
    Order,
    Piece,
    Report,
    Sampling,
)
from finetuned.core.record import to_json
from finetuned.data.render import Renderer
from finetuned.files.shipped import shipped
from finetuned.inference.generate import generate
from finetuned.model.load import load_causal_lm, load_version
from finetuned.process.channel import Channel
from finetuned.process.environment import child_environment

MICRO = shipped().bases / "micro"
CPU = ModelConfig(device="cpu")


def asked(name: str, content: str, model: str = "base", **sampling: Any) -> Generate:
    """
    Return a greedy question of one message.
    """
    return Generate(
        id=name,
        model=model,
        sampling=Sampling(**{"max_tokens": 60, **sampling}),
        messages=({"role": "user", "content": content},),
    )


def make_adapter(folder: Path, seed: int) -> None:
    """
    Write an adapter on the embedded base that changes its answers; each seed otherwise.
    """
    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(load_causal_lm(MICRO, CPU), config)
    for key, tensor in model.named_parameters():
        if "lora_B" in key:
            tensor.data.normal_(std=1.0)
    model.save_pretrained(folder)


def alone(source: HeldModel, content: str, max_tokens: int = 40) -> str:
    """
    Return the greedy answer of a version that is loaded as the evaluation loads it.
    """
    return alone_each(source, [content], max_tokens)[0]


def alone_each(source: HeldModel, contents: Sequence[str], max_tokens: int = 40) -> list[str]:
    """
    Return the greedy answers, one prompt at a time.
    """
    renderer = Renderer.load(MICRO, max_length=2048)
    answers = generate(
        load_version(source.base, source.folder, CPU),
        [renderer.conversation_ids([{"role": "user", "content": c}], None) for c in contents],
        stop_token_ids=renderer.stop_token_ids,
        pad_token_id=renderer.pad_token_id,
        max_new_tokens=max_tokens,
        deadline=float("inf"),
        batch_size=1,
    )
    return [renderer.decode(answer.ids) for answer in answers]


class EngineProcess:
    """
    The process, what it is told, and what it has said so far.
    """

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        self.process = process
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._orders: Channel[Order] = Channel(Order, "gateway")
        self._reports: Channel[Report] = Channel(Report, "engine")
        self.reports: list[Report] = []

    def tell(self, *orders: Order) -> None:
        self._connection.sendall(b"".join(self._orders.encode(order) for order in orders))

    def until(self, is_last: Callable[[Report], bool]) -> Report:
        """
        Read reports up to one of a kind, and return it.
        """
        for line in self._lines:
            report = self._reports.decode(line)
            self.reports.append(report)
            if is_last(report):
                return report
        raise AssertionError(f"the engine ended with {self.process.wait(30)}")

    def hold(self, *models: HeldModel) -> Holding:
        """
        Order models, and return what is held once each of them is loaded or refused.
        """
        self.tell(Hold(models=models))
        names = {m.name for m in models}
        found = self.until(lambda r: isinstance(r, Holding) and names <= {*r.names, *r.problems})
        assert isinstance(found, Holding)
        return found

    def answers(self, *orders: Generate) -> dict[str, Finished | Failed]:
        """
        Order some answers at once, and return their ends, by id.
        """
        self.tell(*orders)
        wanted = {order.id for order in orders}
        ends: dict[str, Finished | Failed] = {}
        while len(ends) < len(orders):
            end = self.until(lambda r: isinstance(r, Finished | Failed) and r.id in wanted)
            assert isinstance(end, Finished | Failed)
            ends[end.id] = end
        return ends

    def text(self, name: str) -> str:
        """
        Return the text of an answer, as far as it was reported.
        """
        return "".join(r.text for r in self.reports if isinstance(r, Piece) and r.id == name)

    def beats(self) -> list[Beat]:
        return [r for r in self.reports if isinstance(r, Beat)]

    def close(self) -> int:
        """
        Close the socket, and return the exit status.
        """
        self.close_socket()
        return self.process.wait(60)

    def close_socket(self) -> None:
        self._lines.close()
        self._connection.close()


@contextmanager
def running_engine(settings: EngineSettings | None = None) -> Iterator[EngineProcess]:
    """
    Run an engine process; it is ended with the block.
    """
    ours, theirs = socket.socketpair()
    told = orjson.dumps(to_json(settings or EngineSettings())).decode()
    command = [sys.executable, "-m", "finetuned.serving.engine.worker"]
    process = subprocess.Popen(
        [*command, "--fd", str(theirs.fileno()), "--settings", told],
        pass_fds=[theirs.fileno()],
        env=child_environment(),
    )
    theirs.close()
    ours.settimeout(120)
    engine = EngineProcess(process, ours)
    try:
        yield engine
    finally:
        engine.close_socket()
        process.kill()
        process.wait()
