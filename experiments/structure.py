"""
Measure the structure of the source: files, functions, types, tests.

    $ python -m experiments.structure
    files 310, lines 37,500, code lines 22,300
    ...

Lines are counted as they are; code lines leave out blank lines, comments and docstrings.
Knows syntax trees; judges nothing.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import statistics
import tokenize
from collections import Counter
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]

_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def main(argv: list[str] | None = None) -> int:
    """
    Print the figures of a checkout.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.structure",
        description="Measure the structure of the source.",
        epilog="examples:\n"
        "  python -m experiments.structure\n"
        "  python -m experiments.structure --checkout ../older --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--checkout", type=Path, default=CHECKOUT, help="default: this one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    figures = measure(args.checkout)
    if args.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<44}{value}")
    return 0


def measure(checkout: Path) -> dict[str, float | str]:
    """
    Return the figures of a checkout by name.
    """
    package = checkout / "daemon" / "finetuned"
    files = sorted(package.rglob("*.py"))
    tests = sorted((checkout / "tests").rglob("*.py"))
    lines = {path: len(path.read_text().splitlines()) for path in files}
    told = [n for n in lines.values() if n > 5]  # a package's __init__ says nothing of its files
    functions = sorted(length for path in files for length in _function_lengths(path))
    rooms: Counter[str] = Counter()
    for path, n in lines.items():
        rooms[path.relative_to(package).parts[0].removesuffix(".py")] += n
    biggest, most = rooms.most_common(1)[0]
    source, tested = sum(map(code_lines, files)), sum(map(code_lines, tests))
    text = "".join(path.read_text() for path in files)
    return {
        "files": len(files),
        "rooms": sum(path.is_dir() and path.name[0] != "_" for path in package.iterdir()),
        "lines": sum(lines.values()),
        "lines per file, median": statistics.median(told),
        "lines per file, most": max(told),
        "files over 350 lines": sum(n > 350 for n in told),
        "lines per function, median": statistics.median(functions),
        "lines per function, 90th percentile": functions[int(0.9 * (len(functions) - 1))],
        "biggest room": f"{biggest}, {100 * most / sum(lines.values()):.1f}% of the lines",
        "dict[str, Any]": text.count("dict[str, Any]"),
        "other Any": len(re.findall(r"(?<!\[str, )(?<!import )\bAny\b", text)),
        "code lines of source": source,
        "code lines of tests": tested,
        "test to source, code lines": round(tested / source, 2),
        "test to source, all lines": round(
            sum(len(path.read_text().splitlines()) for path in tests) / sum(lines.values()), 2
        ),
    }


def _function_lengths(path: Path) -> list[int]:
    return [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def code_lines(path: Path) -> int:
    """
    Return how many lines of a file hold code: no blank lines, comments or docstrings.
    """
    text = path.read_text()
    used: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            used.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            used -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(used)


if __name__ == "__main__":
    raise SystemExit(main())
