"""
The state of the making of a base model: weights and optimizers in one safetensors file.

Knows tensors and the settings they belong to; does not know what is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_FILE = "state.safetensors"


class OtherSettings(ValueError):
    """
    A saved state does not belong to the run that is to go on from it.
    """


def save_state(
    folder: Path, settings: Mapping[str, str], step: int, model: Any, optimizers: Sequence[Any]
) -> None:
    """
    Write the state after *step*; the one before is replaced when it is whole.

    Args:
        folder: Made if it is missing.
        settings: What the run that goes on must agree in.
        step: Steps made.
        model: Its parameters are kept in their own precision.
        optimizers: Those of torch; each state is a tensor.
    """
    from safetensors.torch import save_file

    tensors = {f"model.{n}": p.detach() for n, p in model.named_parameters()}
    for i, optimizer in enumerate(optimizers):
        for j, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{j}.{key}": value for key, value in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{_FILE}.new"
    save_file({k: v.contiguous() for k, v in tensors.items()}, new, {**settings, "step": str(step)})
    new.replace(folder / _FILE)


def load_state(
    folder: Path, settings: Mapping[str, str], model: Any, optimizers: Sequence[Any]
) -> int:
    """
    Put the saved state into *model* and *optimizers*.

    Returns:
        The steps made so far; 0 if there is no state.

    Raises:
        OtherSettings: The state is of other settings; it is left as it is.
    """
    import torch
    from safetensors import safe_open

    path = folder / _FILE
    if not path.exists():
        return 0
    with safe_open(path, "pt") as f:
        found = dict(f.metadata())
        step = int(found.pop("step"))
        if differ := sorted(k for k in settings if found.get(k) != settings[k]):
            raise OtherSettings(
                f"{path} was made with another {', '.join(differ)}; name another --state,"
                " or delete it to begin anew"
            )
        tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
    for i, optimizer in enumerate(optimizers):
        states: dict[int, dict[str, Any]] = {}
        for key, value in tensors.items():
            kind, _, rest = key.partition(".")
            if kind == "optimizer" and rest.startswith(f"{i}."):
                j, name = rest.split(".")[1:]
                states.setdefault(int(j), {})[name] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": states, "param_groups": groups})
    return step
