"""
Laws of what may be thrown away, over random lineages.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.retention import (
    Trashed,
    built_on,
    over_budget,
    plan_emptying,
    plan_prune,
    version_name,
    version_number,
)


@st.composite
def lineages(draw):
    """
    Versions whose parents and bases are older, missing, or none; some numbers are gaps.
    """
    numbers = sorted(draw(st.sets(st.integers(1, 12_000), max_size=12)))
    names = [version_name(n) for n in numbers]
    versions, bases = {}, {}
    for i, name in enumerate(names):
        below = [None, "v9999", *names[:i]]
        versions[name] = draw(st.sampled_from(below))
        bases[name] = draw(st.sampled_from(below))
    choice = st.sampled_from([None, *names])
    return versions, {
        "bases": bases,
        "in_use": draw(st.dictionaries(choice, st.just("in use"), max_size=2)),
        "pinned": draw(st.sets(st.sampled_from(names))) if names else set(),
        "keep_last": draw(st.integers(0, 5)),
        "last_backup": draw(choice),
    }


def ancestors(name, versions):
    found = []
    while (name := versions.get(name)) in versions:
        found.append(name)
    return found


@given(lineages())
def test_every_version_is_either_kept_or_removed(case):
    """
    A plan speaks of each version exactly once, and of no other.
    """
    versions, facts = case
    plan = plan_prune(versions, **facts)

    assert sorted(versions) == sorted([*plan.keep, *plan.remove])


@given(lineages())
def test_what_may_be_needed_is_never_removed(case):
    """
    Release and head, all they were trained on top of, pins, and the last verified backup.
    """
    versions, facts = case
    plan = plan_prune(versions, **facts)
    needed = {*facts["in_use"], facts["last_backup"], *facts["pinned"]} & versions.keys()

    assert needed <= plan.keep.keys()


@given(lineages())
def test_whatever_is_kept_keeps_its_ancestors(case):
    """
    A kept version can be rolled back as far as its parents reach.
    """
    versions, facts = case
    plan = plan_prune(versions, **facts)

    for name in plan.keep:
        assert set(ancestors(name, versions)) <= plan.keep.keys()


@given(lineages())
def test_whatever_is_kept_keeps_what_it_sits_on(case):
    """
    An adapter without the full model it was trained against cannot be loaded at all.
    """
    versions, facts = case
    plan = plan_prune(versions, **facts)

    for name in plan.keep:
        assert facts["bases"][name] not in plan.remove


@given(lineages())
def test_a_child_goes_before_its_parent(case):
    """
    A crash half-way through a prune leaves no version without its parent.
    """
    versions, facts = case
    remove = plan_prune(versions, **facts).remove

    for i, name in enumerate(remove):
        assert versions[name] not in remove[:i]
        assert facts["bases"][name] not in remove[:i]


@given(lineages())
def test_no_kept_version_is_older_than_it_must_be(case):
    """
    Of the unprotected, the newest keep_last stay: none that goes is newer than one of them.
    """
    versions, facts = case
    plan = plan_prune(versions, **facts)
    lasts = [n for n, why in plan.keep.items() if why.startswith("one of the last")]

    assert len(lasts) <= facts["keep_last"]
    if lasts and plan.remove:
        assert max(map(version_number, plan.remove)) < min(map(version_number, lasts))
    if plan.remove:
        assert len(lasts) == facts["keep_last"]


@given(lineages())
def test_pruning_twice_changes_nothing(case):
    """
    What is left after a prune is all kept by the same rules.
    """
    versions, facts = case
    kept = plan_prune(versions, **facts).keep
    again = plan_prune({n: versions[n] for n in kept}, **facts)

    assert [] == again.remove


def test_the_reason_names_the_strongest_rule():
    """
    A person reads why something was kept: the first rule that applies.
    """
    versions = {
        "v0001": None,
        "v0002": "v0001",
        "v0003": "v0002",
        "v0004": "v0002",
        "v0005": "v0004",
        "v0006": "v0003",
        "v0007": "v0003",
    }
    plan = plan_prune(
        versions,
        bases={},
        in_use={"v0003": "in use"},
        pinned={"v0004"},
        keep_last=1,
        last_backup="v0002",
    )

    assert {
        "v0001": "needed by v0003: in use",
        "v0002": "needed by v0003: in use",
        "v0003": "in use",
        "v0004": "pinned",
        "v0007": "one of the last 1",
    } == plan.keep
    assert ["v0006", "v0005"] == plan.remove


def test_a_circle_of_parents_does_not_hang():
    """
    Manifests are files; a broken one must not stop the daemon.
    """
    plan = plan_prune(
        {"v0001": "v0002", "v0002": "v0001"},
        bases={"v0001": "v0001"},
        in_use={"v0001": "in use"},
        pinned=set(),
        keep_last=0,
        last_backup=None,
    )

    assert [] == plan.remove


def test_a_consolidated_version_stays_while_adapters_sit_on_it():
    """
    Though no parent leads there: one of its adapters was rolled back past it.
    """
    plan = plan_prune(
        {"v0001": None, "v0002": "v0001", "v0003": "v0001"},
        bases={"v0003": "v0002"},
        in_use={"v0003": "in use"},
        pinned=set(),
        keep_last=0,
        last_backup=None,
    )

    assert [] == plan.remove
    assert "needed by v0003: in use" == plan.keep["v0002"]
    assert ["v0001", "v0002"] == sorted(
        built_on("v0003", {**dict.fromkeys(plan.keep)}, {"v0003": "v0002", "v0002": "v0001"})
    )


def test_old_heads_go_and_the_newest_stay():
    """
    Although nothing else protects them, however many other versions are kept; what the release
    is on the way back from, what is pinned and what something sits on stay.
    """
    versions = {
        "v0001": None,
        **{f"v{n:04d}": "v0001" for n in range(2, 9)},
        "v0009": "v0008",  # promoted by hand over a held one
    }
    plan = plan_prune(
        versions,
        bases={"v0007": "v0003"},
        in_use={"v0007": "the head of training", "v0009": "in use"},
        pinned={"v0002"},
        held={f"v{n:04d}" for n in range(2, 9)},
        keep_last=99,
        keep_heads=2,
        last_backup=None,
    )

    assert ["v0006", "v0005", "v0004"] == plan.remove
    assert "needed by v0009: in use" == plan.keep["v0008"]


def test_the_oldest_go_until_the_rest_fits():
    """
    A budget of nothing keeps nothing; one that is not reached keeps all.
    """
    sizes = {"a": 5, "b": 3, "c": 2}

    assert [[], ["a"], ["a", "b"], ["a", "b", "c"]] == [
        over_budget(sizes, budget) for budget in (10, 5, 2, 0)
    ]


@st.composite
def trashes(draw):
    """
    Folders of a trash, some twice, some strange, and what is known outside of it.
    """
    numbers = draw(st.lists(st.integers(1, 6), max_size=8))
    names = [version_name(n) for n in range(1, 7)]
    some = st.sampled_from([None, *names])
    trash = {
        f"{version_name(n)}-t{i}": Trashed(
            version_name(n),
            known=draw(st.booleans()),
            verdict=draw(st.sampled_from(["rejected", "promoted", "held", None])),
            way_back=draw(some),
            base_version=draw(some),
        )
        for i, n in enumerate(numbers)
    }
    if draw(st.booleans()):
        trash["notes"] = Trashed(None, known=False)
    chosen = st.sets(st.sampled_from(names))
    confirmed = st.sets(st.sampled_from(sorted(trash))) if trash else st.just(set())
    return trash, {
        "copies": dict.fromkeys(draw(chosen), "backups/it"),
        "protected": dict.fromkeys(draw(chosen), "in use"),
        "confirmed": draw(confirmed),
        "learnt_by": dict.fromkeys(draw(chosen), "v0009"),
    }


@given(trashes())
def test_every_folder_of_the_trash_stays_or_goes(case):
    """
    A plan speaks of each folder exactly once, and of no other.
    """
    trash, facts = case
    plan = plan_emptying(trash, **facts)

    assert sorted(trash) == sorted([*plan.delete, *plan.stay])


@given(trashes())
def test_an_only_copy_is_never_deleted_unasked(case):
    """
    What goes by itself has an intact copy elsewhere, was rejected, surely and by the gate, or was
    held and is below an intact head that has learnt all that it learnt.
    """
    trash, facts = case
    for folder in plan_emptying(trash, **facts).delete:
        found = trash[folder]
        held = found.verdict == "held" and found.version in facts["learnt_by"]
        dispensable = found.known and (found.verdict == "rejected" or held)
        assert (
            folder in facts["confirmed"]
            or found.version in facts["copies"]
            or (dispensable and found.version not in facts["protected"])
        )


@given(trashes())
def test_what_stays_in_the_trash_keeps_what_it_was_built_on(case):
    """
    Taken out again it must load: a rejected parent of it stays, where that is older.
    """
    trash, facts = case
    plan = plan_emptying(trash, **facts)
    for folder in plan.stay:
        for below in {trash[folder].way_back, trash[folder].base_version} - {None}:
            for gone in plan.delete:
                if trash[gone].version == below and below < (trash[folder].version or ""):
                    assert gone in facts["confirmed"] or below in facts["copies"]


@given(trashes())
def test_a_confirmed_name_goes_and_nothing_else_with_it_that_would_have_stayed_alone(case):
    """
    Confirming one only copy never widens to another only copy.
    """
    trash, facts = case
    with_it = plan_emptying(trash, **facts)
    without = plan_emptying(trash, **{**facts, "confirmed": set()})

    assert facts["confirmed"] <= with_it.delete.keys()
    for folder in with_it.delete.keys() - without.delete.keys() - facts["confirmed"]:
        assert trash[folder].verdict in ("rejected", "held")  # nothing that is left needs it now


@given(st.integers(1, 10**7))
def test_numbers_and_names_are_one_to_one(number):
    """
    v0007 is the only way to write 7, and 10000 has five digits.
    """
    assert number == version_number(version_name(number))


@pytest.mark.parametrize(
    "name",
    ["v7", "v00007", "v0007 ", "v0007\n", "V0007", "0007", "v٠٠٠٧", "", "v0007-x", "../v0007"],
)
def test_nothing_else_is_a_version_name(name):
    """
    A name from a command line becomes a path; only the one spelling is taken.
    """
    assert version_number(name) is None
