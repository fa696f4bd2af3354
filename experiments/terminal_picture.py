"""
Draw what ``finetuned status`` shows of a root, as an SVG of a terminal.

    $ python -m experiments.terminal_picture /srv/factory docs/start/status.svg
    docs/start/status.svg
"""

from __future__ import annotations

import argparse
import io
import re
from pathlib import Path

from rich.console import Console
from rich.text import Text

from finetuned.cli.live import STYLES, look
from finetuned.cli.status_screen import render, screen
from finetuned.layout import Layout

WIDTH = 96


def main(argv: list[str] | None = None) -> int:
    """
    Write the picture.
    """
    parser = argparse.ArgumentParser(description="Draw what finetuned status shows, as SVG.")
    parser.add_argument("root", type=Path, help="folder that holds inbox/, models/ ...")
    parser.add_argument("picture", type=Path, help="SVG file to write")
    args = parser.parse_args(argv)
    layout = Layout(args.root.resolve())
    status, seen = look(layout)
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text("$ finetuned status", style="bold"))
    for row, tone in render(screen(layout.root, status, seen), WIDTH):
        console.print(Text(row, style=STYLES[tone]))
    svg = console.export_svg(title="finetuned status")
    # The picture loads nothing: without rich's web font the reader's monospace font is used.
    args.picture.write_text(re.sub(r"@font-face\s*\{.*?\}\s*", "", svg, flags=re.DOTALL))
    print(args.picture)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
