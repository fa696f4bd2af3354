"""
An engine without a model: a real child process that speaks the protocol of core/generation.py.

Its answer to a prompt is ``NAME says: PROMPT``, a word at a time. The last message can ask for
trouble: ``slow N`` waits N seconds before each word, ``die at N`` ends the process after N
words, ``die always`` before the first, ``hang`` says nothing, ``fail`` refuses. ``say P TEXT`` is
answered with TEXT, at the confidence P.
The file ``refuse-NAME`` in the working directory makes model NAME impossible to load.
"""

from __future__ import annotations

import argparse
import os
import socket
import threading
import time
from pathlib import Path

from finetuned.core.generation import (
    Beat,
    Cancel,
    Embed,
    Embedded,
    Failed,
    FailureKind,
    Finished,
    FinishReason,
    Generate,
    Hold,
    Holding,
    Order,
    Piece,
    Report,
    TokenLogprob,
)
from finetuned.process.channel import Channel


class FakeEngine:
    """
    Answers each request in a thread.
    """

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._orders = Channel[Order](Order, "gateway")
        self._reports = Channel[Report](Report, "engine")
        self._lock = threading.Lock()
        self._held: tuple[str, ...] = ()
        self._cancelled: set[str] = set()

    def run(self) -> None:
        """Read orders to the end of the socket."""
        threading.Thread(target=self._beat, daemon=True).start()
        print("a library prints to stdout")
        for line in self._socket.makefile("rb"):
            order = self._orders.decode(line)
            match order:
                case Hold():
                    self._hold(order)
                case Cancel():
                    self._cancelled.add(order.id)
                case Embed():
                    vectors = tuple((float(len(text)), 1.0) for text in order.texts)
                    self._write(
                        Embedded(id=order.id, model=order.model, vectors=vectors, prompt_tokens=3)
                    )
                case Generate():
                    threading.Thread(target=self._answer, args=(order,), daemon=True).start()

    def _write(self, report: Report) -> None:
        with self._lock:
            self._socket.sendall(self._reports.encode(report))

    def _beat(self) -> None:
        while True:
            beat = Beat(running=0, waiting=0, cache_bytes=0, cache_limit=1, device="none")
            self._write(beat)
            time.sleep(0.5)

    def _hold(self, hold: Hold) -> None:
        refused = [m.name for m in hold.models if Path(f"refuse-{m.name}").exists()]
        names = tuple(m.name for m in hold.models if m.name not in refused)
        self._held = names
        problems = {name: f"{name} does not fit its hashes" for name in refused}
        self._write(Holding(names=names, problems=problems))

    def _answer(self, order: Generate) -> None:
        prompt = order.text if order.text is not None else str(order.messages[-1]["content"])
        refusal = self._refusal(order, prompt)
        if refusal is not None:
            self._write(Failed(id=order.id, kind=refusal, message=f"{refusal}: of {prompt}"))
            return
        said, confidence = f"{order.model} says: {prompt}", 0.9
        if prompt.startswith("say "):
            _, sure, said = prompt.split(" ", 2)
            confidence = float(sure)
        words = said.split(" ")[: order.sampling.max_tokens]
        began = time.monotonic()
        for at, word in enumerate(words):
            self._trouble(prompt, at)
            if order.id in self._cancelled:
                self._write(Failed(id=order.id, kind=FailureKind.CANCELLED, message="cancelled"))
                Path("cancelled").write_text(f"{order.id} after {at} words")
                return
            if time.monotonic() - began > order.seconds:
                self._write(Failed(id=order.id, kind=FailureKind.DEADLINE, message="too late"))
                return
            text = word if at == 0 else f" {word}"
            tokens = () if order.sampling.top_logprobs is None else (
                TokenLogprob(text=text, logprob=-0.1, top=((text, -0.1),)),
            )  # fmt: skip
            self._write(Piece(id=order.id, text=text, logprobs=tokens))
        cut = len(words) == order.sampling.max_tokens
        call = {"type": "function", "function": {"name": "look", "arguments": "{}"}}
        self._write(
            Finished(
                id=order.id,
                model=order.model,
                reason=FinishReason.LENGTH
                if cut
                else FinishReason.TOOL_CALLS
                if order.tools
                else FinishReason.STOP,
                prompt_tokens=len(prompt.split()),
                cached_tokens=0,
                answer_tokens=len(words),
                confidence=confidence,
                confidence_source="calibrated on 240 held-out answers of v0007",
                tool_calls=(call,) if order.tools else (),
                copied=None if order.sampling.schema is None else True,
            )
        )

    def _refusal(self, order: Generate, prompt: str) -> FailureKind | None:
        if order.model not in self._held:
            return FailureKind.NO_MODEL
        return FailureKind.BAD_REQUEST if prompt == "fail" else None

    def _trouble(self, prompt: str, at: int) -> None:
        match prompt.split():
            case ["slow", seconds, *_]:
                time.sleep(float(seconds))
            case ["die", "at", n] if at == int(n):
                os._exit(9)
            case ["die", "once"] if not Path("died").exists():
                Path("died").touch()
                os._exit(9)
            case ["die", "always"]:
                os._exit(9)
            case ["hang", *_]:
                time.sleep(3600)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    FakeEngine(parser.parse_args().fd).run()
