"""
The rule that answers follow from their questions, file by file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from finetuned.core.evidence import ItemPair, SuiteEvidence
from finetuned.core.gate.verdict import Rule, RuleKind
from finetuned.core.statistics import clustered_sign_flip


def answers_follow(suites: Sequence[SuiteEvidence], alpha: float) -> list[Rule]:
    """
    Fail if the expected answers of a file are not shown to be likelier after their own questions.

    The candidate's loss of each expected answer is compared with its loss after the question
    of another row of the file. The rows of a file in which question and answer belong to
    different rows lower the loss as well, since they show how answers look; nothing that is
    learnt from them answers a question.

    Args:
        suites: Held-out rows of new files. Those without a second loss are left alone, and
            those of so few clusters that no chance is as small as *alpha*.
        alpha: The largest p-value that shows it, > 0 to 0.5; each file has its own test.

    Returns:
        One rule of gain, or none if no file can be tested.
    """
    chances: dict[str, float] = {}
    rows: dict[str, int] = {}
    for suite in suites:
        pairs = [p for p in suite.pairs if _has_both(p)]
        clusters = [p.cluster for p in pairs]
        if not pairs or 2.0 ** -len(set(clusters)) > alpha:
            continue
        gains = [((p.swapped_loss or 0.0) - p.candidate_loss) / p.n_tokens for p in pairs]
        rows[suite.title] = len(pairs)
        chances[suite.title] = clustered_sign_flip(gains, clusters)
    if not chances:
        return []
    failed = [title for title, p in chances.items() if p > alpha]
    worst = max(chances.values())
    numbers = {"p_value": worst, "files": float(len(chances)), "files_failed": float(len(failed))}
    if not failed:
        detail = (
            "expected answers are likelier after their own questions than after those of other "
            f"rows (p at most {worst:.2g})"
        )
        return [Rule("answers_follow", True, detail, RuleKind.GAIN, numbers=numbers)]
    first = failed[0]
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    detail = (
        f"the answers of {first}{more} are not shown to be likelier after their own questions "
        f"than after those of other rows ({rows[first]} rows, p {chances[first]:.2g}): see "
        "whether questions and answers of the file belong together"
    )
    return [Rule("answers_follow", False, detail, RuleKind.GAIN, numbers=numbers)]


def _has_both(pair: ItemPair) -> bool:
    losses = (pair.swapped_loss, pair.candidate_loss)
    return pair.n_tokens > 0 and all(loss is not None and math.isfinite(loss) for loss in losses)
