"""
A daily report as plain text and as Markdown. Pure.
"""

from __future__ import annotations

import re

from finetuned.reports.daily.sections import CALM, DailyReport, Section, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def as_text(report: DailyReport) -> str:
    """
    Return the report for a terminal or a plain mail.
    """
    lines = [report.title, "=" * len(report.title), *_facts(report.summary), ""]
    for section in report.sections:
        lines += [f"{section.title}:", *_facts(section.facts), *_rows(section.table), ""]
    lines.append("Recommendations:")
    for found in report.recommendations:
        lines += [f"- {found.advice}", f"  ({found.rule}: {found.evidence})"]
    if not report.recommendations:
        lines.append(f"- {CALM}")
    return "\n".join(lines) + "\n"


def _facts(facts: tuple[tuple[str, str], ...]) -> list[str]:
    return [f"{name}: {value}" for name, value in facts]


def _rows(table: Table | None) -> list[str]:
    if table is None:
        return []
    lines = []
    for row in table.rows:
        first, *rest = row
        told = [f"{name} {cell}" for name, cell in zip(table.head[1:], rest, strict=True) if cell]
        lines.append(f"- {first}: {'; '.join(told)}")
    if table.left_out:
        lines.append(f"- {table.left_out} more")
    return lines


def as_markdown(report: DailyReport) -> str:
    """
    Return the report in the Markdown that chat programs know: no tables.
    """
    lines = [f"# {plain(report.title)}", "", *_items(report.summary), ""]
    lines += ["## Recommendations", ""]
    for found in report.recommendations:
        lines += [f"- **{plain(found.advice)}** {plain(found.evidence)} ({plain(found.rule)})"]
    if not report.recommendations:
        lines.append(f"- {CALM}")
    for section in report.sections:
        lines += ["", *_section(section)]
    return "\n".join(lines) + "\n"


def _section(section: Section) -> list[str]:
    lines = [f"## {plain(section.title)}", "", *_items(section.facts)]
    if section.table is not None:
        for first, *rest in section.table.rows:
            heads = section.table.head[1:]
            told = [f"{n} {plain(c)}" for n, c in zip(heads, rest, strict=True) if c]
            lines.append(f"- **{plain(first)}**: {'; '.join(told)}")
        if section.table.left_out:
            lines.append(f"- {section.table.left_out} more")
    return lines


def _items(facts: tuple[tuple[str, str], ...]) -> list[str]:
    return [f"- {plain(name)}: {plain(value)}" for name, value in facts]


def plain(text: str) -> str:
    """
    Return *text* so that Markdown shows it as it is: names of files are full of underscores.
    """
    return _SPECIAL.sub(r"\\\1", text.replace("\n", " "))


def as_short(report: DailyReport) -> str:
    """
    Return the report for a service that takes only few characters: summary and advice.
    """
    lines = [report.title, *_facts(report.summary)]
    lines += [f"- {found.advice}" for found in report.recommendations] or [f"- {CALM}"]
    text = "\n".join(lines)
    return text if len(text) <= MOST_SHORT else f"{text[: MOST_SHORT - 3]}..."


MOST_SHORT = 1500
"""Characters of it."""
