"""
What a person reads after finetuned tune: the best trials, the finals, what to do.
"""

from __future__ import annotations

from finetuned.core.text import printable
from finetuned.core.tuning.trial import Trial, TrialState, done
from finetuned.core.tuning.winner import changed, short
from finetuned.files.study_result import StudyResult

SHOWN = 10
"""Trials in the table; the page and --json have all."""


def as_text(result: StudyResult) -> str:
    """
    Return a study as lines.
    """
    facts, trials = result.facts, result.trials
    counts = ", ".join(
        f"{n} {state}" for state in TrialState if (n := sum(t.state is state for t in trials))
    )
    before = "" if result.loss_before is None else f"; loss before {result.loss_before:.4f}"
    lines = [
        f"study {result.study}: {facts.file} ({facts.n_train:,} rows to train, "
        f"{facts.n_held_out:,} held out), from {facts.start}{before}",
        f"trials: {counts or 'none'}; {sum(t.steps for t in trials):,} steps",
        "",
        *_table(result),
        *_importance(result),
        *_finals(result),
    ]
    if result.advice:
        lines += ["", f"-> {result.advice}"]
    return printable_lines(lines)


def printable_lines(lines: list[str]) -> str:
    """
    Return *lines* as text that cannot control a terminal.
    """
    return "\n".join(map(printable, lines))


def _table(result: StudyResult) -> list[str]:
    best = done(result.trials)
    if not best:
        return []
    forgets = any(trial.forgetting is not None for trial in best)
    head = f"{'trial':>6} {'loss':>8} {'forgot':>8} {'steps':>6}  settings"
    rows = [_row(result, trial, forgets) for trial in best[:SHOWN]]
    more = len(best) - SHOWN
    left = [f"  and {more} more, with the pruned ones on the page"] if more > 0 else []
    star = ["  * on the Pareto front of loss and forgetting"] if forgets else []
    return [head, *rows, *left, *star]


def _row(result: StudyResult, trial: Trial, forgets: bool) -> str:
    mark = "*" if forgets and trial.number in result.front else " "
    forgot = "-" if trial.forgetting is None else f"{trial.forgetting:+.4f}"
    settings = " ".join(f"{k}={short(v)}" for k, v in sorted(trial.settings.items()))
    today = "  (today)" if trial.origin == "today" else ""
    figures = f"{trial.loss or 0.0:>8.4f} {forgot:>8} {trial.steps:>6}"
    return f"{trial.number:>5}{mark} {figures}  {settings}{today}"


def _importance(result: StudyResult) -> list[str]:
    if not result.importance:
        return []
    ordered = sorted(result.importance.items(), key=lambda item: -item[1])
    return ["", "what matters: " + ", ".join(f"{name} {share:.0%}" for name, share in ordered)]


def _finals(result: StudyResult) -> list[str]:
    lines = [""] if result.finalists else []
    for finalist in result.finalists:
        evidence = finalist.evidence
        right = ", ".join(f"{s.title} {s.right}/{s.asked}" for s in evidence.suites)
        lines.append(f"finalist {finalist.number}: {evidence.verdict}, {evidence.reason}")
        lines += [f"    right: {right}"] if right else []
    if (found := result.comparison) is not None:
        trial = next(t for t in result.trials if t.number == result.winner)
        differs = changed(trial.settings, result.today).items()
        values = ", ".join(f"{k} {short(a)} -> {short(b)}" for k, (a, b) in differs)
        lines += ["", f"trial {trial.number} against today: {values}"]
        lines += [
            f"  seed {pair.seed}: {pair.loss_today:.4f} -> {pair.loss_found:.4f}"
            for pair in found.pairs
        ]
        lines.append(
            f"  mean {found.loss.mean:+.4f}, with 95% confidence {found.loss.low:+.4f} to "
            f"{found.loss.high:+.4f} nats per token"
        )
    return lines
