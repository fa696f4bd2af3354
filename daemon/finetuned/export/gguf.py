"""
A whole model as a GGUF file: llama.cpp's own converter, then its own kernels.

Both run in processes of their own. Does not know where the model came from, nor whether the
file says the same: see export/comparison.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from finetuned.core.export.request import Quant
from finetuned.errors import ExportRefused
from finetuned.export.cutting import Cut
from finetuned.export.tools import converter_folder
from finetuned.merging.stock_files import TEMPLATE
from finetuned.process.environment import child_environment

_CHILD_SECONDS: Final = 6 * 3600.0
"""Longest time that the converter, or the quantising of one file, may take."""

_GENERATION: Final = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
"""Marks of trained text, which are for training alone."""

_SWITCH: Final = re.compile(
    r"\A\{%- if enable_thinking is not defined %\}(\{%- set enable_thinking = \w+ %\})"
    r"\{%- endif %\}\n"
)
"""What a published template begins with if it knows the switch; see ChatTemplate.published."""


def convert(model: Path, target: Path, scratch: Path, cut: Cut | None) -> None:
    """
    Write the model in folder *model* as the GGUF file *target*, weights as they are stored.

    Args:
        model: As stock libraries load it.
        target: The file.
        scratch: An existing folder for this call alone.
        cut: How its tokenizer is written; None leaves that to the converter.

    Raises:
        ExportRefused: The converter refused; the message ends with what it said.
    """
    dressed = scratch / "model"
    dressed.mkdir()
    for path in model.iterdir():
        if path.is_file() and path.name != TEMPLATE:
            (dressed / path.name).symlink_to(path.resolve())
    if (model / TEMPLATE).is_file():
        text = (model / TEMPLATE).read_text(encoding="utf-8")
        (dressed / TEMPLATE).write_text(engine_template(text), encoding="utf-8")
    kind = {"float32": "f32", "bfloat16": "bf16"}.get(_stored(model), "f16")
    arguments = [str(dressed), "--outfile", str(target), "--outtype", kind]
    _run_converter("convert_hf_to_gguf.py", arguments, scratch, cut)


def convert_adapter(adapter: Path, base: Path, target: Path, scratch: Path) -> None:
    """
    Write the PEFT adapter in folder *adapter* as a GGUF LoRA for the model in folder *base*.

    Raises:
        ExportRefused: The converter refused; the message ends with what it said.
    """
    arguments = [str(adapter), "--base", str(base), "--outfile", str(target), "--outtype", "f32"]
    _run_converter("convert_lora_to_gguf.py", arguments, scratch, None)


def quantise(source: Path, target: Path, quant: Quant) -> None:
    """
    Write the GGUF file *source* in another precision.

    Raises:
        ExportRefused: llama.cpp refused; the message ends with what it said.
    """
    module = "finetuned.export.quantise_child"
    command = [module, str(converter_folder()), str(source), str(target), str(quant)]
    _run(command, "quantising with llama.cpp")


def engine_template(text: str) -> str:
    """
    Return a chat template as engines take it: without training marks, reasoning as trained.

    llama.cpp sets ``enable_thinking`` itself, so that a default would never be taken.
    """
    return _GENERATION.sub(_blank, _SWITCH.sub(r"\1\n", text))


def _blank(mark: re.Match[str]) -> str:
    """Return a mark that says nothing and trims the spaces that the mark trimmed."""
    text = mark.group()
    return f"{{%{'-' if text[2] == '-' else ''} if true {'-' if text[-3] == '-' else ''}%}}" + (
        f"{{%{'-' if text[2] == '-' else ''} endif {'-' if text[-3] == '-' else ''}%}}"
    )


def _stored(model: Path) -> str:
    config = orjson.loads((model / "config.json").read_bytes())
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def _run_converter(script: str, arguments: list[str], scratch: Path, cut: Cut | None) -> None:
    settings: dict[str, Any] = {
        "folder": str(converter_folder()),
        "script": script,
        "arguments": arguments,
        "cut": None if cut is None else cut.document(),
    }
    path = scratch / "settings.json"
    path.write_bytes(orjson.dumps(settings))
    _run(["finetuned.export.convert_child", str(path)], "llama.cpp's converter")


def _run(command: Sequence[str], who: str) -> None:
    try:
        ended = subprocess.run(
            [sys.executable, "-m", *command],
            env=child_environment(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=_CHILD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ExportRefused(
            f"{who} did not end within {_CHILD_SECONDS / 3600:g} hours and was ended; try again "
            "on a machine that is less busy"
        ) from None
    if ended.returncode != 0:
        said = ended.stdout.decode("utf-8", "replace").strip().splitlines()
        if any("No space left on device" in line for line in said):
            raise OSError(28, "No space left on device")
        raise ExportRefused(
            f"{who} ended with status {ended.returncode}: {' | '.join(said[-3:])[-600:]}"
        )
