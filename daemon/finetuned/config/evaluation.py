"""
Knobs of evaluation, of the gate, and of the watch after a promotion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from finetuned.config.checks import check, ranges, words
from finetuned.errors import ConfigError

MAX_CONFIDENCE = 0.999
"""Largest gate.confidence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    eval_steps: int = 10
    """Optimizer steps between two live evals of held-out rows while training, >= 1."""

    max_wall_fraction: float = 0.05
    """
    Share of training wall time that evals may take, 0.001 to 0.5. Rows per eval
    (1 to 8) and skipped evals adapt to it.
    """

    timeout_seconds: float = 60.0
    """
    Deadline of one eval while training, in seconds, 0.1 to 3600. A late answer is neither
    right nor wrong.
    """

    max_new_tokens: int = 256
    """Longest generated answer in tokens, 1 to 8192."""

    final_max_rows: int = 400
    """
    Most rows of the final evaluation of a candidate, 2 to 100000: half from the
    new datasets, half spread over earlier ones.
    """

    max_minutes: float = 60.0
    """
    Longest time that the final evaluation of a candidate may take, in minutes, 0.001 to 10000.
    If everything would take longer, a sample of each suite is asked that fits; what was left
    out is in the report, and with fewer than 32 items of a suite nothing is promoted.
    """

    max_training_share: float = 0.25
    """
    Longest time that the final evaluation of a candidate should take, as a share of the time
    that its training took, 0 to 1000. If everything would take longer, a sample of benchmarks
    and earlier datasets is asked, of at least 32 items each; new rows, canaries and suites of
    gate.ship_gates are asked whole, and everything is at every eighth candidate. 0 sets no limit.
    """

    final_timeout_seconds: float = 7200.0
    """Deadline of the final evaluation of one model, in seconds, 1 to 86400."""

    batch_size: int = 32
    """Rows generated together, 1 to 1024."""

    item_timeout_seconds: float = 60.0
    """
    Longest time one answer may take in an evaluation, in seconds, 0.01 to 3600: its share of
    the passes that several answers have together. One that is cut is missing evidence, like
    one that was not asked: it is in no accuracy, and is asked again later.
    """

    suite_timeout_seconds: float = 1800.0
    """
    Deadline of one suite for one model, in seconds, 0.1 to 86400. Items that were not
    asked by then are missing evidence, which fails the gate.
    """

    first_items: int = 32
    """
    Questions of each benchmark, and of all earlier datasets together, of which a first look at
    a candidate takes the loss, 0 to 100000. All are asked only if it shows a gain or may be
    worse, and at every eighth candidate; nothing is promoted without. 0 always asks all.
    """

    suites: str = "*"
    """
    Which files of benchmarks/ every candidate is asked: names without .jsonl, separated by
    commas; "*" for all that are there and all that the release was asked; "" for none.
    Each is required: one that is missing or unreadable fails the gate.
    """

    reasoning: str = "strip"
    """
    How a reasoning block in an answer counts: "strip" (no part of the answer), "refuse"
    (it makes the answer wrong) or "keep" (text like any other).
    """

    format_mode: str = "held"
    """
    How questions with an answer format are asked: "held" (to the format), "both" (also freely,
    which only the answers that the format changed are asked again for; the report has both),
    or "free". The verdict is made of the first.
    """

    kl_prompts: int = 16
    """
    Prompts on which a training measures how far it has moved from the model it
    started from, 0 to 256; canaries first, then held-out rows of earlier datasets. 0 switches
    it off.
    """

    kl_warning: float = 0.5
    """
    Nats per token of that distance (KL divergence) above which the status warns of
    forgetting, > 0.
    """

    def __post_init__(self) -> None:
        words("evaluation", self, reasoning=("strip", "refuse", "keep"))
        words("evaluation", self, format_mode=("held", "both", "free"))
        check(self.kl_warning > 0, "evaluation.kl_warning", "> 0", self.kl_warning)
        ranges(
            "evaluation",
            self,
            item_timeout_seconds=(0.01, 3600),
            suite_timeout_seconds=(0.1, 86400),
            kl_prompts=(0, 256),
            eval_steps=(1, None),
            max_wall_fraction=(0.001, 0.5),
            timeout_seconds=(0.1, 3600),
            max_new_tokens=(1, 8192),
            final_max_rows=(2, 100000),
            first_items=(0, 100000),
            max_minutes=(0.001, 10_000),
            max_training_share=(0, 1000),
            final_timeout_seconds=(1, 86400),
            batch_size=(1, 1024),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    confidence: float = 0.95
    """
    How sure a difference must be before it counts, 0.5 to 0.999: of releases whose
    candidates are no better, at most one minus this is ever replaced, however many are tried.
    """

    release: str = "proven"
    """
    Which candidates become current_model: "proven" (those shown to be better), "no-harm" (also
    those not shown to be worse), or "every" (all that are not damaged). Training goes on from
    every candidate that is not shown to be worse, whatever this says.
    """

    min_loss_gain: float = 0.0
    """
    How much lower the candidate's held-out loss on the new rows must be than the
    release's, in nats per token, >= 0, beside being shown to be lower.
    """

    min_gain: float = 0.0
    """Share of right answers on the new rows that must be gained, 0 to 1; 0 demands none."""

    answers_follow: bool = True
    """
    Whether the answers of each new file must be shown to depend on their questions before
    anything is promoted. Files in which questions and answers belong to different rows lower
    the loss too. false for rows that are to be answered alike whatever is asked.
    """

    max_old_accuracy_drop: float = 0.02
    """
    Share of right answers that any older suite may lose, 0 to 1, before a loss that is
    more than noise rejects the candidate.
    """

    max_old_loss_rise: float = 0.1
    """
    Nats per token that the loss of an older suite may rise, >= 0, before a rise that is
    more than noise rejects the candidate.
    """

    max_invented_rise: float = 0.02
    """
    Share of answers that may come to hold an invented value (one that the answer format says is
    copied, and that does not stand in the prompt), 0 to 1, before a rise that is more than
    noise rejects the candidate.
    """

    max_invented: float = 1.0
    """Share of answers with an invented value above which nothing is promoted, 0 to 1; 1 is off."""

    ship_gates: str = ""
    """
    Shares of right answers that a version must reach whatever the release does, such as
    "infra_200 >= 0.95, canaries >= 0.95"; "overall" is all suites together. Judged by the
    lower confidence bound if the suite is large enough to show it.
    """

    quality_gates: str = ""
    """As ship_gates, but advice: written into the report, rejecting nothing."""

    interpolation: str = "0.7, 0.5, 0.3"
    """
    Shares of the candidate, the rest the model it was trained on, that are tried before a
    candidate is rejected for what it forgot, or held for a lost canary alone, the largest
    first; the first that passes takes its place. "" tries none.
    """

    def __post_init__(self) -> None:
        words("gate", self, release=("proven", "no-harm", "every"))
        ranges(
            "gate",
            self,
            confidence=(0.5, MAX_CONFIDENCE),
            min_loss_gain=(0, None),
            min_gain=(0, 1),
            max_old_accuracy_drop=(0, 1),
            max_old_loss_rise=(0, None),
            max_invented_rise=(0, 1),
            max_invented=(0, 1),
        )
        for name in ("ship_gates", "quality_gates"):
            try:
                parse_gates(getattr(self, name))
            except ValueError as error:
                raise ConfigError(f"gate.{name}: {error}") from None
        if any(not 0 < a < 1 for a in self.shares):
            check(False, "gate.interpolation", "shares between 0 and 1", self.interpolation)

    @property
    def shares(self) -> list[float]:
        """The shares of interpolation, as numbers."""
        try:
            return [float(part) for part in self.interpolation.split(",") if part.strip()]
        except ValueError:
            raise ConfigError(
                "gate.interpolation must be numbers separated by commas, "
                f"got {self.interpolation!r}"
            ) from None


def parse_gates(text: str) -> list[tuple[str, float]]:
    """
    Return suite and threshold of each gate in ``infra_200 >= 0.95, overall >= 0.9``.

    Raises:
        ValueError: It is not of that form, or a threshold is not above 0 and below 1.
    """
    gates = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, sign, number = part.partition(">=")
        try:
            threshold = float(number)
        except ValueError:
            threshold = math.nan
        if not sign or not name.strip() or not 0 < threshold < 1:
            raise ValueError(f"expected NAME >= SHARE with a share between 0 and 1, found {part!r}")
        gates.append((name.strip(), threshold))
    return gates


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchConfig:
    minutes: float = 30.0
    """
    How long after a promotion the new version is watched, in minutes, 0 to 100000; if
    it fails in this time, the daemon takes it back. 0 switches the watch off.
    """

    requests: int = 0
    """
    Requests served after which the watch ends earlier, >= 0, as counted in
    control/health.json; with 0 only the time ends it.
    """

    max_error_fraction: float = 0.05
    """Share of the new version's requests that may fail while it is watched, 0 to 1."""

    min_requests: int = 20
    """Requests before max_error_fraction is applied, >= 1."""

    def __post_init__(self) -> None:
        ranges(
            "watch",
            self,
            minutes=(0, 100_000),
            requests=(0, None),
            max_error_fraction=(0, 1),
            min_requests=(1, None),
        )
