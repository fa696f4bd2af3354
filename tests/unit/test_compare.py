"""
A winner is named where the items can tell, and not where they cannot.
"""

from __future__ import annotations

from typing import Any

import pytest

from finetuned.core.scoring.scorer import Grade
from finetuned.core.statistics import mcnemar
from finetuned.data.reader import to_example
from finetuned.data.suite import Question, Suite
from finetuned.evaluation.by_hand.compare import ANSWERS, LOSSES, compare, pooled
from finetuned.evaluation.measured import Measured
from finetuned.inference.outcome import Outcome, Raw
from finetuned.reports.compare import comparison_page

A, B = {"name": "v0002", "path": "a"}, {"name": "v0001", "path": "b"}


def measured(
    marks: list[bool],
    losses: list[float] | None = None,
    *,
    name: str = "suite",
    n_tokens: int = 5,
    n_late: int = 0,
    n_asked: int | None = None,
) -> Measured:
    """
    What a model did that was right where *marks* says so.
    """
    questions, outcomes = [], {}
    losses = losses or [1.0] * len(marks)
    for i, (right, loss) in enumerate(zip(marks, losses, strict=True)):
        example = to_example({"prompt": f"q {i}", "completion": "yes"})
        question = Question(str(i), example, "", f"q {i}", "yes")
        late = i < n_late
        raw = Raw("yes" if right else "no", loss, n_tokens, n_tokens, 3, not late, late, 0.1)
        questions.append(question)
        if n_asked is None or i < n_asked:
            grade = None if late else Grade(right, float(right))
            outcomes[str(i)] = Outcome(question, raw, raw.text, grade, None if late else right)
    suite = Suite(name, "benchmark", f"{name}.jsonl", "", tuple(questions))
    return Measured(suite, outcomes, 0, 1.0)


def overall(a: Measured, b: Measured) -> dict[str, Any]:
    return dict(compare(A, B, [(a, b)]).document()["overall"])


def test_a_model_is_not_better_than_itself() -> None:
    """
    Nothing differs, so nothing is shown.
    """
    same = measured([True, False] * 20)
    found = overall(same, same)

    assert found["winner"] is None
    assert "no mark and no loss differs" == found["reason"]
    assert 0.0 == found["delta_accuracy"]
    assert 1.0 == found["p_value"]


@pytest.mark.parametrize(("n", "told"), [(6, False), (7, True)])
def test_answers_decide_only_where_they_can(n: int, told: bool) -> None:
    """
    Both tests share the 5%: six items that only one model gets right could be chance, seven not.
    """
    found = overall(measured([True] * n), measured([False] * n))

    assert ("a" if told else None) == found["winner"]
    assert found["p_value"] == pytest.approx(2 * 0.5**n)
    assert told or "at least 7 items" in found["reason"]


def test_the_p_value_is_two_sided_and_paired() -> None:
    """
    Items on which both do the same do not count, and swapping the models changes nothing.
    """
    one = measured([True] * 9 + [False] * 3 + [True] * 30)
    other = measured([False] * 9 + [True] * 3 + [True] * 30)
    found, swapped = overall(one, other), overall(other, one)

    assert 2 * mcnemar(9, 3) == pytest.approx(found["p_answers"])
    assert found["p_answers"] == swapped["p_answers"]
    assert (9, 3) == (found["only_a"], found["only_b"])
    assert found["delta_accuracy"] == pytest.approx(-100 * 6 / 42)
    assert found["delta_accuracy"] == pytest.approx(-swapped["delta_accuracy"])
    low, high = found["interval_95"]
    assert low < found["delta_accuracy"] < high


def test_a_lower_loss_decides_where_answers_cannot() -> None:
    """
    Losses tell more than marks do; the difference is per token, b minus a.
    """
    n = 20
    a = measured([False] * n, [2.0 + i / 100 for i in range(n)])
    b = measured([False] * n, [1.0] * n)
    found = overall(a, b)

    assert ("b", LOSSES) == (found["winner"], found["test"])
    assert found["delta_loss"] == pytest.approx(found["b"]["loss"] - found["a"]["loss"])
    assert "nats per token" == found["loss_unit"]


def test_answers_and_losses_that_contradict_each_other_name_nobody() -> None:
    """
    Right more often and surprised more often: that is for a person to weigh.
    """
    n = 20
    found = overall(measured([True] * n, [2.0] * n), measured([False] * n, [1.0] * n))

    assert found["winner"] is None
    assert "contradict" in found["reason"]
    assert ANSWERS == found["test"]


def test_losses_of_two_tokenizers_are_compared_per_answer() -> None:
    """
    Per token they would say which tokenizer cuts finer.
    """
    n = 20
    found = overall(
        measured([True] * n, [2.0] * n, n_tokens=2), measured([True] * n, [2.5] * n, n_tokens=9)
    )

    assert "nats per answer" == found["loss_unit"]
    assert found["delta_loss"] == pytest.approx(0.5)
    assert "a" == found["winner"]


@pytest.mark.parametrize("cut", [{"n_asked": 12}, {"n_late": 1}])
def test_what_was_not_asked_in_time_names_nobody(cut: dict[str, Any]) -> None:
    """
    Half a suite is no evidence for the whole.
    """
    found = overall(measured([True] * 20), measured([False] * 20, **cut))

    assert found["winner"] is None
    assert "in time" in found["reason"]


def test_suites_are_pooled_by_item() -> None:
    """
    The same id in two suites is two items; the overall numbers are sums.
    """
    easy, hard = measured([True] * 4, name="easy"), measured([False] * 6, name="hard")
    whole = pooled([easy, hard])

    assert {f"easy/{i}" for i in range(4)} | {f"hard/{i}" for i in range(6)} == set(whole.outcomes)
    assert whole.complete
    found = compare(A, B, [(easy, easy), (hard, hard)]).document()
    assert (4, 10) == (found["overall"]["a"]["n_correct"], found["overall"]["n_items"])
    assert ["easy", "hard"] == [suite["name"] for suite in found["suites"]]


def test_a_comparison_can_be_shown() -> None:
    """
    The page is made of exactly this, also where an item has one outcome only.
    """
    a, b = measured([True] * 8), measured([False] * 8, n_asked=7)
    comparison = compare(A, B, [(a, b)]).document()
    page = comparison_page(comparison)

    assert 8 == len(comparison["items"])
    assert "v0002" in page
    assert "only v0002 right" in page
    assert comparison_page(compare(A, A, [(a, a)]).document())
