"""
A layer of a key/value cache that appends in place.

The layers of transformers copy all their slots at every token; with long prompts that
costs more than the rest of the step. This one keeps room for further slots.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from transformers.cache_utils import DynamicLayer

_ROOM: Final = 64
"""Free slots that a layer has after its slots were copied."""


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """
    A layer of transformers' DynamicCache with free slots behind those in use.
    """

    keys: Any
    values: Any
    is_initialized: bool

    def __init__(self) -> None:
        super().__init__()
        self._rooms: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Append slots, (N, K, Q, D) each, and return all slots.
        """
        if not self.is_initialized or not self.keys.numel():
            self.keys, self.values = key_states, value_states
            self.dtype, self.device = key_states.dtype, key_states.device
            self.is_initialized, self._rooms = True, None
            return self.keys, self.values
        begin, end = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        if self._rooms is None or not self._fits(self._rooms[0], end):
            self._rooms = _with_room(self.keys, end), _with_room(self.values, end)
        for room, states in zip(self._rooms, (key_states, value_states), strict=True):
            room[:, :, begin:end] = states
        self.keys, self.values = (room[:, :, :end] for room in self._rooms)
        return self.keys, self.values

    def _fits(self, room: torch.Tensor, end: int) -> bool:
        """Return whether the keys are the first slots of *room*, and *room* has *end* slots."""
        return (
            room.data_ptr() == self.keys.data_ptr()
            and room.shape[0] == self.keys.shape[0]
            and end <= room.shape[-2]
        )


def _with_room(states: torch.Tensor, end: int) -> torch.Tensor:
    """(N, K, W, D) -> (N, K, end + _ROOM, D); slots after the first W are undefined."""
    n, heads, width, size = states.shape
    room = states.new_empty((n, heads, end + _ROOM, size))
    room[:, :, :width] = states
    return room
