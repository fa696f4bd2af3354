"""
What is measured of a contestant: time, rows, memory, held-out loss.

The same code for all of them; does not know which one it watches.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import TrainerCallback

from experiments.bench.workloads import Row, digest, fingerprint

IGNORED = -100
_EVAL_BATCH = 8

Integers = Sequence[int] | npt.NDArray[np.integer]


@dataclass
class RowLog:
    """
    Which rows a contestant has trained, by what went through its collator.
    """

    fingerprints: list[int] = field(default_factory=list)
    tokens: int = 0
    supervised_tokens: int = 0
    cut: bool = False
    """Whether rows were seen in pieces that cannot be put together again."""
    remark: str = ""
    """What the contestant chose by itself."""

    def add(self, ids: Integers, labels: Integers, lengths: Sequence[int] | None) -> None:
        """
        Record one sequence: a row, or some packed one after another.

        Args:
            ids: Tokens, shape (T,).
            labels: -100 where not supervised, shape (T,).
            lengths: Tokens of each row in it, summing up to T; None where rows
                were cut anywhere.
        """
        start = 0
        for length in lengths or ():
            self.fingerprints.append(fingerprint(ids[start : start + length]))
            start += length
        self.cut = self.cut or lengths is None
        self.tokens += len(labels)
        self.supervised_tokens += int(np.count_nonzero(np.asarray(labels) != IGNORED))

    def figures(self) -> dict[str, Any]:
        """
        Return what the report compares; ``rows`` and ``digest`` are None if rows were cut.
        """
        return {
            "rows": None if self.cut else len(self.fingerprints),
            "digest": None if self.cut else digest(self.fingerprints),
            "tokens": self.tokens,
            "supervised_tokens": self.supervised_tokens,
            "remark": self.remark,
        }


class StepClock(TrainerCallback):  # type: ignore[misc]
    """
    Wall time from the first step's data to the last optimizer step, device idle at both ends.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._began = 0.0
        self._last = 0.0
        self.seconds = 0.0
        self.step_seconds: list[float] = []
        """Of each step; on CUDA the time until it was queued, except for the last."""

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """
        Start the clock.
        """
        synchronize(self._device)
        self._began = self._last = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """
        Take the time; the last step waits for the device.
        """
        if state.global_step == state.max_steps:
            synchronize(self._device)
        now = time.perf_counter()
        self.step_seconds.append(now - self._last)
        self._last = now
        self.seconds = now - self._began


def synchronize(device: str) -> None:
    """
    Wait until the device has done what it was given.
    """
    if device == "cuda":
        torch.cuda.synchronize()


def reset_peak(device: str) -> int:
    """
    Forget the highest memory use so far; return the present one in bytes.
    """
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    # 5 resets VmHWM: see proc(5), /proc/pid/clear_refs.
    Path("/proc/self/clear_refs").write_text("5")
    return _status_bytes("VmRSS")


def peak_bytes(device: str) -> int:
    """
    Return the highest memory use since reset_peak, in bytes: of the device, or of the process.
    """
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return _status_bytes("VmHWM")


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")


def held_out_loss(model: Any, rows: Sequence[Row]) -> float:
    """
    Return the mean loss over the supervised tokens of *rows*, in nats, in float32.

    Leaves the model in float32 and evaluation mode: call it last.

    Args:
        model: A causal language model.
        rows: At least one supervised token after the first position.
    """
    model = model.float().eval()
    device = next(model.parameters()).device
    total, count = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(rows), _EVAL_BATCH):
            batch = rows[start : start + _EVAL_BATCH]
            width = max(len(ids) for ids, _ in batch)
            ids = torch.zeros((len(batch), width), dtype=torch.long)
            mask = torch.zeros_like(ids)
            targets = torch.full_like(ids, IGNORED)
            for i, (tokens, supervised) in enumerate(batch):
                t = torch.from_numpy(tokens.astype("int64"))
                ids[i, : len(t)] = t
                mask[i, : len(t)] = 1
                targets[i, : len(t)] = t.masked_fill(~torch.from_numpy(supervised), IGNORED)
            logits = model(
                input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False
            ).logits
            wanted = targets[:, 1:].to(device)
            losses = torch.nn.functional.cross_entropy(
                logits[:, :-1].float().transpose(1, 2),
                wanted,
                ignore_index=IGNORED,
                reduction="sum",
            )
            total += float(losses)
            count += int((wanted != IGNORED).sum())
    return total / count
