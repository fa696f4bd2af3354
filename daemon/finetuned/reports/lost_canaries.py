"""
What a person reads of canaries that a candidate lost: the answers, and what can be done.

Pure. The reason of a verdict, finetuned status and the page of a version say it in these words.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from finetuned.core.lost_canaries import LostCanary
from finetuned.reports.wording import shorten

MAX_SHOWN: Final = 5
"""Canaries whose answers are shown."""

_REASON_CHARS: Final = 60
_LINE_CHARS: Final = 160


@dataclass(frozen=True, slots=True)
class Choice:
    """
    One thing that can be done about lost canaries.
    """

    aim: str
    """What it is for, as the beginning of a sentence."""
    how: str
    """A command that can be copied, or a sentence that says what to change."""


def in_short(lost: Sequence[LostCanary]) -> str:
    """
    Return the end of a verdict's reason: both answers to the first canary, and where to read on.

    Args:
        lost: At least one.
    """
    first = lost[0]
    before, now = (_quoted(text, _REASON_CHARS) for text in (first.before, first.now))
    return (
        f"{shorten(first.id, _REASON_CHARS)} was answered {before} by the {first.against}, {now} by"
        " the candidate; finetuned status and finetuned report say what can be done"
    )


def answers(lost: Sequence[LostCanary]) -> list[str]:
    """
    Return a line for each of the first MAX_SHOWN canaries, and how many more there are.
    """
    lines = [
        f"{shorten(c.id, _LINE_CHARS)}: {_quoted(c.prompt, _LINE_CHARS)} was answered"
        f" {_quoted(c.before, _LINE_CHARS)} by the {c.against} and is answered"
        f" {_quoted(c.now, _LINE_CHARS)} now"
        for c in lost[:MAX_SHOWN]
    ]
    if len(lost) > MAX_SHOWN:
        lines.append(f"and {len(lost) - MAX_SHOWN} more")
    return lines


def choices(
    lost: Sequence[LostCanary],
    version: str,
    *,
    rejected: bool,
    program: str = "finetuned",
    where: str = "",
) -> list[Choice]:
    """
    Return what can be done, the least first.

    Args:
        lost: At least one.
        version: That of the candidate.
        rejected: Whether it was rejected; if not, it was held.
        program: How the person starts finetuned, quoted for a shell.
        where: Options that name the root, "" if they are not needed.
    """
    root = f" {where}" if where else ""
    name = shlex.quote(lost[0].id)
    each = "" if len(lost) == 1 else ", and so for each"
    anyway = " --anyway" if rejected else ""
    return [
        Choice(
            "to keep such answers, teach them",
            "drop a file of rows into inbox/ that ask the same in other words and answer as the"
            " canary expects; the question of a canary itself is never trained",
        ),
        Choice(
            "to forget less of what earlier files taught, rehearse more",
            "raise training.replay_presentations in config.toml; it counts from the next job on",
        ),
        Choice(
            "if the model is no longer meant to answer so, remove the canary",
            f"{program} canary remove {name} --confirm {name}{root}{each}",
        ),
        Choice(
            "to use this version as it is, promote it by hand",
            f"{program} versions promote {version}{anyway}{root}",
        ),
    ]


def _quoted(text: str, chars: int) -> str:
    return f'"{shorten(text, chars)}"' if text.strip() else "nothing"
