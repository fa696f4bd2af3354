"""
The page of finetuned tune: its trials, what matters, and whether the found settings are better.

Knows charts and the words of a study; does not read files.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from markupsafe import Markup

from finetuned.core.tuning.looks import LOOKS
from finetuned.core.tuning.space import Choices, Knob, parse_knob
from finetuned.core.tuning.trial import Trial, TrialState, done
from finetuned.core.tuning.winner import changed, short
from finetuned.files.study_result import StudyResult
from finetuned.reports import charts, html

LOSS = "held-out loss, nats per token"


def tuning_page(result: StudyResult) -> str:
    """
    Return the page of one study.

    Returns:
        One HTML file that refers to no other. The same for the same argument.
    """
    today = next((t for t in result.trials if t.origin == "today"), None)
    best = next((t for t in result.trials if t.number == result.winner), None)
    values = {
        "title": f"Study {result.study}",
        "result": result,
        "states": {s: sum(t.state is s for t in result.trials) for s in TrialState},
        "steps": sum(t.steps for t in result.trials),
        "today": today,
        "winner": best,
        "changed": {} if best is None else changed(best.settings, result.today),
        "trials": _sorted(result),
        "charts": list(_charts(result)),
        "recommended": result.recommended is not None,
    }
    return html.render("tuning.html", values)


def _sorted(result: StudyResult) -> list[dict[str, Any]]:
    best = done(result.trials)
    others = [t for t in result.trials if t not in best]
    return [
        {
            "trial": trial,
            "front": trial.number in result.front,
            "settings": ", ".join(f"{k} {short(v)}" for k, v in sorted(trial.settings.items())),
        }
        for trial in (*best, *others)
    ]


def _charts(result: StudyResult) -> list[tuple[str, Markup]]:
    ended = [t for t in result.trials if t.loss is not None]
    if len(ended) < 2:
        return []
    found = [("History", _history(ended)), ("Looks", _looks(result))]
    if any(t.forgetting is not None for t in ended):
        found.append(("Loss and forgetting", _front(result, ended)))
    if result.importance:
        shares = dict(sorted(result.importance.items(), key=lambda item: -item[1]))
        what = "importance of each setting: " + ", ".join(f"{k} {v:.0%}" for k, v in shares.items())
        percents = {name: 100 * share for name, share in shares.items()}
        found.append(("What matters", charts.bars("importance", what, percents, unit="percent")))
    found += [(f"By {knob.name}", _slice(knob, ended)) for knob in _knobs(result)]
    return found


def _history(ended: list[Trial]) -> Markup:
    """Draw each trial that was trained to its end, and the best so far."""
    ordered = sorted(ended, key=lambda t: t.number)
    losses = [t.loss or 0.0 for t in ordered]
    numbers = [t.number for t in ordered]
    lines = {
        "trial": list(zip(numbers, losses, strict=True)),
        "best so far": list(zip(numbers, accumulate(losses, min), strict=True)),
    }
    what = f"held-out loss of {len(ended)} trials in their order, best {min(losses):.4f}"
    return charts.curves("history", what, lines, unit="nats per token", x="trial")


def _looks(result: StudyResult) -> Markup:
    """Draw the looks of the pruned trials beside those of the best one."""
    groups: dict[str, list[charts.Point]] = {"others": [], "pruned": []}
    best = done(result.trials)[0]
    for trial in result.trials:
        if trial is not best:
            group = "pruned" if trial.state is TrialState.PRUNED else "others"
            groups[group] += [(100 * s / LOOKS, loss) for s, loss in trial.looks if loss < 1e3]
    pairs = [(100 * s / LOOKS, loss) for s, loss in best.looks]
    shown = {
        "other trials": [*groups["others"], *groups["pruned"]],
        f"trial {best.number}": pairs,
    }
    what = "held-out loss of every trial at each tenth of its steps"
    return charts.scatter("looks", what, shown, x="percent of the trial's steps", y=LOSS)


def _front(result: StudyResult, ended: list[Trial]) -> Markup:
    def points(on_front: bool) -> list[charts.Point]:
        return [
            (t.loss or 0.0, t.forgetting)
            for t in ended
            if t.forgetting is not None and (t.number in result.front) == on_front
        ]

    groups = {"other trials": points(False), "Pareto front": points(True)}
    what = "held-out loss and forgetting of each trial"
    return charts.scatter("front", what, groups, x=LOSS, y="rise of the loss on earlier rows")


def _slice(knob: Knob, ended: list[Trial]) -> Markup:
    best = min(ended, key=lambda t: t.loss or 0.0)
    labels = list(map(str, knob.domain.values)) if isinstance(knob.domain, Choices) else None

    def point(trial: Trial) -> charts.Point:
        value = trial.settings[knob.name]
        place = labels.index(str(value)) if labels else float(value)
        return place, trial.loss or 0.0

    groups = {
        "other trials": [point(t) for t in ended if t is not best and knob.name in t.settings],
        f"trial {best.number}": [point(best)] if knob.name in best.settings else [],
    }
    return charts.scatter(
        f"slice-{knob.name}",
        f"held-out loss by {knob.name}",
        groups,
        x=knob.name,
        y=LOSS,
        logarithmic=not isinstance(knob.domain, Choices) and knob.domain.logarithmic,
        labels=labels,
    )


def _knobs(result: StudyResult) -> list[Knob]:
    return [parse_knob(text) for text in result.facts.space]
