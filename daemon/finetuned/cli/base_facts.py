"""
What the files of a base model say about it, without loading its weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from finetuned.cli.terminal import size
from finetuned.files.base_model import position_limit
from finetuned.files.run import read_json
from finetuned.files.shipped import shipped
from finetuned.layout import Layout


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """
    One base model on this machine.
    """

    name: str
    """As model.base names it."""
    path: str
    architecture: str
    """Class name of the model, such as Qwen3ForCausalLM; ``?`` if config.json has none."""
    bytes: int
    """Of the weight files."""
    parameters: int | None
    """None if a weight file is missing or damaged."""
    max_positions: int | None
    """Longest sequence in tokens that it was made for, None if it does not say."""
    problem: str | None
    """Why it cannot be used; None if nothing speaks against it."""

    def as_json(self) -> dict[str, object]:
        """Return what --json prints of it."""
        return asdict(self)

    def line(self, *, configured: bool) -> str:
        """Return what a person reads of it; * marks the configured one."""
        count = "?" if self.parameters is None else _millions(self.parameters)
        notes = "" if self.problem is None else f"  {self.problem}"
        return (
            f"{'*' if configured else ' '} {self.name:24} {self.architecture:24} {count:>10} "
            f"{size(self.bytes):>11} {self.max_positions or '?':>9}{notes}"
        )


HEADER = f"  {'name':24} {'architecture':24} {'parameters':>10} {'weights':>11} {'positions':>9}"


def _millions(count: int) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.1f} M"


def base_names(layout: Layout) -> dict[str, Path]:
    """
    Return the base models below the root's models/base/, and those that come with the program.

    Returns:
        Name -> folder, sorted; the root's own stands for one of the same name.
    """
    found: dict[str, Path] = {}
    for folder in (shipped().bases, layout.bases):
        if folder.is_dir():
            found |= {p.name: p for p in folder.iterdir() if p.is_dir()}
    return dict(sorted(found.items()))


def read_facts(name: str, folder: Path) -> BaseFacts:
    """
    Read the configuration and the headers of the weight files of *folder*.
    """
    config = read_json(folder / "config.json")
    files = sorted(folder.glob("*.safetensors"))
    parameters, problem = _count(folder, files)
    if config is None:
        problem = "no config.json, so it is not a model"
    elif not (folder / "tokenizer.json").is_file():
        problem = problem or "no tokenizer.json"
    return BaseFacts(
        name=name,
        path=str(folder.resolve()),
        architecture=_architecture(config or {}),
        bytes=sum(p.stat().st_size for p in files),
        parameters=parameters,
        max_positions=position_limit(folder),
        problem=problem,
    )


def _architecture(config: Mapping[str, object]) -> str:
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else "?"


def _count(folder: Path, files: list[Path]) -> tuple[int | None, str | None]:
    """Return the number of parameters, or None and what is wrong with the weight files."""
    from safetensors import SafetensorError, safe_open

    index = read_json(folder / "model.safetensors.index.json") or {}
    table = index.get("weight_map") or {}
    if not isinstance(table, dict):
        return None, "model.safetensors.index.json is damaged: weight_map must be an object"
    wanted = {str(name) for name in table.values()}
    missing = sorted(wanted - {p.name for p in files})
    if missing:
        return None, f"{len(missing)} weight files are missing, such as {missing[0]}"
    if not files:
        return None, "no *.safetensors file"
    total = 0
    for path in files:
        try:
            with safe_open(path, framework="np") as opened:  # reads the header
                total += sum(math.prod(opened.get_slice(k).get_shape()) for k in opened.keys())  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            return None, f"{path.name} cannot be read: {error}"
    return total, None
