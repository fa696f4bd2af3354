"""
What a report proves, and that nothing else does.
"""

from __future__ import annotations

import copy
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import simulate_gate
from finetuned.config import GateConfig
from finetuned.core.evidence import Merge, evidence_of, incumbent_key
from finetuned.core.gate.judge import judge

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["suites", "items", "subjects", "name", "incumbent", "candidate", "job_kind", "x"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)
LENIENT = GateConfig(release="no-harm")
EVERY = GateConfig(release="every")
pytestmark = pytest.mark.usefixtures("_no_intervals")


@pytest.fixture(scope="module")
def _no_intervals():
    """The bootstrap intervals take most of the time and decide nothing."""
    with simulate_gate.without_intervals():
        yield


def outcome(right, loss, n_tokens=10):
    return {
        "answer": "x",
        "correct": right,
        "score": float(bool(right)),
        "exact": right,
        "loss": loss,
        "n_tokens": n_tokens,
        "answer_tokens": 9,
        "stopped": True,
        "timed_out": False,
        "detail": {},
    }


def make_report(n=40, *, incumbent="incumbent"):
    """
    A candidate that is clearly better on n new items and as good on n old ones.
    """
    suites = [
        {
            "name": f"heldout-{origin}",
            "origin": origin,
            "title": f"{origin}.jsonl",
            "dataset_id": origin,
            "sha256": "0" * 64,
            "n_items": n,
            "required": True,
            "problem": None,
        }
        for origin in ("new", "old")
    ]
    scores = {s["name"]: {"n_items": n, "complete": True} for s in suites}
    items = [
        {
            "suite": s["name"],
            "id": str(i),
            "scorer": "exact",
            "system": "",
            "prompt": "?",
            "golden": "x",
            "cluster": f"{s['name']}/{i}",
            "outcomes": {
                incumbent: outcome(s["origin"] == "old", 5.0),
                "candidate": outcome(True, 2.0 if s["origin"] == "new" else 5.0),
            },
        }
        for s in suites
        for i in range(n)
    ]
    subject = {"version": None, "same_as": None, "suites": scores}
    return {
        "schema_version": 2,
        "job_kind": "training",
        "suites": suites,
        "subjects": {
            "base": copy.deepcopy(subject),
            "incumbent": {
                **copy.deepcopy(subject),
                "same_as": "base" if incumbent == "base" else None,
            },
            "candidate": copy.deepcopy(subject),
        },
        "items": items,
    }


def promotes(report, **kwargs):
    return judge(evidence_of(report, **kwargs), LENIENT).promote


def test_a_whole_report_is_whole_evidence():
    """
    Every item of every suite, both models' outcomes side by side.
    """
    evidence = evidence_of(make_report(3), required=["heldout-new"])

    assert ["heldout-new", "heldout-old"] == [s.name for s in evidence.suites]
    assert ["new", "old"] == [s.origin for s in evidence.suites]
    assert [None, None] == [s.problem for s in evidence.suites]
    assert () == evidence.missing
    assert not evidence.consolidation
    pair = evidence.suites[0].pairs[0]
    assert ("0", True, False, True, True, 2.0, 5.0, 10) == (
        *(pair.id, pair.candidate_correct, pair.incumbent_correct, pair.candidate_stopped),
        *(pair.incumbent_stopped, pair.candidate_loss, pair.incumbent_loss, pair.n_tokens),
    )
    assert promotes(make_report())


def test_an_incumbent_that_is_the_base_is_read_under_its_name():
    """
    The first candidate of all is compared with the base model.
    """
    report = make_report(incumbent="base")

    assert "base" == incumbent_key(report)
    assert evidence_of(make_report()).suites == evidence_of(report).suites
    assert promotes(report)


def with_head(report, same_as=None):
    """The report with a head that is as good as the candidate."""
    report["subjects"]["head"] = {**copy.deepcopy(report["subjects"]["candidate"])}
    report["subjects"]["head"]["same_as"] = same_as
    for item in report["items"]:
        if same_as is None:
            item["outcomes"]["head"] = copy.deepcopy(item["outcomes"]["candidate"])
    return report


def test_the_head_is_compared_item_by_item_too():
    """
    Its outcomes stand where the release's are; what it was not asked is missing.
    """
    evidence = evidence_of(with_head(make_report(3)))

    assert [s.name for s in evidence.suites] == [s.name for s in evidence.head]
    pair = evidence.head[0].pairs[0]
    assert (2.0, 2.0, True) == (pair.candidate_loss, pair.incumbent_loss, pair.incumbent_correct)
    assert promotes(with_head(make_report()))
    report = with_head(make_report())
    del report["items"][0]["outcomes"]["head"]
    assert not promotes(report)


@pytest.mark.parametrize("same_as", ["incumbent", "base"])
def test_a_head_that_is_the_release_is_compared_once(same_as):
    """
    There is then nothing else to be worse than.
    """
    report = make_report(incumbent="base" if same_as == "base" else "incumbent")

    assert () == evidence_of(with_head(report, same_as)).head


def test_a_head_that_is_another_version_must_be_in_the_report():
    """
    The daemon knows whether there is one, whatever the report says.
    """
    assert promotes(make_report())
    assert not promotes(make_report(), head=True)
    assert promotes(with_head(make_report()), head=True)


def test_nothing_else_may_stand_for_the_incumbent():
    """
    A candidate compared with itself would never be worse.
    """
    report = make_report()
    report["subjects"]["incumbent"]["same_as"] = "candidate"

    assert "incumbent" == incumbent_key(report)


@pytest.mark.parametrize("report", [{}, [], None, 7, "text", {"suites": {}}, {"items": [[]]}])
def test_what_is_no_report_proves_nothing(report):
    """
    Neither promoted nor an exception.
    """
    assert not promotes(report)


@given(json_values)
@settings(max_examples=300, deadline=None)
def test_no_json_is_promoted_for_its_shape(value):
    """
    Whatever a damaged file holds, it is judged and it fails, whatever gate.release says.
    """
    assert not promotes(value)
    assert not judge(evidence_of(value, head=True), EVERY, look=7).promote
    assert not promotes(value, required=["canaries"], merge={"difference": value})


def paths(value, at=()):
    yield at
    if isinstance(value, dict):
        for key in value:
            yield from paths(value[key], (*at, key))
    elif isinstance(value, list):
        for i in range(min(2, len(value))):
            yield from paths(value[i], (*at, i))


SMALL = with_head(make_report(8))


@given(st.sampled_from(list(paths(SMALL))[1:]), json_values | st.just(10**400))
@settings(max_examples=300, deadline=None)
def test_damage_anywhere_in_a_report_never_stops_the_gate(path, value):
    """
    One value of a good report replaced by anything: a verdict comes out.
    """
    report = copy.deepcopy(SMALL)
    place = report
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    judge(evidence_of(report, required=["heldout-new"]), GateConfig(), look=2)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("correct", "yes"),
        ("correct", 1),
        ("correct", None),
        ("stopped", None),
        ("stopped", "true"),
        ("loss", None),
        ("loss", math.nan),
        ("loss", math.inf),
        ("loss", "low"),
        ("loss", "5"),
        ("loss", True),
        ("loss", 10**400),
        ("loss", -1e300),
        ("n_tokens", -10),
        ("n_tokens", 11),
        ("n_tokens", True),
        ("n_tokens", 10**400),
    ],
)
@pytest.mark.parametrize("who", ["incumbent", "candidate"])
def test_an_outcome_that_is_not_of_its_kind_is_missing(who, key, value):
    """
    Of either model: a damaged mark of the incumbent must not help the candidate.
    """
    report = make_report()
    report["items"][0]["outcomes"][who][key] = value

    assert not promotes(report)


@pytest.mark.parametrize("value", [-10, 10**400, 0.5])
def test_numbers_of_tokens_that_both_models_lie_about_are_no_evidence(value):
    """
    Fewer than none would turn a loss into a gain.
    """
    report = make_report()
    for o in report["items"][0]["outcomes"].values():
        o["n_tokens"] = value

    assert not promotes(report)


def _no_cluster(report):
    del report["items"][0]["cluster"]


def _drop_item(report):
    del report["items"][0]


def _drop_outcome(report):
    del report["items"][0]["outcomes"]["candidate"]


def _drop_incumbents(report):
    del report["items"][0]["outcomes"]["incumbent"]


def _repeat_item(report):
    report["items"].append(copy.deepcopy(report["items"][0]))


def _repeat_id(report):
    report["items"][0]["id"] = report["items"][1]["id"]


def _foreign_item(report):
    report["items"][0]["suite"] = "heldout-old"


def _more_items_promised(report):
    report["suites"][0]["n_items"] += 1


def _fewer_items_promised(report):
    report["suites"][0]["n_items"] -= 1


def _no_number_of_items(report):
    report["suites"][0]["n_items"] = None


def _incomplete(report):
    report["subjects"]["candidate"]["suites"]["heldout-new"]["complete"] = False


def _incumbent_incomplete(report):
    report["subjects"]["incumbent"]["suites"]["heldout-new"]["complete"] = False


def _complete_in_words(report):
    report["subjects"]["candidate"]["suites"]["heldout-new"]["complete"] = "yes"


def _no_score(report):
    del report["subjects"]["candidate"]["suites"]["heldout-new"]


def _no_subject(report):
    del report["subjects"]["incumbent"]


def _problem(report):
    report["suites"][0]["problem"] = "line 3: no item"


def _suite_twice(report):
    report["suites"].append(copy.deepcopy(report["suites"][0]))


def _unknown_origin(report):
    report["suites"][1]["origin"] = "other"


def _no_suites(report):
    report["suites"] = []


def _nothing_new(report):
    report["suites"] = report["suites"][1:]


def _nothing_asked(report):
    for item in report["items"]:
        for o in item["outcomes"].values():
            o.update(correct=None, n_tokens=0, loss=0.0)


DAMAGE = [
    *(
        _no_cluster,
        _drop_item,
        _drop_outcome,
        _drop_incumbents,
        _repeat_item,
        _repeat_id,
        _foreign_item,
    ),
    *(_more_items_promised, _fewer_items_promised, _no_number_of_items, _incomplete),
    *(_incumbent_incomplete, _complete_in_words, _no_score, _no_subject, _problem),
    *(_suite_twice, _unknown_origin, _no_suites, _nothing_new, _nothing_asked),
]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__[1:])
@pytest.mark.parametrize("required", [True, None])
def test_evidence_that_is_not_whole_never_promotes(damage, required):
    """
    Missing, cut, doubled or mismatching items: no verdict is built on the rest.
    """
    report = make_report()
    if required is None:
        for suite in report["suites"]:
            del suite["required"]
    damage(report)

    assert not promotes(report)


def _answer_late(report, subject, *items):
    for item in items:
        report["items"][item]["outcomes"][subject] |= {"timed_out": True, "correct": None}
    suite = report["items"][items[0]]["suite"]
    report["subjects"][subject]["suites"][suite]["complete"] = False


@pytest.mark.parametrize("subject", ["candidate", "incumbent"])
@pytest.mark.parametrize("marks", [{}, {"correct": False}, {"correct": True, "n_tokens": 3}])
def test_what_came_too_late_is_missing_whoever_was_late(subject, marks):
    """
    It is in no pair, whatever an older report says of it; the verdict says so and is held.
    """
    report = make_report()
    _answer_late(report, subject, 3, 5)
    report["items"][3]["outcomes"][subject] |= marks
    evidence = evidence_of(report)
    verdict = judge(evidence, GateConfig())

    assert (38, 2) == (len(evidence.suites[0].pairs), evidence.suites[0].n_late)
    assert {"3", "5"}.isdisjoint(pair.id for pair in evidence.suites[0].pairs)
    assert "held" == verdict.outcome
    assert verdict.reason == (
        "required_suites: new.jsonl: 2 of 40 items could not be asked in time "
        f"(2 of the {subject}); they are asked at the next evaluation"
    )


def test_a_model_that_is_late_everywhere_is_neither_worse_nor_better():
    """
    The first run on a slow model: 40 time-outs of the candidate were 40 wrong answers.
    """
    report = make_report()
    _answer_late(report, "candidate", *range(40, 80))
    verdict = judge(evidence_of(report), GateConfig())

    assert "held" == verdict.outcome
    assert [] == [r.name for r in verdict.rules if r.kind == "harm" and not r.passed]


def test_harm_is_seen_in_what_was_asked_in_time():
    """
    A candidate that forgot is rejected, even if some of its answers came too late.
    """
    report = make_report()
    for item in report["items"][40:]:
        item["outcomes"]["candidate"]["correct"] = False
    _answer_late(report, "candidate", *range(40, 50))

    assert "rejected" == judge(evidence_of(report), GateConfig()).outcome


def test_a_report_cannot_excuse_a_suite_that_the_job_requires():
    """
    What a report calls optional is required where the daemon says so.
    """
    report = make_report()
    report["suites"][1] |= {"required": False, "problem": "line 3: no item"}

    assert promotes(report)
    assert not promotes(report, required=["heldout-old"])


def test_a_suite_that_is_neither_required_nor_whole_counts_for_nothing():
    """
    A suite on which the candidate shines does not help where one of its items is missing.
    """
    report = make_report()
    report["suites"][1]["required"] = False
    for item in report["items"][40:]:
        item["outcomes"]["candidate"]["correct"] = False
    assert not promotes(report)

    report["suites"][1]["n_items"] += 1
    assert promotes(report)


def test_suites_that_are_required_and_not_there_are_named():
    """
    By name, in order.
    """
    evidence = evidence_of(make_report(), required=["z", "canaries", "heldout-new"])

    assert ("canaries", "z") == evidence.missing
    assert judge(evidence, LENIENT).reason.startswith("required_suites: canaries")


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        (None, None),
        ({}, None),
        ([], None),
        ({"difference": "x", "tolerance": 1, "n_positions": 1}, None),
        ({"difference": 10**400, "tolerance": 1, "n_positions": 1}, None),
        ({"difference": 0.1, "tolerance": 1, "n_positions": math.inf}, None),
        ({"difference": 0.1, "tolerance": 1, "n_positions": 4, "more": 1}, Merge(0.1, 1.0, 4)),
    ],
)
def test_a_merge_is_compared_or_it_is_not(merge, expected):
    """
    Anything but three numbers is no comparison.
    """
    assert expected == evidence_of({"job_kind": "consolidation"}, merge=merge).merge
    assert evidence_of({"job_kind": "consolidation"}).consolidation
