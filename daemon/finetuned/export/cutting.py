"""
In which of the ways that llama.cpp has a tokenizer cuts text: read from its tokenizer.json.

llama.cpp has the ways of known models, each under a name; its converter knows a model by the
ids of one text, and refuses every vocabulary of somebody's own. Here the way is known by its
description. A tokenizer whose way is not known either is refused before any work.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
import regex  # type: ignore[import-untyped]

from finetuned.core.export.whole_pieces import merges_of
from finetuned.errors import ExportRefused

_LLAMA3: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_EXPRESSIONS: Final = {
    _LLAMA3: "llama-bpe",
    _LLAMA3.replace("{1,3}", ""): "qwen2",
}
"""Expressions by which known models cut text, and llama.cpp's names for them."""

_NO_MERGE: Final = "\u0100 \u0100"
"""Of two NUL bytes: llama.cpp wants at least one merge."""

_WORD: Final = regex.compile(r"[A-Za-z]+")
_SIGNS: Final = regex.compile(r"[!-/:-@\[-`{-~]+")
"""Runs of ASCII signs."""


@dataclass(frozen=True, slots=True)
class Cut:
    """
    How a tokenizer is written for llama.cpp.
    """

    pre: str
    """llama.cpp's name for the way."""
    adds_bos: bool
    """Whether every text begins with a token of its own."""
    merges: list[str] | None = None
    """Merges in place of the tokenizer's own, as GGUF spells them; None leaves those."""
    whole: dict[str, str] = field(default_factory=dict)
    """Id -> text of tokens that are found in a text before it is cut."""

    def document(self) -> dict[str, object]:
        """
        Return it as JSON, for the converter's process.
        """
        return asdict(self)


def cut_of(folder: Path, converter: Path, texts: Iterable[str]) -> Cut | None:
    """
    Return how the tokenizer in *folder* is written, None if the converter knows it by itself.

    Args:
        folder: Holds tokenizer.json.
        converter: The folder of llama.cpp's converter.
        texts: Texts that the model was trained on; see core.export.whole_pieces.

    Raises:
        ExportRefused: llama.cpp has no way like the tokenizer's.
    """
    tokenizer = orjson.loads((folder / "tokenizer.json").read_bytes())
    model = tokenizer["model"]
    if model.get("type") != "BPE" or (folder / "tokenizer.model").is_file():
        return None  # SentencePiece and WordPiece are taken as they are
    parts = _parts(tokenizer.get("pre_tokenizer"))
    if (pre := _known_way(parts)) is not None:
        merges = None if model.get("merges") else [_NO_MERGE]
        return Cut(pre, _adds_bos(folder), merges)
    if not model.get("merges") and model.get("ignore_merges"):
        return _whole_pieces(folder, model["vocab"], texts)
    if _id_text_hash(folder, converter):
        return None
    shown = orjson.dumps(tokenizer.get("pre_tokenizer")).decode()
    raise ExportRefused(
        "llama.cpp does not know a tokenizer that cuts text like this base model's "
        f"(pre_tokenizer {shown[:200]}); export with --to hf, or use a base model whose tokenizer "
        "llama.cpp knows"
    )


def _parts(pre: dict[str, Any] | None) -> list[dict[str, Any]]:
    if pre is None:
        return []
    found: list[dict[str, Any]] = pre["pretokenizers"] if pre["type"] == "Sequence" else [pre]
    return found


def _known_way(parts: list[dict[str, Any]]) -> str | None:
    kinds = [part["type"] for part in parts]
    if not kinds or kinds[-1] != "ByteLevel" or parts[-1].get("add_prefix_space"):
        return None
    cuts = parts[-1].get("use_regex", True)
    if kinds == ["ByteLevel"] and cuts:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and cuts and parts[0].get("individual_digits"):
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not cuts and parts[0]["behavior"] == "Isolated":
        return _EXPRESSIONS.get(parts[0]["pattern"].get("Regex", ""))
    return None


def _whole_pieces(folder: Path, vocabulary: dict[str, int], texts: Iterable[str]) -> Cut:
    from tokenizers import Tokenizer

    readable = _readable()
    words, signs, whole = [], [], {}
    for spelled, at in vocabulary.items():
        text = bytes(readable.get(c, 0) for c in spelled).decode("utf-8", "replace")
        if len(text) < 2:
            continue
        if _WORD.fullmatch(text):
            words.append(text)
        elif regex.findall(_LLAMA3, text) != [text]:
            whole[str(at)] = text
        elif _SIGNS.fullmatch(text):
            signs.append(text)
    texts = list(texts)
    merges = merges_of(words, {word for text in texts for word in _WORD.findall(text)})
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    merges += merges_of(
        signs,
        {found for text in texts for found in _SIGNS.findall(text)},
        letters="".join(sorted(set("".join(signs)))) or "-",
        is_spelled=lambda text: len(tokenizer.encode(text).ids) == len(text),
    )
    return Cut("llama-bpe", _adds_bos(folder), [f"{one} {other}" for one, other in merges], whole)


def _adds_bos(folder: Path) -> bool:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    plain: list[int] = tokenizer.encode("a", add_special_tokens=False).ids
    return bool(tokenizer.encode("a").ids[: len(plain)] != plain)


def _readable() -> dict[str, int]:
    """Return the byte that each character of a byte-level vocabulary stands for (GPT-2)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


def _id_text_hash(folder: Path, converter: Path) -> bool:
    """Return whether the converter has the hash of the ids that this tokenizer gives its text."""
    from tokenizers import Tokenizer

    source = (converter / "conversion" / "base.py").read_text(encoding="utf-8")
    text = next(
        (
            node.value.value
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == "chktxt"
            and isinstance(node.value, ast.Constant)
        ),
        None,
    )
    if not isinstance(text, str):
        return True  # another converter than the one that was read: it will say
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
    return sha256(str(ids).encode()).hexdigest() in source
