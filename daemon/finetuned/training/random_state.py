"""
The state of every random generator that training draws from, as named tensors.

Torch on the CPU and on each GPU, Python's ``random`` and numpy's global generator.
Does not know files.
"""

from __future__ import annotations

import random

import numpy as np
import torch

from finetuned.errors import ModelError

_PYTHON_VERSION = 3
"""Version of random.getstate() that can be written and read here."""

_NUMPY_KIND = "MT19937"
"""Kind of numpy's global generator that can be written and read here."""


def seed_generators(seed: int) -> None:
    """
    Seed every generator with *seed*, 0 to 2**32 - 1.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def rng_tensors() -> dict[str, torch.Tensor]:
    """
    Return the state of every generator.

    Raises:
        ModelError: Python's or numpy's generator is of another kind than this knows.
    """
    tensors = {"torch_cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        for i, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"torch_cuda_{i}"] = state
    version, words, gauss = random.getstate()
    if version != _PYTHON_VERSION or gauss is not None:
        raise ModelError(f"unknown state of Python's generator: version {version}")
    tensors["python"] = torch.tensor(words, dtype=torch.int64)
    kind, keys, position, has_gauss, cached = np.random.get_state()
    if kind != _NUMPY_KIND:
        raise ModelError(f"unknown numpy generator {kind}")
    tensors["numpy_keys"] = torch.from_numpy(np.asarray(keys, dtype=np.int64).copy())
    tensors["numpy_rest"] = torch.tensor(
        [float(position), float(has_gauss), float(cached)], dtype=torch.float64
    )
    return tensors


def restore_rng(tensors: dict[str, torch.Tensor]) -> None:
    """
    Put every generator back to the state that ``rng_tensors`` returned.

    GPUs that the saved state does not name keep their own.
    """
    torch.set_rng_state(tensors["torch_cpu"].to(torch.uint8))
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            if f"torch_cuda_{i}" in tensors:
                torch.cuda.set_rng_state(tensors[f"torch_cuda_{i}"].to(torch.uint8), i)
    random.setstate((_PYTHON_VERSION, tuple(tensors["python"].tolist()), None))
    keys = tensors["numpy_keys"].numpy().astype(np.uint32)
    position, has_gauss, cached = tensors["numpy_rest"].tolist()
    np.random.set_state((_NUMPY_KIND, keys, int(position), int(has_gauss), cached))
