"""
The annotated tree of README.md: every file of the repository that a reader may open, a line each.

A Python file is described by the first sentence of its docstring, a shell script by its
first comment, a Markdown page by its title. Files that can describe themselves in none of
these ways are described in OTHERS.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGE = CHECKOUT / "daemon" / "finetuned"
ARCHITECTURE = CHECKOUT / "tests" / "unit" / "test_architecture.py"

WIDTH = 33
"""Columns for a name and its indentation; descriptions begin after them."""

OTHERS = {
    "py.typed": "Tells type checkers that the package is typed.",
    "live.css": "Style of the live page, beside page.css.",
    "live.js": "Takes the parts of the live page from its stream and draws the curves.",
    "uPlot.LICENSE": "Licence of the chart library, MIT.",
    "uPlot.iife.min.js": "The chart library of the live page, as it was released.",
    "uPlot.min.css": "Its style.",
    "*.html": "Template of a page.",
    "*.css": "Style of the pages, embedded in each.",
    "*.js": "Filter of the table of answers, embedded in each page.",
    "words_*.tsv": "Words with their syllables and definitions.",
    "batch.tsv": "Commands of several steps.",
    "dns.tsv": "Commands about host names, aliases and wildcards.",
    "first.tsv": "Questions, other work, harm, several steps, and commands with a value missing.",
    "refuse.tsv": "What is not to be done: values missing, questions, other work, harm.",
    "samba.tsv": "Commands about shares and who may use them.",
    "whole_*.tsv": "The whole command set of this domain, beyond the first set.",
    "users.tsv": "Commands about accounts and groups.",
    "families_*.tsv": "Ways to say the commands of this domain, for training or only for tests.",
    "wording.tsv": "Sentences of the training set, with what they ask for.",
    "frames.tsv": "Frames of commands that are said by their result.",
    "predicates.tsv": "Subjects and predicates that go into the frames.",
    "phrases.tsv": "Macros of the sentences, politeness, and joints of two commands.",
    "synonyms.tsv": "Words and phrases that may stand for one another, a group a line.",
    "names.tsv": "Stems of hosts, people, groups, shares and paths.",
    "heldout.tsv": "The test set's own sentences, never used for training.",
    "canaries.jsonl": "Questions that a new version must not fail if the one in use passes.",
    "infra_*.jsonl": "200 infrastructure commands with names and phrasings never trained on.",
    "people_*.jsonl": "Commands as 20 different people type them, each written by hand.",
    "commands_*.jsonl.xz": "The sealed suite, compressed so that nobody reads it by accident.",
    "manifest.json": "Its hash and the number of its items.",
    "sealed.jsonl": "Scores on the sealed suite, one line for each time it was asked.",
    "syllo_*.jsonl": "100 puzzles of this difficulty with words never trained on.",
    "finetuned.service": "The hardened unit; each unusual line says why it is there.",
    "finetuned-serve.service": "The hardened unit of the service that answers.",
    "finetuned-report.service": "The hardened unit that makes reports and sends messages, once.",
    "finetuned-report.timer": "When it looks whether something is to be sent.",
    "finetuned-serve.socket": "Its addresses, which systemd opens and hands over.",
    "grafana-dashboard.json": "Dashboard of the service and of training, for import into Grafana.",
    "prometheus-alerts.yml": "Alert rules for Prometheus.",
    "gpu.conf": "Drop-in that opens the devices of NVIDIA GPUs.",
    "*.schema.json": "JSON Schema of the file of this name.",
    "replay.svg": "The chart of replay.md.",
    "*.svg": "A picture used by the pages.",
    "*.png": "A picture used by the pages.",
    "LICENSE.txt": "Licence of the model's files.",
    "chat_template.jinja": "Chat template that marks what is trained.",
    "config.json": "Architecture.",
    "generation_config.json": "Stop token.",
    "model.safetensors": "Weights, bfloat16.",
    "tokenizer.json": "Vocabulary.",
    "tokenizer_config.json": "Special tokens.",
    "gitignore": "Names that git ignores.",
    "[a-z]*_100.jsonl": "All commands of this domain, with names and phrasings never trained on.",
}
"""Pattern of a file's name -> its description, for files without words of their own."""

PLAIN_FOLDERS = {
    "templates": "Templates of the pages.",
    "static": "What the live page's browser loads beside the page.",
}
"""Folders of the package without code."""

FOLDERS = {
    "docs": "Pages in four kinds, and tables of figures; docs/README.md is the index.",
    "docs/start": "One lesson from an empty folder to the first promoted version.",
    "docs/how-to": "One task a page.",
    "docs/reference": "Facts to look up: formats, fields, keys, events, commands.",
    "docs/why": "Reasons for the design.",
    "docs/measurements": "Tables of figures, each with the command that makes it.",
    "models/base/micro": "The embedded base model, made by experiments/base_model/make.py.",
    "benchmarks": "Suites that every candidate is asked; never trained on.",
    "benchmarks/domains": "All commands of one domain, 100 each; no candidate is asked them.",
    "benchmarks/examples": "Suites to copy from; no candidate is asked them.",
    "benchmarks/sealed": "The suite that only experiments/sealed.py asks.",
    "systemd": "The service.",
    "tools": "Programs that need only the checkout, and launchers of the verbs.",
    "experiments/base_model/sentences": "Ways to say a command: block, what it asks for, template.",
    "experiments": "Programs that measure the product or make its parts; not installed.",
}
"""Folder outside of the package -> its description. A package says it in its __init__.py."""

SKIPPED = {"__init__.py", "__pycache__"}


def tree() -> str:
    """
    Return the annotated tree as a fenced block.

    Raises:
        ValueError: A file has no description; the message says how to give it one.
    """
    lines = [
        "```",
        _line("daemon/finetuned/", 0, "Rooms by floor: a room imports only rooms of lower floors."),
    ]
    lines += _package(PACKAGE, 1)
    for folder in ("benchmarks", "docs", "experiments", "models/base/micro", "systemd", "tools"):
        lines += ["", *_folder(CHECKOUT / folder, 0)]
    lines += [
        "",
        _line("tests/", 0, "Laws of the code; no mocks."),
        _line(
            "unit/", 1, "Pure code and files, without torch; docs/ holds these pages to the code."
        ),
        _line("integration/", 1, "Real processes and a tiny real model."),
        _line("faults/", 1, "Kills, full disks, hostile input."),
        _line("support/", 1, "What several tests need."),
        "",
        "inbox/ status/ control/ models/ logs/ current_model      run-time data, not in git",
        "```",
    ]
    return "\n".join(lines) + "\n"


def floors() -> dict[str, int]:
    """
    Return room -> floor, as the architecture test holds it; a room of rooms is on theirs.
    """
    for node in ast.parse(ARCHITECTURE.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS":
            layers = ast.literal_eval(node.value)
            found = {room: floor for floor, rooms in enumerate(layers) for room in rooms}
            return {room.partition("/")[0]: floor for room, floor in found.items()} | found
    raise ValueError(f"{ARCHITECTURE} no longer assigns LAYERS, a list of sets of room names")


def description(path: Path) -> str:
    """
    Return the one sentence that says what *path* is.

    Raises:
        ValueError: It has none.
    """
    if path.suffix == ".py":
        found = ast.get_docstring(ast.parse(path.read_text())) or ""
    elif path.suffix == ".md":
        found = path.read_text().partition("\n")[0].removeprefix("# ") + "."
    elif path.suffix == "":
        found = _first_comment(path.read_text())
    else:
        found = next((text for p, text in OTHERS.items() if fnmatch(path.name, p)), "")
    paragraph = " ".join(found.split("\n\n")[0].split())
    sentence = re.split(r"(?<=[\w)`\"])\. (?=[A-Z])", paragraph)[0].rstrip(".").replace("``", "")
    if not sentence:
        raise ValueError(
            f"{path} has no description: begin it with a docstring, or describe its name in "
            "OTHERS of experiments/pages/tree.py"
        )
    return sentence + "."


def _package(folder: Path, depth: int) -> Iterator[str]:
    """Yield the lines of a room: its files first, then its rooms by floor."""
    known = floors()
    for path in _files(folder):
        yield _line(
            path.name, depth, description(path), known.get(path.stem) if depth == 1 else None
        )
    rooms = sorted(_subfolders(folder), key=lambda p: (known.get(p.name, 0), p.name))
    for room in rooms:
        init = room / "__init__.py"
        text = description(init) if init.is_file() else PLAIN_FOLDERS[room.name]
        floor = known.get(room.name) if depth == 1 else None
        yield _line(f"{room.name}/", depth, text, floor)
        yield from _package(room, depth + 1)


def _folder(folder: Path, depth: int) -> Iterator[str]:
    """Yield the lines of a folder outside of the package, folders after files."""
    name = str(folder.relative_to(CHECKOUT)) if depth == 0 else folder.name
    init = folder / "__init__.py"
    text = FOLDERS.get(str(folder.relative_to(CHECKOUT))) or description(init)
    yield _line(f"{name}/", depth, text)
    for path in _files(folder):
        yield _line(path.name, depth + 1, description(path))
    for sub in sorted(_subfolders(folder)):
        yield from _folder(sub, depth + 1)


def _files(folder: Path) -> list[Path]:
    return sorted(
        p for p in folder.iterdir() if p.is_file() and p.name not in SKIPPED and p.name[0] != "."
    )


def _subfolders(folder: Path) -> list[Path]:
    return [
        p for p in folder.iterdir() if p.is_dir() and p.name not in SKIPPED and any(p.glob("*.*"))
    ]


def _line(name: str, depth: int, text: str, floor: int | None = None) -> str:
    label = f"{'  ' * depth}{name}"
    mark = "" if floor is None else f"{floor}  "
    return f"{label:<{WIDTH - 1}} {mark}{text}".rstrip()


def _first_comment(text: str) -> str:
    """Return the first paragraph of comments after the first line, or of the docstring."""
    if '"""' in text:
        return ast.get_docstring(ast.parse(text)) or ""
    lines = []
    for line in text.splitlines()[1:]:
        if not line.startswith("# "):
            break
        lines.append(line.removeprefix("# "))
    return "\n".join(lines)
