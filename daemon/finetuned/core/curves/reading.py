"""
From the curves of one job to what they show: every test, in order.

Each alarm is tested at 1%, so that all of them together cry wolf on noise in less than 5%
of jobs (docs/measurements/curves.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean, median

from finetuned.core.curves.advice import advise
from finetuned.core.curves.finding import Finding, JobCurves, Kind, Number, Reading
from finetuned.core.curves.outliers import spikes
from finetuned.core.curves.rate import rate_findings
from finetuned.core.curves.series import Series
from finetuned.core.curves.shape import MAX_POINTS, MIN_POINTS, alike_beside, falls, rises_again
from finetuned.core.curves.slope import flat_since, slope_of

LEVEL = 0.01
"""Level of each test that raises an alarm."""

MARGIN = 0.1
"""A fall of less than this share of the whole fall is no fall any more."""

_ENOUGH_LOOKS = 4
"""Fewer looks say nothing of the share of right answers."""

FEW_ROWS = 30
"""Fewer held-out rows know accuracy no better than to within 18 points."""


def read(curves: JobCurves) -> Reading:
    """
    Return what the curves show, the gravest first, and what to change.
    """
    findings = list(_broken(curves))
    diverged = any(f.kind is Kind.DIVERGENCE and f.p is not None for f in findings)
    findings += [*_shape(curves, diverged=diverged), *_around(curves)]
    findings += rate_findings(curves, findings)
    return Reading(tuple(findings), tuple(advise(curves, findings)))


def _broken(curves: JobCurves) -> Iterator[Finding]:
    """Yield divergence and spikes of the training loss."""
    turn = rises_again(curves.loss)
    if turn is not None and turn.p <= LEVEL:
        start = curves.loss.level(0.1)
        rise, fall = turn.end - turn.low, max(0.0, start - turn.low)
        if rise > max(0.25 * fall, 0.1 * abs(turn.low), curves.min_delta):
            yield Finding(
                Kind.DIVERGENCE,
                f"Training loss rises from step {turn.step:,} on: from {turn.low:.3f} to "
                f"{turn.end:.3f}.",
                turn.step,
                turn.p,
                {"low": turn.low, "end": turn.end},
            )
    fall = max(0.0, curves.loss.level(0.1) - curves.loss.level(-0.1)) if len(curves.loss) else 0
    found = spikes(curves.loss, curves.grad_norm, max(curves.min_delta, MARGIN * fall))
    if found:
        lingering = sum(spike.lingers for spike in found)
        shown = ", ".join(f"{s.step:,}" for s in found[:5])
        shown += f" and {len(found) - 5} more" if len(found) > 5 else ""
        after = f"; after {lingering} of them it stays high for a while" if lingering else ""
        yield Finding(
            Kind.SPIKES,
            f"Training loss jumps at {_count(len(found), 'step')}: {shown}{after}.",
            found[0].step,
            None,
            {"steps": len(found), "lingering": lingering, "share": len(found) / len(curves.loss)},
        )
    if curves.skipped:
        yield Finding(
            Kind.DIVERGENCE,
            f"{_count(len(curves.skipped), 'step')} left out, as loss or gradient was not finite; "
            f"the first is {curves.skipped[0]:,}.",
            curves.skipped[0],
            None,
            {"skipped": len(curves.skipped)},
        )


def _shape(curves: JobCurves, *, diverged: bool) -> Iterator[Finding]:
    """Yield how training and held-out loss run, and whether the job could end there."""
    if not len(curves.loss) and not len(curves.held_out):
        return
    known = [s for s in (curves.held_out, curves.loss) if len(s) >= MIN_POINTS]
    if not known:
        n = max(len(curves.loss), len(curves.held_out))
        yield Finding(
            Kind.TOO_SHORT,
            f"The job has {_count(n, 'step')} on record; fewer than {MIN_POINTS} show nothing.",
            numbers={"steps": n},
        )
        return
    if diverged:
        return
    over = _overfitting(curves)
    if over is not None:
        yield over
        return
    fell = [s for s in known if falls(s) <= LEVEL]
    judged = fell[0] if fell else None
    # A few rows at each look may be too noisy to tell; training loss then speaks for itself.
    yield from next(filter(None, (list(_end(curves, series)) for series in fell)), [])
    if judged is None or (curves.held_out_fixed and judged is not known[0]):
        name = _name(curves, known[0])
        though = "" if judged is None else ", though training loss falls"
        yield Finding(
            Kind.NOTHING_LEARNT,
            f"{name} shows no fall over {curves.last_step:,} steps{though}.",
            p=falls(known[0]),
        )


def _name(curves: JobCurves, series: Series) -> str:
    return "Held-out loss" if series is curves.held_out else "Training loss"


def _overfitting(curves: JobCurves) -> Finding | None:
    """Return that held-out loss rises while training loss does not, if a test shows it."""
    turn = rises_again(curves.held_out)
    if turn is None or turn.p > LEVEL:
        return None
    fall = max(0.0, curves.held_out.level(0.1) - turn.low)
    if turn.end - turn.low < max(curves.min_delta, MARGIN * fall):
        return None
    if len(curves.loss) < MIN_POINTS or falls(curves.loss) > LEVEL:
        return None
    after = [v for s, v in zip(curves.loss.steps, curves.loss.values, strict=True) if s > turn.step]
    before = curves.loss.values[: len(curves.loss) - len(after)]
    if not after or not before or median(after) > median(before):
        return None
    return Finding(
        Kind.OVERFITTING,
        f"Held-out loss is lowest at step {turn.step:,} ({turn.low:.3f}) and rises to "
        f"{turn.end:.3f}, while training loss goes on falling to "
        f"{curves.loss.level(-0.1):.3f}: the model learns its rows by heart."
        + _answers_in_words(curves, turn.step),
        turn.step,
        turn.p,
        {
            "low": turn.low,
            "end": turn.end,
            "train_end": curves.loss.level(-0.1),
            **_answers_around(curves, turn.step),
        },
    )


def _answers_around(curves: JobCurves, step: int) -> dict[str, Number]:
    """Return the share of right answers in the looks just before *step*, and in those after."""
    pairs = list(zip(curves.accuracy.steps, curves.accuracy.values, strict=True))
    after = [v for s, v in pairs if s > step]
    before = [v for s, v in pairs if s <= step][-len(after) :] if after else []
    if not before or len(after) < _ENOUGH_LOOKS:
        return {}
    return {"right_before": fmean(before), "right_after": fmean(after[len(after) // 2 :])}


def _answers_in_words(curves: JobCurves, step: int) -> str:
    found = _answers_around(curves, step)
    if not found:
        return ""
    return f" Right answers went from {found['right_before']:.0%} to {found['right_after']:.0%}."


def _end(curves: JobCurves, judged: Series) -> Iterator[Finding]:
    """Yield whether a curve that fell is flat at its end, or falls on."""
    thin, name = judged.thinned(MAX_POINTS), _name(curves, judged)
    whole = max(thin.level(0.1), judged.values[0]) - thin.level(-0.1)
    margin = max(curves.min_delta, MARGIN * whole)
    flat = flat_since(judged, margin, least=curves.min_delta)
    if flat is not None and flat.since > thin.steps[0]:
        yield Finding(
            Kind.PLATEAU,
            f"{name} is flat since step {flat.since:,}, at {thin.level(-0.25):.3f}: it falls by "
            f"{max(0.0, flat.fall):.3f} there, of {whole:.3f} in all."
            + _answers_in_words(curves, flat.since),
            flat.since,
            flat.p_below(margin),
            {
                "level": thin.level(-0.25),
                "fall_there": flat.fall,
                "fall": whole,
                "margin": margin,
                **_answers_around(curves, flat.since),
            },
        )
        return
    last = max(MIN_POINTS, len(thin) // 3)
    phi = alike_beside(thin.values)
    line = slope_of(thin.since(max(0, len(thin) - last)), phi)
    if line is None or (p := line.p_above(curves.min_delta)) > LEVEL:
        return
    yield Finding(
        Kind.FALLING,
        f"{name} still falls at the end: by {line.fall:.3f} since step {line.since:,}.",
        line.since,
        p,
        {"fall_there": line.fall, "fall": whole},
    )
    planned = curves.planned_steps
    if planned is None or curves.last_step < planned or line.p_above(margin / 2) > LEVEL:
        return  # it goes on, or was stopped, or what is left to learn is little
    train = curves.loss.thinned(MAX_POINTS)
    still = slope_of(train.since(-(len(train) // 3))) if len(train) >= MIN_POINTS else None
    if judged is curves.loss or still is None or still.fall > 0:
        yield Finding(
            Kind.UNDERFITTING,
            "The job ended before it had learnt all it could: its losses were still falling.",
            curves.last_step,
            p,
        )


def _around(curves: JobCurves) -> Iterator[Finding]:
    """Yield what is to be known beside the loss: held-out rows, distance, speed."""
    rows = curves.held_out_rows
    if len(curves.loss) >= MIN_POINTS and len(curves.held_out) < MIN_POINTS:
        yield Finding(
            Kind.NO_HELD_OUT,
            f"Held-out loss was measured {_count(len(curves.held_out), 'time')}: overfitting "
            "cannot be told from it.",
            numbers={"looks": len(curves.held_out)},
        )
    if rows is not None and 0 < rows < FEW_ROWS:
        half = 98 / rows**0.5
        yield Finding(
            Kind.FEW_HELD_OUT,
            f"{_count(rows, 'held-out row')}: accuracy is known to within {half:.0f} points.",
            numbers={"rows": rows, "points": half},
        )
    warned = curves.kl_warning
    if warned is not None and len(curves.kl) and curves.kl.values[-1] > warned:
        above = [s for s, v in zip(curves.kl.steps, curves.kl.values, strict=True) if v > warned]
        yield Finding(
            Kind.DRIFT,
            f"The model is {curves.kl.values[-1]:.2f} nats per token from the one it started "
            f"from; {warned:g} was passed at step {above[0]:,}.",
            above[0],
            None,
            {"kl": curves.kl.values[-1], "warning": warned},
        )
    speed = curves.tokens_per_second
    if len(speed) >= MIN_POINTS and speed.level(-0.3) < 0.7 * speed.level(0.3):
        p = falls(speed)
        if p <= LEVEL:
            yield Finding(
                Kind.SLOWER,
                f"Training slows down from {speed.level(0.3):,.0f} to {speed.level(-0.3):,.0f} "
                "tokens a second.",
                None,
                p,
                {"first": speed.level(0.3), "last": speed.level(-0.3)},
            )


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
