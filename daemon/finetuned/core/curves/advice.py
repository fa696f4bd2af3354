"""
What to change next, each by a named rule from findings. No finding, no advice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from finetuned.core.curves.finding import Advice, Finding, JobCurves, Kind

By = Mapping[Kind, Finding]

_MORE_RIGHT = 0.05
"""A rise of the share of right answers that counts for more than the loss."""


def advise(curves: JobCurves, findings: Sequence[Finding]) -> Iterator[Advice]:
    """
    Yield what the rules say, the most useful first.
    """
    by = {finding.kind: finding for finding in reversed(findings)}
    for rule in _RULES:
        if (advice := rule(curves, by)) is not None:
            yield advice


def _lower_the_rate(curves: JobCurves, by: By) -> Advice | None:
    if Kind.RATE_TOO_HIGH not in by:
        return None
    rate = by[Kind.RATE_TOO_HIGH].numbers.get("learning_rate")
    to = f" from {rate:g} to {rate / 3:.2g}" if rate else ""
    return Advice(
        "lower_the_learning_rate",
        f"Lower training.learning_rate{to} and train the file again.",
        (Kind.RATE_TOO_HIGH,),
        {"learning_rate": rate, "proposed": rate / 3 if rate else None},
    )


def _stop_earlier(curves: JobCurves, by: By) -> Advice | None:
    total = curves.last_step
    over, flat = by.get(Kind.OVERFITTING), by.get(Kind.PLATEAU)
    found = over or flat
    if found is None or found.step is None or not 0 < found.step < total:
        return None
    before, after = found.numbers.get("right_before"), found.numbers.get("right_after")
    if before is not None and after is not None and after > before + _MORE_RIGHT:
        return Advice(
            "judge_by_the_answers",
            f"Do not stop earlier for the loss: right answers rose from {before:.0%} to "
            f"{after:.0%} after step {found.step:,}.",
            (found.kind,),
            {"step": found.step, "right_before": before, "right_after": after},
        )
    unused = 1 - found.step / total
    patience = max(1, round(0.1 * total))
    # A flat curve has to be looked at for a while before anybody knows that it is flat.
    why = "made the model worse" if over else "taught it nothing new"
    return Advice(
        "stop_at_the_lowest" if over else "stop_at_the_plateau",
        f"Stop at step {found.step:,} next time; the last {unused:.0%} of this job {why}. "
        f"training.patience = {patience} does it by itself.",
        (found.kind,),
        {"step": found.step, "share_after": unused, "patience": patience},
    )


def _more_rows(curves: JobCurves, by: By) -> Advice | None:
    if Kind.OVERFITTING not in by:
        return None
    return Advice(
        "more_different_rows",
        "Drop more different rows of this kind, or fewer epochs of these "
        "(training.num_train_epochs).",
        (Kind.OVERFITTING,),
    )


def _train_longer(curves: JobCurves, by: By) -> Advice | None:
    if Kind.UNDERFITTING not in by or Kind.RATE_TOO_LOW in by:
        return None
    return Advice(
        "train_longer",
        "Train longer: one more epoch (training.num_train_epochs), or more rows.",
        (Kind.UNDERFITTING,),
        {"steps": curves.last_step},
    )


def _raise_the_rate(curves: JobCurves, by: By) -> Advice | None:
    if Kind.RATE_TOO_LOW not in by:
        return None
    rate = max(curves.learning_rate.values, default=None)
    to = f" from {rate:g} to {3 * rate:.2g}" if rate else ""
    return Advice(
        "raise_the_learning_rate",
        f"Raise training.learning_rate{to}, or train longer.",
        (Kind.RATE_TOO_LOW,),
        {"learning_rate": rate, "proposed": 3 * rate if rate else None},
    )


def _look_at_rows(curves: JobCurves, by: By) -> Advice | None:
    spikes = by.get(Kind.SPIKES)
    if spikes is None or Kind.RATE_TOO_HIGH in by:
        return None
    return Advice(
        "look_at_the_rows",
        f"Look at the rows around step {spikes.step:,}: they are unlike the others, or wrong.",
        (Kind.SPIKES,),
        {"step": spikes.step},
    )


def _hold_out_more(curves: JobCurves, by: By) -> Advice | None:
    if Kind.FEW_HELD_OUT not in by:
        return None
    return Advice(
        "hold_out_more_rows",
        "Hold out more rows (data.holdout_fraction, data.holdout_min_rows), or protect answers "
        "with a suite.",
        (Kind.FEW_HELD_OUT,),
        by[Kind.FEW_HELD_OUT].numbers,
    )


def _measure_held_out(curves: JobCurves, by: By) -> Advice | None:
    if Kind.NO_HELD_OUT not in by:
        return None
    return Advice(
        "measure_the_held_out_loss",
        "Have the held-out loss measured: training.patience above 0, and smaller "
        "evaluation.eval_steps.",
        (Kind.NO_HELD_OUT,),
    )


def _keep_what_was_learnt(curves: JobCurves, by: By) -> Advice | None:
    if Kind.DRIFT not in by:
        return None
    return Advice(
        "rehearse_more",
        "Rehearse more of what was learnt before (training.replay_presentations), or lower the "
        "learning rate: so large a distance goes with forgetting.",
        (Kind.DRIFT,),
        by[Kind.DRIFT].numbers,
    )


def _nothing_learnt(curves: JobCurves, by: By) -> Advice | None:
    if Kind.NOTHING_LEARNT not in by:
        return None
    return Advice(
        "was_it_known_already",
        "Check whether the model knew these rows before, or whether their answers follow from "
        "their questions at all.",
        (Kind.NOTHING_LEARNT,),
    )


_RULES: tuple[Callable[[JobCurves, By], Advice | None], ...] = (
    _lower_the_rate,
    _stop_earlier,
    _more_rows,
    _raise_the_rate,
    _train_longer,
    _look_at_rows,
    _nothing_learnt,
    _keep_what_was_learnt,
    _hold_out_more,
    _measure_held_out,
)
