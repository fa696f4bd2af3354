"""
What the gate promotes, what it never promotes, and what it says.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import simulate_gate
from finetuned.config import GateConfig
from finetuned.core import statistics
from finetuned.core.evidence import Evidence, ItemPair, Merge, SuiteEvidence
from finetuned.core.gate.judge import judge
from finetuned.core.gate.verdict import FORGETTING, Rule, RuleKind, Verdict
from finetuned.core.promotion import VersionVerdict

pytestmark = pytest.mark.usefixtures("_no_intervals")

DEFAULT = GateConfig()
NO_HARM = GateConfig(release="no-harm")
EVERY = GateConfig(release="every")
TOKENS = 10


@pytest.fixture(scope="module")
def _no_intervals():
    """The bootstrap intervals take most of the time and decide nothing."""
    with simulate_gate.without_intervals():
        yield


def pair(i, before, now, *, loss=(5.0, 5.0), stopped=(True, True), n_tokens=TOKENS):
    return ItemPair(str(i), now, before, stopped[1], stopped[0], loss[1], loss[0], n_tokens, str(i))


def suite(name, pairs, *, origin=None, **changes):
    whole = SuiteEvidence(
        name=name,
        title=f"{name}.jsonl",
        origin=origin or name.rstrip("0123456789"),
        required=True,
        n_items=len(pairs),
        pairs=tuple(replace(p, cluster=f"{name}/{p.cluster}") for p in pairs),
        problem=None,
    )
    return replace(whole, **changes)


def answers(name, *, kept=0, lost=0, gained=0, failed=0, loss=(5.0, 5.0), **changes):
    """
    A suite with so many items right before and now, lost, gained, and wrong both times.
    """
    sides = [(True, True)] * kept + [(True, False)] * lost
    sides += [(False, True)] * gained + [(False, False)] * failed
    pairs = [pair(i, before, now, loss=loss) for i, (before, now) in enumerate(sides)]
    return suite(name, pairs, **changes)


def evidence(*suites, **changes):
    return Evidence(suites=suites, **changes)


BETTER = answers("new", kept=20, gained=20, loss=(5.0, 2.0))
SAME = answers("new", kept=30, failed=10)
CANARIES = answers("canary", kept=20)
GOOD = evidence(BETTER, answers("old", kept=90, failed=10), CANARIES)


def failed(verdict):
    return {rule.name for rule in verdict.failed}


def rules(verdict, name):
    return [rule for rule in verdict.rules if rule.name == name]


# -- better, worse, the same ---------------------------------------------------------


def test_a_better_candidate_is_promoted():
    """
    More right answers, lower loss, nothing forgotten: that is what better means.
    """
    verdict = judge(GOOD, DEFAULT)

    assert verdict.promote
    assert not verdict.forgot
    assert verdict.reason.startswith("gain: loss -0.3000 nats per token")
    assert "right 20 -> 40 of 40" in verdict.reason


def test_an_identical_candidate_is_rejected_for_showing_no_gain():
    """
    Unless the configuration says otherwise.
    """
    same = evidence(SAME, answers("old", kept=50))

    assert {"gain"} == failed(judge(same, DEFAULT))
    assert "no gain is shown at 95%" in judge(same, DEFAULT).reason
    verdict = judge(same, NO_HARM)
    assert verdict.promote
    assert 'gate.release = "no-harm"' in verdict.reason


def test_either_answers_or_loss_can_show_a_gain():
    """
    Answers alone with the loss a hair higher, or the loss alone.
    """
    pairs = [pair(i, i >= 15, True, loss=(5.0, 5.0 + (0.5 if i % 2 else -0.4))) for i in range(40)]
    verdict = judge(evidence(suite("new", pairs)), DEFAULT)
    assert verdict.promote
    assert rules(verdict, "gain")[0].numbers["loss_gain"] < 0

    loss_alone = answers("new", kept=30, failed=10, loss=(5.0, 4.0))
    assert judge(evidence(loss_alone), DEFAULT).promote
    assert judge(evidence(answers("new", kept=20, gained=9, n_items=29)), DEFAULT).promote


def test_candidates_of_equal_quality_are_promoted_no_more_often_than_promised():
    """
    Answers and losses drawn alike for both: at most 1 - confidence of them pass.
    """
    rng, trials = random.Random(7), 100

    def draw():
        pairs = []
        for i in range(40):
            ability = rng.gauss(1, 1)
            sides = [ability + rng.gauss(0, 0.7) for _ in range(2)]
            losses = (max(0.0, 5 - sides[0]), max(0.0, 5 - sides[1]))
            pairs.append(pair(i, sides[0] > 0, sides[1] > 0, loss=losses))
        return evidence(suite("new", pairs))

    promoted = sum(judge(draw(), DEFAULT).promote for _ in range(trials))

    # 9 of 100 would be seen less than once in a thousand at the first look's 2.5%.
    assert promoted < 9


items = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.integers(0, 12), st.integers(0, 12)),
    min_size=1,
    max_size=12,
)


def drawn(name, rows, origin=None):
    return suite(
        name,
        [
            pair(i, before, now, loss=(old / 4, new / 4))
            for i, (before, now, old, new) in enumerate(rows)
        ],
        origin=origin,
    )


@given(items, items)
@settings(deadline=None)
def test_what_is_nowhere_better_is_never_promoted(new, old):
    """
    Right answers turned wrong, losses only higher: noise in one direction is no gain.
    """
    worse = [(b, b and n, min(x, y), max(x, y)) for b, n, x, y in new]

    assert not judge(evidence(drawn("new", worse), drawn("old", old)), DEFAULT).promote


@pytest.mark.parametrize("config", [DEFAULT, NO_HARM], ids=["proven", "no-harm"])
@pytest.mark.parametrize(
    ("new", "rule"),
    [
        (answers("new", kept=25, lost=15), "new_accuracy"),
        (answers("new", kept=40, loss=(5.0, 6.0)), "new_loss"),
        (answers("new", kept=20, gained=20, loss=(5.0, 6.0)), "new_loss"),
    ],
    ids=["answers", "loss", "loss though answers are better"],
)
def test_what_is_shown_to_be_worse_is_rejected_whatever_equal_means(config, new, rule):
    """
    gate.release = "no-harm" is for what shows neither.
    """
    assert rule in failed(judge(evidence(new), config))


suites_drawn = st.tuples(items, items, items, items)


@given(suites_drawn, st.data())
@settings(deadline=None, max_examples=80)
def test_one_more_right_answer_never_breaks_a_rule(rows, data):
    """
    Loss and stopping as they were: every rule that held still holds, in any suite.
    """
    names = ("new", "old", "benchmark", "canary")
    config = GateConfig(
        ship_gates="old >= 0.5, overall >= 0.8",
        min_gain=data.draw(st.sampled_from([0.0, 0.1])),
        release=data.draw(st.sampled_from(["proven", "no-harm", "every"])),
    )
    wrong = [(s, i) for s in range(4) for i, row in enumerate(rows[s]) if not row[1]]
    if not wrong:
        return
    s, i = data.draw(st.sampled_from(wrong))
    mended = [list(r) for r in rows]
    mended[s][i] = (mended[s][i][0], True, *mended[s][i][2:])
    was, now = (
        judge(evidence(*(drawn(n, r) for n, r in zip(names, found, strict=True))), config)
        for found in (rows, mended)
    )

    assert [(r.name, r.suite) for r in was.rules] == [(r.name, r.suite) for r in now.rules]
    assert [] == [
        a.name for a, b in zip(was.rules, now.rules, strict=True) if a.passed and not b.passed
    ]
    assert now.promote or not was.promote


@given(suites_drawn, st.data())
@settings(deadline=None, max_examples=50)
def test_a_lower_loss_on_one_item_never_breaks_a_rule(rows, data):
    """
    Holds where all signs are looked at (14 items or fewer together); beyond, up to the
    randomness of the signs.
    """
    rows = [r[:4] for r in rows[:3]]
    s = data.draw(st.integers(0, 2))
    i = data.draw(st.integers(0, len(rows[s]) - 1))
    lower = [list(r) for r in rows]
    before, now, old, new = lower[s][i]
    lower[s][i] = (before, now, old, data.draw(st.integers(0, new)))
    names = ("new", "old", "benchmark")
    was, then = (
        judge(
            evidence(*(drawn(n, r) for n, r in zip(names, found, strict=True))),
            GateConfig(min_loss_gain=0.05),
        )
        for found in (rows, lower)
    )

    assert [] == [
        a.name for a, b in zip(was.rules, then.rules, strict=True) if a.passed and not b.passed
    ]


# -- missing evidence ---------------------------------------------------------


@pytest.mark.parametrize("config", [DEFAULT, NO_HARM], ids=["proven", "no-harm"])
@pytest.mark.parametrize(
    "changes",
    [
        {"problem": "cut by its deadline"},
        {"n_items": 41},
        {"n_items": 39},
        {"n_items": -1},
        {"n_items": 0, "pairs": ()},
        {"origin": "other"},
        {"pairs": BETTER.pairs[:-1] + BETTER.pairs[:1]},
        *(
            {"pairs": (*BETTER.pairs[:-1], replace(BETTER.pairs[-1], **{key: value}))}
            for key in ("candidate_loss", "incumbent_loss")
            for value in (float("nan"), float("inf"), float("-inf"), 1e300)
        ),
        {"pairs": (*BETTER.pairs[:-1], replace(BETTER.pairs[-1], n_tokens=-390))},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_suite_that_is_not_whole_never_promotes(changes, config):
    """
    New or old; and if it is not required, what is left of it counts for nothing. A loss of the
    candidate that is no number rejects it, wherever it is: such a model has diverged.
    """
    broken = replace(BETTER, **changes)
    diverged = any(not abs(p.candidate_loss) < 1e12 for p in broken.pairs)
    whole = judge(evidence(broken, CANARIES), config)
    assert diverged is (whole.outcome is VersionVerdict.REJECTED)
    assert {"required_suites"} <= failed(whole)
    assert not judge(evidence(replace(broken, required=False)), config).promote

    old = replace(broken, name="old", origin=changes.get("origin", "old"))
    assert not judge(evidence(BETTER, old), config).promote
    assert diverged is not judge(evidence(BETTER, replace(old, required=False)), config).promote


def test_a_required_suite_that_is_missing_fails():
    """
    By name, before anything else is looked at.
    """
    verdict = judge(replace(GOOD, missing=("canaries",)), DEFAULT)

    assert "required_suites: canaries: there is no evidence" == verdict.reason


@pytest.mark.parametrize(
    "nothing",
    [
        evidence(),
        evidence(answers("old", kept=50)),
        evidence(suite("new", [pair(i, None, None, n_tokens=0) for i in range(9)])),
    ],
    ids=["no suite", "no new suite", "nothing asked"],
)
def test_without_new_rows_nothing_is_promoted(nothing):
    """
    Also where equal is enough: nothing was compared.
    """
    assert "new_evidence" in failed(judge(nothing, NO_HARM))


def test_a_verdict_without_rules_is_no_promotion():
    """
    Nothing looked at is nothing passed, and nothing failed.
    """
    assert not Verdict(()).promote
    assert VersionVerdict.HELD is Verdict(()).outcome


kinds = st.lists(st.tuples(st.sampled_from(RuleKind), st.booleans()), max_size=8)


@given(kinds)
def test_harm_rejects_and_what_was_not_shown_holds(rules):
    """
    Rejected whenever a rule of harm fails, promoted only if none of harm or gain does.
    """
    verdict = Verdict(tuple(Rule("any", passed, "", kind) for kind, passed in rules))
    fallen = {kind for kind, passed in rules if not passed}

    assert (RuleKind.HARM in fallen) is (verdict.outcome is VersionVerdict.REJECTED)
    expected = bool(rules) and not fallen & {RuleKind.HARM, RuleKind.GAIN}
    assert expected is verdict.promote is (verdict.outcome is VersionVerdict.PROMOTED)
    assert fallen - {RuleKind.ADVICE} == {rule.kind for rule in verdict.failed}


@pytest.mark.parametrize("n", range(1, 10))
def test_fewer_than_seven_rows_cannot_show_a_gain(n):
    """
    Even all of them better; the reason says how many more would.
    """
    verdict = judge(evidence(answers("new", gained=n, loss=(9.0, 1.0))), DEFAULT)

    assert (n >= 7) is verdict.promote
    assert (n < 7) is ("fewer than 7 held-out rows" in verdict.reason)
    # The next look needs 8 that are all better.
    assert (n < 7) is (f"about {8 - n} more held-out rows would show" in verdict.reason)
    assert judge(evidence(answers("new", gained=n, loss=(9.0, 1.0))), NO_HARM).promote


# -- looks ---------------------------------------------------------


@pytest.mark.parametrize(("look", "least"), [(1, 7), (2, 8), (3, 9), (10, 13), (1000, 26)])
def test_each_look_asks_for_more(look, least):
    """
    alpha / (k (k + 1)), halved for two chances: the least rows, all better, that show it.
    """
    enough = judge(evidence(answers("new", gained=least, loss=(9.0, 1.0))), DEFAULT, look=look)
    short = judge(evidence(answers("new", gained=least - 1, loss=(9.0, 1.0))), DEFAULT, look=look)

    assert enough.promote
    assert VersionVerdict.HELD is short.outcome
    assert f"fewer than {least} held-out rows" in short.reason
    assert f"(look {look}, " in short.reason


def test_harm_is_looked_for_at_every_look_alike():
    """
    A candidate that is shown to be worse is not kept because many were tried before it.
    """
    worse = evidence(answers("new", kept=30, lost=8))

    assert VersionVerdict.REJECTED is judge(worse, DEFAULT, look=1000).outcome


def test_an_undecided_verdict_says_how_many_more_rows_would_show_the_gain():
    """
    So many more of the same kind are then enough, in nearly every case of four in five.
    """
    new = [*([(False, True)] * 6), *([(True, False)] * 2), *([(True, True)] * 32)]
    pairs = [pair(i, before, now, n_tokens=0) for i, (before, now) in enumerate(new)]
    verdict = judge(evidence(suite("new", pairs)), DEFAULT)
    (rule,) = rules(verdict, "gain")

    assert VersionVerdict.HELD is verdict.outcome
    more = round(rule.numbers["rows_needed"])
    assert f"about {more} more held-out rows would show the gain that was seen" in verdict.reason
    times = 1 + more / 40
    grown = answers("new", gained=round(6 * times), lost=round(2 * times), kept=round(32 * times))
    assert judge(evidence(grown), DEFAULT, look=2).promote


def test_a_candidate_that_is_nowhere_better_is_told_so():
    """
    No number of rows shows a gain that is not there.
    """
    verdict = judge(evidence(SAME), DEFAULT)

    assert verdict.reason.endswith("(look 1, p at most 0.013): nothing is better than before")
    assert "rows_needed" not in rules(verdict, "gain")[0].numbers


# -- clusters ---------------------------------------------------------


def families(n, each, better):
    """n families of *each* items; in the first *better* of them the candidate gains them all."""
    pairs = [
        replace(pair(i, False, i // each < better, n_tokens=0), cluster=str(i // each))
        for i in range(n * each)
    ]
    return suite("new", pairs)


def test_items_of_one_template_count_as_one():
    """
    Twenty better items of one family of twenty show what one item shows.
    """
    alone = [replace(p, cluster=f"new/{i}") for i, p in enumerate(families(30, 20, 1).pairs)]

    assert judge(evidence(suite("new", alone)), DEFAULT).promote
    verdict = judge(evidence(families(30, 20, 1)), DEFAULT)
    assert VersionVerdict.HELD is verdict.outcome
    assert "more kinds would show the gain" in verdict.reason
    assert judge(evidence(families(30, 20, 12)), DEFAULT).promote


def test_few_families_that_all_gain_show_it():
    """
    Five signs show little; five sums that hardly differ show much.
    """
    assert judge(evidence(families(5, 20, 5)), DEFAULT, look=30).promote
    assert not judge(evidence(families(5, 20, 3)), DEFAULT).promote


@given(suites_drawn, st.randoms(use_true_random=False), st.integers(2, 6))
@settings(deadline=None, max_examples=30)
def test_neither_names_of_clusters_nor_the_order_of_items_matter(rows, shuffle, n):
    """
    The same partition gives the same verdict and figures.
    """
    names = ("new", "old", "benchmark", "canary")
    found, other = [], []
    for name, r in zip(names, rows, strict=True):
        pairs = [replace(p, cluster=f"{name}/{i % n}") for i, p in enumerate(drawn(name, r).pairs)]
        found.append(replace(drawn(name, r), pairs=tuple(pairs)))
        renamed = [replace(p, cluster=f"other {p.cluster}") for p in pairs]
        shuffle.shuffle(renamed)
        other.append(replace(drawn(name, r), pairs=tuple(renamed)))
    was, now = judge(evidence(*found), DEFAULT), judge(evidence(*other), DEFAULT)

    assert was.outcome is now.outcome
    for a, b in zip(was.rules, now.rules, strict=True):
        assert (a.name, a.suite, a.passed) == (b.name, b.suite, b.passed)
        assert a.numbers == pytest.approx(b.numbers)


# -- the head ---------------------------------------------------------


def test_a_candidate_worse_than_the_head_is_rejected_though_better_than_the_release():
    """
    A bad file must not hide behind what ten good ones gained since the release.
    """
    worse = answers("new", kept=20, lost=20)
    verdict = judge(replace(GOOD, head=(worse,)), DEFAULT)

    assert judge(GOOD, DEFAULT).promote
    assert VersionVerdict.REJECTED is verdict.outcome
    assert {"new_accuracy"} == failed(verdict)
    assert ["head"] == [rule.against for rule in verdict.failed]
    assert "(against the head)" in verdict.reason


def test_no_gain_over_the_head_is_asked_for():
    """
    The head has learnt most of it already; the release has not.
    """
    same = (SAME, answers("old", kept=90, failed=10), CANARIES)

    assert judge(replace(GOOD, head=same), DEFAULT).promote


def test_a_head_that_was_not_asked_everything_is_missing_evidence():
    """
    Held, not promoted: harm may hide in what was not asked.
    """
    verdict = judge(replace(GOOD, head=(replace(BETTER, problem="cut"),)), NO_HARM)

    assert VersionVerdict.HELD is verdict.outcome
    assert "new.jsonl: cut (against the head)" in verdict.reason


def test_what_was_asked_whole_rejects_though_something_is_missing():
    """
    A suite that was cut may hide nothing that another one shows.
    """
    cut = answers("benchmark", kept=9, problem="cut by its deadline")
    worse = answers("new", kept=25, lost=15)

    assert VersionVerdict.REJECTED is judge(evidence(worse, cut), DEFAULT).outcome
    assert VersionVerdict.HELD is judge(evidence(BETTER, cut), DEFAULT).outcome


@given(suites_drawn, suites_drawn, st.integers(1, 40), st.data())
@settings(deadline=None, max_examples=60)
def test_harm_always_rejects_and_gaps_never_promote(rows, head, look, data):
    """
    Whatever else is in the evidence, and whatever gate.release says but "every".
    """
    names = ("new", "old", "benchmark", "canary")
    gap = data.draw(st.sampled_from([None, *names]))
    config = data.draw(st.sampled_from([DEFAULT, NO_HARM]))
    sides = [
        tuple(
            replace(drawn(n, r), problem="cut" if n == gap else None)
            for n, r in zip(names, found, strict=True)
        )
        for found in (rows, head)
    ]
    verdict = judge(Evidence(suites=sides[0], head=sides[1]), config, look=look)

    harm = [r for r in verdict.rules if r.kind is RuleKind.HARM and not r.passed]
    assert bool(harm) is (verdict.outcome is VersionVerdict.REJECTED)
    assert not (verdict.promote and gap)
    lost = any(p.incumbent_correct and not p.candidate_correct for p in sides[0][3].pairs)
    assert not (verdict.promote and lost)


# -- what is released ---------------------------------------------------------


def test_every_candidate_that_is_not_damaged_may_be_released():
    """
    Harm is then advice; a loss that is no number, and a report of nothing, are not.
    """
    worse = evidence(answers("new", kept=25, lost=15), answers("canary", lost=3))
    diverged = replace(BETTER, pairs=(pair(0, True, True, loss=(5.0, float("nan"))),), n_items=1)

    assert judge(worse, EVERY).promote
    assert VersionVerdict.REJECTED is judge(evidence(diverged), EVERY).outcome
    assert VersionVerdict.HELD is judge(evidence(), EVERY).outcome


# -- least gains ---------------------------------------------------------


@pytest.mark.parametrize(("gained", "passes"), [(9, False), (10, True), (11, True)])
def test_the_least_gain_in_answers(gained, passes):
    """
    0.02 of 500 items is 10 of them, beside being shown.
    """
    new = answers("new", kept=450, gained=gained, failed=50 - gained)
    verdict = judge(evidence(new), GateConfig(min_gain=0.02))

    assert passes is verdict.promote
    assert ([] if passes else ["minimum_gain"]) == [r.name for r in verdict.failed]


def test_a_least_gain_of_zero_asks_for_none():
    """
    A gain in loss alone is then enough.
    """
    assert [] == rules(judge(GOOD, DEFAULT), "minimum_gain")


@pytest.mark.parametrize("config", ["proven", "no-harm"])
def test_the_least_gain_in_loss_is_asked_of_every_candidate(config):
    """
    Also of one that shows its gain by answers, of one whose loss is not known, and of equals.
    """
    least = GateConfig(min_loss_gain=0.5, release=config)
    not_scored = suite("new", [pair(i, False, True, n_tokens=0) for i in range(20)])

    for new in (BETTER, answers("new", kept=20, gained=20), not_scored, SAME):
        verdict = judge(evidence(new), least)
        assert {"gain"} == failed(verdict)
        assert "gate.min_loss_gain asks for 0.5" in verdict.reason
    assert judge(evidence(answers("new", kept=40, loss=(9.0, 3.0))), least).promote


# -- what was learnt before ---------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "holds"),
    [
        (answers("old", kept=74, lost=6, gained=3, failed=17), True),
        (answers("old", kept=270, lost=30), False),
        (answers("old", kept=1970, lost=30), True),
        (answers("old", kept=1930, lost=70), False),
        (answers("old", kept=5, lost=3), True),
        (answers("benchmark", kept=270, lost=30), False),
    ],
    ids=[
        "3 points within noise",
        "10 points shown",
        "1.5 points shown",
        "3.5 points shown",
        "37 points of 8 rows, not shown",
        "a benchmark",
    ],
)
def test_an_older_suite_may_lose_noise_and_the_margin(old, holds):
    """
    What rejects is a loss that is more than noise and more than two points.
    """
    verdict = judge(evidence(BETTER, old), DEFAULT)

    assert (set() if holds else {"old_accuracy"}) == failed(verdict)
    assert holds is not verdict.forgot


def test_the_margin_is_the_configured_one():
    """
    10 points of 300 rows are shown; 0.1 allows them.
    """
    old = answers("old", kept=270, lost=30)

    assert judge(evidence(BETTER, old), GateConfig(max_old_accuracy_drop=0.1)).promote


@pytest.mark.parametrize(("rise", "holds"), [(0.5, True), (1.5, False)])
def test_the_loss_of_an_older_suite_may_rise_by_the_margin(rise, holds):
    """
    0.1 nats per token is 1 nat of an answer of 10 tokens.
    """
    old = answers("old", kept=50, loss=(5.0, 5.0 + rise))

    assert (set() if holds else {"old_loss"}) == failed(judge(evidence(BETTER, old), DEFAULT))


def test_a_rise_of_loss_within_noise_passes():
    """
    One wild answer is not forgetting.
    """
    losses = [80.0] + [5.1 - i % 3 / 10 for i in range(29)]
    pairs = [pair(i, True, True, loss=(5.0, now)) for i, now in enumerate(losses)]

    assert judge(evidence(BETTER, suite("old", pairs)), DEFAULT).promote


def test_losses_too_small_to_show_alone_show_together():
    """
    3 of 20 lost in each of eight suites: none is shown, 24 of 160 are.
    """
    olds = [answers(f"old{i}", kept=17, lost=3) for i in range(8)]
    verdict = judge(evidence(BETTER, *olds), DEFAULT)

    assert {"old_together"} == failed(verdict)
    assert verdict.forgot
    assert [] == rules(judge(evidence(BETTER, olds[0]), DEFAULT), "old_together")


def test_fifty_older_suites_rarely_fail_by_chance():
    """
    At equal quality some suite of fifty always looks worse; the level knows how many there are.
    """
    rng, trials, fallen, alone = random.Random(3), 40, 0, 0
    for _ in range(trials):
        olds = [
            suite(
                f"old{k}",
                [pair(i, rng.random() < 0.5, rng.random() < 0.5, n_tokens=0) for i in range(20)],
            )
            for k in range(50)
        ]
        verdict = judge(evidence(BETTER, *olds), DEFAULT)
        fallen += "old_accuracy" in failed(verdict)
        alone += any(r.numbers["p_value"] <= 0.05 for r in rules(verdict, "old_accuracy"))

    assert alone > 20
    # 8 of 40 would be seen less than once in a thousand at 5%.
    assert fallen < 8


# -- canaries, stopping ---------------------------------------------------------


def test_one_lost_canary_is_not_promoted():
    """
    However many others are gained, and by name; training goes on from it all the same.
    """
    canaries = answers("canary", kept=19, lost=1, gained=10)
    verdict = judge(evidence(BETTER, canaries), DEFAULT)

    assert {"canaries"} == failed(verdict)
    assert "failed: 19" in verdict.reason
    assert VersionVerdict.HELD is verdict.outcome
    assert verdict.lost_canary
    assert verdict.only_canaries_lost
    assert not judge(evidence(SAME, canaries), DEFAULT).only_canaries_lost


def test_canaries_that_are_shown_worse_reject():
    """
    Five of twenty that only the release got right are more than chance.
    """
    lost = judge(evidence(BETTER, answers("canary", kept=15, lost=5)), DEFAULT)
    some = judge(evidence(BETTER, answers("canary", kept=15, lost=4, gained=1)), DEFAULT)

    assert VersionVerdict.REJECTED is lost.outcome
    assert lost.forgot
    assert VersionVerdict.HELD is some.outcome


def test_a_canary_of_the_head_alone_is_not_kept():
    """
    A head is not proven: what it passes by luck would stop a stream again and again.
    """
    kept, lost = answers("canary", kept=2), answers("canary", kept=2, lost=1)
    found = judge(replace(evidence(BETTER, kept), head=(BETTER, lost)), DEFAULT)

    assert found.promote
    assert ["2 of 2 that the release passed"] == [r.detail for r in rules(found, "canaries")]


def test_canaries_of_which_none_passed_are_called_no_evidence():
    """
    None can be lost, so nothing is rejected for it; "0 of 0" would read like a success.
    """
    verdict = judge(evidence(BETTER, answers("canary", failed=20)), DEFAULT)

    assert verdict.promote
    assert rules(verdict, "canaries")[0].detail.startswith("no evidence: ")


def test_canaries_that_the_release_failed_may_fail():
    """
    They are regressions, not a share.
    """
    assert judge(evidence(BETTER, answers("canary", kept=1, failed=19)), DEFAULT).promote


@pytest.mark.parametrize(
    ("runaway", "of", "holds"),
    [
        (0, 40, True),
        (4, 20, True),
        (5, 40, False),
        (20, 40, False),
        (11, 236, True),
        (24, 236, False),
    ],
)
def test_answers_that_no_longer_end_reject(runaway, of, holds):
    """
    Shown at 95%, as by five of five that changed, and more than one answer in ten.
    """
    pairs = [pair(i, True, True, loss=(5.0, 2.0), stopped=(True, i >= runaway)) for i in range(of)]

    assert (set() if holds else {"stop_rate"}) == failed(
        judge(evidence(suite("new", pairs)), DEFAULT)
    )


def test_answers_that_were_wrong_may_run_on():
    """
    A base that ends every answer at once is right with none of them.
    """
    pairs = [pair(i, False, False, loss=(5.0, 2.0), stopped=(True, False)) for i in range(40)]

    assert judge(evidence(suite("new", pairs)), DEFAULT).promote


# -- ship and quality gates ---------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "of", "passes", "says"),
    [
        (59, 59, True, "surely at least 95.0%"),
        (58, 58, True, "by its rate, since fewer than 59 items"),
        (20, 20, True, "by its rate"),
        (19, 20, True, "by its rate"),
        (18, 20, False, "by its rate"),
        (95, 100, False, "surely at least 89.8%"),
        (98, 100, False, "surely at least 93.8%"),
        (195, 200, False, "surely at least 94.8%"),
        (197, 200, True, "surely at least"),
    ],
)
def test_a_ship_gate_goes_by_the_bound_where_that_can_be_shown(right, of, passes, says):
    """
    59 items are the least that show 95% at 95%; with fewer the rate is taken, and it is said.
    """
    ship = answers("ship", kept=right, failed=of - right, origin="benchmark")
    verdict = judge(evidence(BETTER, ship), GateConfig(ship_gates="ship >= 0.95"))
    (rule,) = rules(verdict, "ship")

    assert passes is verdict.promote is rule.passed
    assert says in rule.detail


def test_the_least_number_of_items_follows_the_confidence():
    """
    80 items can show 95% at 95%, and not at 99%, where 90 are needed.
    """
    ship = answers("ship", kept=80, origin="benchmark")
    config = GateConfig(ship_gates="ship >= 0.95", confidence=0.99)
    (rule,) = rules(judge(evidence(BETTER, ship), config), "ship")

    assert rule.passed
    assert "fewer than 90 items" in rule.detail


@pytest.mark.parametrize("gate", ["gone >= 0.5", "canary >= 0.5"])
def test_a_gate_on_what_was_not_asked_fails(gate):
    """
    A suite that is not there, or one that is only scored.
    """
    scored = suite("canary", [pair(i, None, None) for i in range(9)])
    verdict = judge(evidence(BETTER, scored), GateConfig(ship_gates=gate))

    assert {"ship"} == failed(verdict)
    assert "no answer was asked, so nothing shows 50%" in verdict.reason


def test_overall_is_all_suites_together():
    """
    Canaries and new rows included.
    """
    (rule,) = rules(judge(GOOD, GateConfig(ship_gates="overall >= 0.5")), "ship")

    assert {"right": 150, "items": 160}.items() <= rule.numbers.items()


def test_thresholds_are_said_as_they_were_given():
    """
    97.5% is not 98%.
    """
    (rule,) = rules(judge(GOOD, GateConfig(ship_gates="old >= 0.975")), "ship")

    assert "97.5%" in rule.detail


@given(items, items, st.floats(0.01, 0.99))
@settings(deadline=None, max_examples=50)
def test_quality_gates_never_change_a_verdict(new, old, threshold):
    """
    They are written down, and that is all.
    """
    found = evidence(drawn("new", new), drawn("old", old))
    advice = GateConfig(quality_gates=f"old >= {threshold}, gone >= {threshold}")
    was, now = judge(found, DEFAULT), judge(found, advice)

    assert was.promote is now.promote
    assert was.reason == now.reason
    assert 2 == len(rules(now, "quality"))
    assert not any(rule.required for rule in rules(now, "quality"))


# -- merged models ---------------------------------------------------------


MERGE = Merge(difference=1e-4, tolerance=1e-3, n_positions=64)


def merged(merge, *suites):
    return Evidence(suites=suites or (answers("old", kept=50),), consolidation=True, merge=merge)


def test_a_merged_model_needs_the_merge_and_no_gain():
    """
    The same answers from weights that are the same to within the tolerance.
    """
    verdict = judge(merged(MERGE), DEFAULT)

    assert verdict.promote
    assert verdict.reason.startswith("merge: logits differ by 0.0001")
    assert [] == rules(verdict, "gain")


@pytest.mark.parametrize(
    "merge",
    [
        None,
        replace(MERGE, n_positions=0),
        replace(MERGE, n_positions=-1),
        replace(MERGE, difference=2e-3),
        replace(MERGE, difference=-1.0),
        replace(MERGE, difference=float("nan")),
        replace(MERGE, difference=float("inf"), tolerance=float("inf")),
        replace(MERGE, tolerance=float("nan")),
    ],
    ids=str,
)
def test_a_merge_that_was_not_compared_is_not_promoted(merge):
    """
    Or that differs, or whose figures are none.
    """
    assert "merge" in failed(judge(merged(merge), NO_HARM))


@pytest.mark.parametrize("origin", ["old", "benchmark", "new"])
def test_a_merged_model_may_not_be_worse_anywhere(origin):
    """
    Whatever the suites are called that it is asked.
    """
    assert "old_accuracy" in failed(
        judge(merged(MERGE, answers(origin, kept=30, lost=30)), DEFAULT)
    )
    assert "canaries" in failed(judge(merged(MERGE, answers("canary", kept=9, lost=1)), DEFAULT))


def test_a_merged_model_that_was_asked_nothing_is_not_promoted():
    """
    Equal weights are half of the evidence.
    """
    verdict = judge(Evidence(suites=(), consolidation=True, merge=MERGE), DEFAULT)

    assert "asked: no suite was asked whole of both models" == verdict.reason
    assert VersionVerdict.REJECTED is verdict.outcome


# -- what is said ---------------------------------------------------------


def test_the_reason_is_the_first_failed_rule_and_how_many_more():
    """
    A person reads why, with the numbers; harm first, since that is what rejects.
    """
    verdict = judge(
        evidence(SAME, answers("old", kept=50, lost=50), answers("canary", lost=1)), DEFAULT
    )

    assert ["old_accuracy", "gain", "canaries"] == [r.name for r in verdict.failed]
    assert verdict.reason.startswith("old_accuracy: old.jsonl: right 100 -> 50 of 100")
    assert verdict.reason.endswith("(and 2 more rules)")


@given(suites_drawn)
@settings(deadline=None, max_examples=50)
def test_what_was_forgotten_is_told_from_what_was_not_learnt(rows):
    """
    forgot only if every failed rule of harm is one of forgetting, and there is one.
    """
    names = ("new", "old", "benchmark", "canary")
    found = [drawn(n, r) for n, r in zip(names, rows, strict=True)]
    verdict = judge(evidence(*found), DEFAULT)

    harm = {rule.name for rule in verdict.failed if rule.kind is RuleKind.HARM}
    assert verdict.forgot is (bool(harm) and harm <= set(FORGETTING))
    assert verdict.promote is (not verdict.failed)
    if verdict.failed:
        assert verdict.reason.startswith(f"{verdict.failed[0].name}: ")


def test_the_same_evidence_gives_the_same_verdict():
    """
    Random signs come from a fixed seed.
    """
    rng = random.Random(1)
    pairs = [pair(i, True, True, loss=(rng.random(), rng.random())) for i in range(60)]

    assert judge(evidence(suite("new", pairs)), DEFAULT) == judge(
        evidence(suite("new", pairs)), DEFAULT
    )


@given(st.lists(st.integers(-3, 9), min_size=1, max_size=60))
@settings(deadline=None, max_examples=50)
def test_the_simulation_leaves_out_only_what_decides_nothing(gains):
    """
    experiments/simulate_gate.py computes p-values exactly unless no rule could find them small.
    """
    exact = statistics.sign_flip(gains)
    with simulate_gate.quick():
        found = statistics.sign_flip(gains)

    assert found == exact or min(found, exact) > 0.09 or max(found, exact) < 2e-8
