"""
The Markdown pages of the repository, and the commands that stand in them.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *CHECKOUT.glob("*.md"),
        *(CHECKOUT / "docs").rglob("*.md"),
        *(CHECKOUT / f"{folder}/README.md" for folder in ("inbox", "control", "status", "logs")),
        CHECKOUT / "models" / "README.md",
    ]
)

SHELL = {"", "bash", "sh"}
"""Languages of fenced blocks that hold commands."""


def name(page: Path) -> str:
    """
    Return a page's path in the checkout, as the id of a test.
    """
    return str(page.relative_to(CHECKOUT))


def by_hand(page: Path) -> str:
    """
    Return the text of *page* without its generated parts.
    """
    pattern = r"<!-- generated: ([a-z-]+) -->\n.*?<!-- end: \1 -->\n"
    return re.sub(pattern, "", page.read_text(), flags=re.DOTALL)


def commands(page: Path) -> list[str]:
    """
    Return the command lines of *page*: of its fenced and indented blocks, continued lines joined.

    Output of a command, which follows a line with a ``$`` prompt, is left out.
    """
    text = by_hand(page)
    blocks = [
        body
        for language, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        if language in SHELL
    ]
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    blocks += [
        re.sub("^    ", "", block, flags=re.MULTILINE)
        for block in re.findall(r"(?:^    [^\n]*\n)+", text, re.MULTILINE)
    ]
    found = []
    for block in blocks:
        lines = re.sub(r"\\\n\s*", "", block).splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        found += [line for line in lines if line.strip()]
    return found


def words(command: str) -> list[str]:
    """
    Return the words of one command line up to the first operator; [] if it is no plain command.
    """
    try:
        split = shlex.split(command, comments=True)
    except ValueError:  # a quote that ends on a later line
        return []
    end = next((i for i, w in enumerate(split) if w in ("|", ">", ">>", "&&", "<<EOF")), None)
    return split[:end]
