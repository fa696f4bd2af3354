"""
What ``finetuned export`` prints: for people, and as JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetuned.cli.terminal import shown, size
from finetuned.core.record import to_json
from finetuned.core.text import printable

if TYPE_CHECKING:
    from finetuned.core.export.card import CardFile
    from finetuned.export.wish import Result


def document(result: Result) -> dict[str, object]:
    """
    Return an export as one JSON object.
    """
    return {
        "folder": str(result.folder),
        "passed": result.passed,
        "files": [
            {"name": f.name, "precision": f.precision, "bytes": f.bytes} for f in result.files
        ],
        "parity": {f.name: to_json(f.parity) for f in result.files},
        "left_out": to_json(result.left_out),
    }


def lines(result: Result, imported: str | None) -> list[str]:
    """
    Return an export as lines for people.
    """
    found = [line for file in result.files for line in _file(file)]
    if gone := result.left_out.datasets_gone:
        found.append(
            f"held-out rows not asked, their datasets are gone: {printable(', '.join(gone))}"
        )
    if result.left_out.items:
        found.append(
            f"{result.left_out.items} items not asked: the chat template does not take them"
        )
    found.append(f"folder: {shown(result.folder)}, how to run it: README.md there")
    if imported is not None:
        found.append(f"imported into Ollama: ollama run {printable(imported)}")
    return found


def _file(file: CardFile) -> list[str]:
    head = f"{file.name}  {file.precision}  {size(file.bytes)}"
    p = file.parity
    if p is None:
        return [f"{head}  not compared"]
    found = [
        f"{head}  {'passed' if p.passed else 'FAILED'}: {p.reason}",
        f"  same text {p.same_rendering}, same ids {p.same_ids}, same answers {p.same_answers} of "
        f"{p.n_items}; right {p.right[0]} -> {p.right[1]} of {p.n_marked}",
    ]
    if p.first is not None:
        found.append(f"  first divergence: {printable(p.first.sentence())}")
    return found
