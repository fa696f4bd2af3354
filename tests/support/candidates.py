"""
What a worker leaves for the registry: the right names, as little in them as may be.
"""

from __future__ import annotations

from pathlib import Path

ADAPTER = ("adapter_model.safetensors", "adapter_config.json")
FULL = ("model.safetensors", "config.json")
STATE = ("training_state/optimizer.safetensors", "training_state/state.json")


def make_candidate(folder: Path, *, text: str | None = None, full: bool = False) -> Path:
    """
    Make *folder* a candidate, adapter or full model, each file with its name or *text* in it.
    """
    (folder / "training_state").mkdir(parents=True)
    for name in (*(FULL if full else ADAPTER), *STATE):
        (folder / name).write_text(f"{name} of {folder.name}" if text is None else text)
    return folder
