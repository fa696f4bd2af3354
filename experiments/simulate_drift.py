"""
How soon a planted shift is noticed, and how often nothing is called a shift.

    python -m experiments.simulate_drift --roots 200

simulates services with a training set, four weeks of requests, and 14 days after them that are
looked at; prints a table of Markdown.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from statistics import median

from finetuned.core.drift.answered import Answered, Forms, measured
from finetuned.core.drift.asked import Asked
from finetuned.core.drift.measure import Against, Alert, Measure, Span, Values
from finetuned.core.drift.moved import moved, usual_differences
from finetuned.core.drift.spans import grouped
from finetuned.core.drift.wording import Reference, distinct

VERBS = ("create", "add", "make", "set up", "please create", "can you add", "i need")
THINGS = ("the user", "an account", "the dns record", "a share", "the group", "the zone", "a host")
ENDS = ("", " for the sales team", " with the usual rights", " before friday", " on the old server")
OTHER_VERBS = ("summarise", "translate", "explain", "rewrite", "shorten")
OTHER_THINGS = ("this contract", "the invoice", "our warranty terms", "the complaint", "a letter")
OTHER_ENDS = (" in simple words", " into french", " for the customer", " as bullet points")
FIRST = date(2026, 1, 1)
BEFORE, LOOKED, STARTS = 28, 14, 3
MOST_EARLIER = 50
"""Days before, days that are looked at, and the one of these (from 0) on which a shift begins."""


@dataclass(frozen=True)
class World:
    """
    What a simulated service is asked and answers on one day.
    """

    other: float = 0.0
    """Share of prompts about something else."""
    longer: float = 0.0
    """Share of prompts with three more sentences."""
    system: float = 0.0
    """Share of prompts with a system prompt."""
    confidence: float = 12.0
    """Parameter a of a beta distribution (a, 1)."""
    cut: float = 0.02
    """Share of answers that are cut off."""
    prose: float = 0.01
    """Share of answers that are no JSON."""
    declines: float = 0.04
    weights: tuple[float, ...] = field(default=(1.0,) * len(THINGS))
    """Of the subjects; differ from day to day if days differ."""


@dataclass(frozen=True)
class Said:
    """
    One simulated request.
    """

    asked: Asked
    answered: Answered


def said(rng: random.Random, world: World) -> Said:
    """
    Return one request of a day.
    """
    name = "".join(rng.choice("abcdefghijklmnoprstuvw") for _ in range(rng.randint(4, 8)))
    if rng.random() < world.other:
        text = f"{rng.choice(OTHER_VERBS)} {rng.choice(OTHER_THINGS)} {name}"
        text += rng.choice(OTHER_ENDS)
    else:
        thing = rng.choices(THINGS, world.weights)[0]
        text = f"{rng.choice(VERBS)} {thing} {name}{rng.choice(ENDS)}"
    if rng.random() < world.longer:
        text += ". " + ". ".join(rng.choice(VERBS) + " " + rng.choice(THINGS) for _ in range(3))
    confidence = rng.betavariate(world.confidence, 1)
    answer = '{"action":"user_add","username":"' + name + '"}'
    if rng.random() < world.declines:
        answer = '{"action":"none"}'
    if rng.random() < world.prose:
        answer = "The user is " + name
    reason = "length" if rng.random() < world.cut else "stop"
    return Said(
        Asked(text, system=rng.random() < world.system), Answered(answer, reason, confidence)
    )


def uneven(rng: random.Random, world: World, spread: float) -> World:
    """
    Return the world of one day: subjects and confidence differ from day to day.
    """
    weights = tuple(rng.lognormvariate(0, spread) for _ in THINGS)
    changes = {
        "confidence": world.confidence * rng.lognormvariate(0, spread / 4),
        "cut": world.cut * rng.lognormvariate(0, spread / 2),
        "declines": world.declines * rng.lognormvariate(0, spread / 2),
    }
    return World(**{**vars(world), **changes, "weights": weights})


SHIFTS: Mapping[str, tuple[Measure | None, Callable[[World], World]]] = {
    "none": (None, lambda w: w),
    "10% other prompts": (Measure.WORDING, lambda w: World(**{**vars(w), "other": 0.1})),
    "30% other prompts": (Measure.WORDING, lambda w: World(**{**vars(w), "other": 0.3})),
    "all other prompts": (Measure.WORDING, lambda w: World(**{**vars(w), "other": 1.0})),
    "30% longer": (Measure.LENGTH, lambda w: World(**{**vars(w), "longer": 0.3})),
    "30% system prompts": (Measure.FORMAT, lambda w: World(**{**vars(w), "system": 0.3})),
    "confidence 0.94 to 0.89": (
        Measure.CONFIDENCE,
        lambda w: World(**{**vars(w), "confidence": w.confidence / 2}),
    ),
    "10% cut off": (Measure.STOPPED, lambda w: World(**{**vars(w), "cut": 0.1})),
    "25% cut off": (Measure.STOPPED, lambda w: World(**{**vars(w), "cut": 0.25})),
    "10% no JSON": (Measure.VALID, lambda w: World(**{**vars(w), "prose": 0.1})),
    "20% declined": (Measure.REFUSED, lambda w: World(**{**vars(w), "declines": 0.2})),
}
"""Name -> the measure that must say so, and what becomes of a day."""


def alerts_of(
    rng: random.Random,
    training: Reference,
    forms: Forms,
    *,
    requests: int,
    spread: float,
    shift: Callable[[World], World],
) -> list[Alert]:
    """
    Return what a look at LOOKED days of one simulated service finds.
    """

    def day_of(number: int) -> list[Said]:
        world = uneven(rng, World(), spread) if spread else World()
        if number >= BEFORE + STARTS:
            world = shift(world)
        n = max(1, round(rng.gauss(requests, requests**0.5)))
        return [said(rng, world) for _ in range(n if number >= BEFORE else min(n, MOST_EARLIER))]

    days = [(FIRST + timedelta(days=i), day_of(i)) for i in range(BEFORE + LOOKED)]
    groups, few = grouped(dict(days[BEFORE:]))
    earlier, _ = grouped(dict(days[:BEFORE]))
    if few or len(earlier) < 2:
        return []
    alerts: list[Alert] = []
    compared = [[s.asked for s in rs] for _, _, rs in earlier[1::2]]
    reference = Reference(
        [s.asked for _, _, rs in earlier[::2] for s in rs], [a for span in compared for a in span]
    )
    usual = usual_differences([reference.measured(span) for span in compared])
    for ref, against, own in (
        (training, Against.TRAINED, None),
        (reference, Against.EARLIER, usual),
    ):
        spans = [Span(a, b, ref.measured([s.asked for s in rs])) for a, b, rs in groups]
        alerts += moved(ref.values, spans, against=against, usual=own)
    parts: list[Values] = [measured([s.answered for s in rs], forms) for _, _, rs in earlier]
    whole: Values = {m: [v for part in parts for v in part[m]] for m in parts[0]}
    spans = [Span(a, b, measured([s.answered for s in rs], forms)) for a, b, rs in groups]
    alerts += moved(whole, spans, against=Against.EARLIER, usual=usual_differences(parts))
    return alerts


def main(argv: list[str] | None = None) -> int:
    """
    Print the tables.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0].strip())
    parser.add_argument("--roots", type=int, default=100, help="services of each kind")
    parser.add_argument("--requests", type=int, nargs="*", default=[20, 100, 300], help="a day")
    parser.add_argument("--spreads", type=float, nargs="*", default=[0.0, 0.5])
    parser.add_argument("--shifts", nargs="*", choices=list(SHIFTS), help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    rng = random.Random(args.seed)
    trained = [said(rng, World()) for _ in range(1000)]
    known = distinct([one.asked for one in trained])
    training = Reference(known[::2], known[1::2])
    forms = Forms([one.answered.text for one in trained])
    print("| shift | requests a day | days differ | named | delay, days | false alarms |")
    print("|---|---|---|---|---|---|")
    for name in args.shifts or SHIFTS:
        for requests in args.requests:
            for spread in args.spreads:
                seed = f"{name} {requests} {spread} {args.seed}"
                found = [
                    alerts_of(
                        random.Random(f"{seed} {i}"),
                        training,
                        forms,
                        requests=requests,
                        spread=spread,
                        shift=SHIFTS[name][1],
                    )
                    for i in range(args.roots)
                ]
                print(line_of(name, requests, spread, found), flush=True)
    return 0


def line_of(name: str, requests: int, spread: float, found: list[list[Alert]]) -> str:
    """
    Return one line of the table: of services with one shift.
    """
    wanted = SHIFTS[name][0]
    start = FIRST + timedelta(days=BEFORE + STARTS)
    delays, false, quiet = [], 0, 0
    for alerts in found:
        if wanted is None:
            quiet, false = quiet + LOOKED, false + len(alerts)
            continue
        quiet += STARTS
        false += sum(alert.noticed < start for alert in alerts)
        named = [a.noticed for a in alerts if a.measure is wanted and a.noticed >= start]
        delays += [(min(named) - start).days] if named else []
    share = "-" if wanted is None else f"{len(delays)} of {len(found)}"
    delay = f"{median(delays):.0f}, at most {max(delays)}" if delays else "-"
    differ = "yes" if spread else "no"
    return f"| {name} | {requests} | {differ} | {share} | {delay} | {false} in {quiet} days |"


if __name__ == "__main__":
    raise SystemExit(main())
