"""
Which build of torch is installed, read from its version file: importing torch takes seconds.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from finetuned.errors import ConfigError


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """
    What torch was built as.
    """

    version: str
    """As ``torch.__version__``, such as ``2.10.0+cpu``."""
    gpu: bool
    """Whether it was built for CUDA or ROCm; if not, ``torch.cuda.is_available()`` is false."""


@cache
def torch_build() -> TorchBuild:
    """
    Return the build that ``import torch`` would load.

    Raises:
        ConfigError: torch is not installed, or its version file has another form.
    """
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        raise ConfigError("torch is not installed in this environment")
    path = Path(spec.origin).with_name("version.py")
    found: dict[str, object] = {}
    for node in ast.parse(path.read_text()).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        target = node.target if isinstance(node, ast.AnnAssign) else target
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            found[target.id] = value.value
    if not isinstance(found.get("__version__"), str):
        raise ConfigError(f"{path} does not say which version of torch this is")
    gpu = any(found.get(kind) is not None for kind in ("cuda", "hip"))
    return TorchBuild(str(found["__version__"]), gpu)
