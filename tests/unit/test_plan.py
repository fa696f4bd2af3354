from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.data.plan import plan_batches
from finetuned.data.prefixes import block_reader, find_prefixes

quick = settings(deadline=None, max_examples=25)


@st.composite
def jobs(draw):
    prefix_lengths = np.array(draw(st.lists(st.integers(16, 90), max_size=5)), dtype=np.int32)
    n = draw(st.integers(1, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    class_of = rng.integers(-1, len(prefix_lengths), n).astype(np.int32)
    own = rng.integers(1, draw(st.sampled_from([2, 30, 300])), n)
    return {
        "lengths": own + np.append(prefix_lengths, 0)[class_of],
        "class_of": class_of,
        "prefix_lengths": prefix_lengths,
        "rows_per_step": draw(st.integers(1, 20)),
        "max_rows": draw(st.integers(1, 20)),
        "epochs": draw(st.integers(1, 3)),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "n_replay": draw(st.integers(0, n - 1)),
    }


budgets = st.integers(1, 2000)


def steps_of(plan):
    return [plan.numbers(k) for k in range(len(plan))]


def tokens_by_the_law(job, batch):
    classes = {int(job["class_of"][n]) for n in batch}
    shared = 0 if classes == {-1} else int(job["prefix_lengths"][min(classes)])
    assert len(classes) == 1
    return shared + len(batch) * (max(int(job["lengths"][n]) for n in batch) - shared)


@given(jobs(), budgets)
@quick
def test_every_new_example_is_trained_once_per_epoch_and_every_replay_row_once(job, max_tokens):
    """
    Nothing is left out and nothing comes twice, whatever fits into memory.
    """
    plan = plan_batches(**job)
    planned = Counter(
        n for k in range(len(plan)) for b in plan.micro_batches(k, max_tokens) for n in b
    )
    n_new = len(job["lengths"]) - job["n_replay"]

    assert {n: job["epochs"] if n < n_new else 1 for n in range(len(job["lengths"]))} == planned


@given(jobs(), budgets)
@quick
def test_no_epoch_begins_before_the_one_before_it_ends(job, max_tokens):
    """
    The steps of an epoch hold each new example exactly once.
    """
    plan = plan_batches(**job)
    n_new = len(job["lengths"]) - job["n_replay"]
    new = [n for step in steps_of(plan) for n in step if n < n_new]

    for epoch in range(job["epochs"]):
        assert list(range(n_new)) == sorted(new[epoch * n_new : (epoch + 1) * n_new])


@given(jobs())
@quick
def test_a_step_holds_just_the_rows_asked_but_the_last_of_an_epoch(job):
    """
    The effective batch size is constant.
    """
    plan = plan_batches(**job)
    n_new, size = len(job["lengths"]) - job["n_replay"], job["rows_per_step"]
    epoch = [size] * (n_new // size) + [n_new % size] * (n_new % size > 0)

    assert epoch * job["epochs"] == [sum(n < n_new for n in step) for step in steps_of(plan)]


@given(jobs())
@quick
def test_tokens_before_a_step_are_those_of_the_rows_before_it(job):
    """
    By them the time that is left is told, whatever the rows are long.
    """
    plan = plan_batches(**job)
    before = plan.tokens_before()

    assert [0, *before[1:]] == before
    assert [sum(job["lengths"][n] for n in step) for step in steps_of(plan)] == [
        b - a for a, b in pairwise(before)
    ]


@given(jobs(), budgets)
@quick
def test_a_micro_batch_keeps_its_budgets_and_is_of_one_class(job, max_tokens):
    """
    Memory is bounded by rows and by tokens; only a single row may be longer.
    """
    plan = plan_batches(**job)

    for k in range(len(plan)):
        for batch in plan.micro_batches(k, max_tokens):
            assert tokens_by_the_law(job, batch) == plan.cost(batch)
            assert 1 <= len(batch) <= job["max_rows"]
            assert len(batch) == 1 or plan.cost(batch) <= max_tokens


@given(jobs(), budgets)
@quick
def test_what_is_not_shared_is_paid_for_in_every_row(job, max_tokens):
    """
    The same steps under the same digest; a micro-batch costs its rows at full length.
    """
    plan = plan_batches(**job)
    apart = plan.unshared()

    assert plan.digest == apart.digest
    for k in range(len(apart)):
        assert plan.numbers(k) == apart.numbers(k)
        for batch in apart.micro_batches(k, max_tokens):
            cost = len(batch) * max(int(job["lengths"][n]) for n in batch)
            assert cost == apart.cost(batch)
            assert len(batch) == 1 or cost <= max_tokens


@given(jobs(), budgets)
@quick
def test_a_micro_batch_is_cut_no_sooner_than_it_must(job, max_tokens):
    """
    Rows of a step go by class and length, and the next row would have broken a budget.
    """
    plan = plan_batches(**job)
    for k in range(len(plan)):
        batches = plan.micro_batches(k, max_tokens)
        places = [(job["class_of"][n], job["lengths"][n]) for batch in batches for n in batch]
        assert sorted(places) == places
        for batch, following in pairwise(batches):
            if job["class_of"][batch[0]] == job["class_of"][following[0]]:
                more = [*batch, following[0]]
                assert len(more) > job["max_rows"] or plan.cost(more) > max_tokens


@given(jobs())
@quick
def test_the_same_seed_gives_the_same_plan_whatever_the_budget(job):
    """
    A run that resumes goes on in the order it began, with less memory too.
    """
    a, b = plan_batches(**job), plan_batches(**job)
    before = a.digest
    a.micro_batches(0, 1)

    assert before == a.digest == b.digest
    assert steps_of(a) == steps_of(b)


def test_another_seed_gives_another_order():
    """
    Jobs over the same rows do not see them in the same order.
    """
    a, b = (uniform_job(200, seed=seed) for seed in (0, 1))

    assert a.digest != b.digest
    together = [{frozenset(step) for step in steps_of(plan)} for plan in (a, b)]
    assert len(together[0] & together[1]) <= 1


def test_the_digest_tells_steps_apart_that_have_the_same_order():
    """
    Where a step ends is part of the plan.
    """
    a = uniform_job(4, rows_per_step=4)
    digests = {
        type(a)(a.order, np.array(starts), a.lengths, a.class_of, a.prefix_lengths, 16).digest
        for starts in ([0, 4], [0, 2, 4], [0, 1, 4])
    }

    assert 16 == len(a.digest)
    assert a.digest in digests
    assert 3 == len(digests)


@given(jobs(), budgets)
@quick
def test_costliest_is_the_maximum(job, max_tokens):
    """
    The micro-batch tried first is the worst that will come.
    """
    plan = plan_batches(**job)
    batches = [b for k in range(len(plan)) for b in plan.micro_batches(k, max_tokens)]
    found = plan.costliest(max_tokens)

    assert found in batches
    assert max(map(plan.cost, batches)) == plan.cost(found)


@pytest.mark.parametrize("longest", [0, 262_143, 262_144, 299_999])
def test_costliest_looks_at_every_stretch_of_a_long_plan(longest):
    """
    Plans are searched in stretches of 2^18 rows; the worst micro-batch may stand in any.
    """
    plan = uniform_job(300_000)
    plan.lengths[plan.order[longest]] = 50

    assert 200 == plan.cost(plan.costliest(10_000))


@given(jobs(), budgets, st.integers(1, 5))
@quick
def test_parts_cover_the_step_with_equal_counts(job, max_tokens, world):
    """
    Processes go in step, and together train what one would have.
    """
    plan = plan_batches(**job)
    for k in range(len(plan)):
        parts = plan.parts(k, max_tokens, world)

        assert world == len(parts)
        assert 1 == len({len(part) for part in parts})
        assert sorted(plan.numbers(k)) == sorted(n for part in parts for b in part for n in b)
        for part in parts:
            assert part == sorted(part, key=lambda batch: batch != [])
            assert all(len(b) <= 1 or plan.cost(b) <= max_tokens for b in part)
            assert all(len(b) <= job["max_rows"] for b in part)


@pytest.mark.parametrize("world", [2, 3, 4, 8])
def test_parts_are_balanced(world):
    """
    A step of one micro-batch is split so that no process computes half more than its share.
    """
    plan = uniform_job(48, rows_per_step=48, max_rows=48)
    costs = [sum(map(plan.cost, part)) for part in plan.parts(0, 10**6, world)]

    assert max(costs) <= 1.5 * sum(costs) / world


def test_parts_split_no_finer_than_helps():
    """
    Two processes read the prefix of a class once each, and not at all of another's.
    """
    job = {"rows_per_step": 16, "prefix_lengths": np.array([20, 20])}
    one = uniform_job(16, class_of=np.zeros(16, dtype=int), **job)
    two = uniform_job(16, class_of=np.arange(16) % 2, **job)

    assert [[8], [8]] == [[len(b) for b in part] for part in one.parts(0, 10**6, 2)]
    assert sorted(two.micro_batches(0, 10**6)) == sorted(
        batch for part in two.parts(0, 10**6, 2) for batch in part
    )


@pytest.mark.parametrize("n_replay", [1, 4, 7, 28, 100, 333, 480])
def test_replay_is_spread_evenly(n_replay):
    """
    At any step as much is replayed as is due, give or take half a piece; the last may be short.
    """
    plan = uniform_job(800 + n_replay, rows_per_step=16, n_replay=n_replay)
    done = np.cumsum([sum(n >= 800 for n in step) for step in steps_of(plan)])
    due = n_replay * np.arange(1, 51) / 50

    assert np.abs(done - due).max() <= 2 + n_replay / 50 + -n_replay % 4


def test_each_group_of_replay_is_spread_evenly():
    """
    In every stretch of the job each family of earlier files has its share, the small one too.
    """
    groups = np.repeat([0, 1, 2], [400, 100, 20])
    np.random.default_rng(0).shuffle(groups)
    plan = uniform_job(800 + 520, rows_per_step=16, n_replay=520, replay_groups=groups)
    for group, n in ((0, 400), (1, 100), (2, 20)):
        members = set((800 + np.flatnonzero(groups == group)).tolist())
        done = np.cumsum([sum(k in members for k in step) for step in steps_of(plan)])
        due = n * np.arange(1, 51) / 50

        assert n == done[-1]
        assert np.abs(done - due).max() <= 4 + n / 50


@given(jobs())
@quick
def test_steps_are_of_one_class_where_there_are_rows_enough(job):
    """
    Each class fills as many steps of its own as its rows allow.
    """
    plan = plan_batches(**job)
    n_new, size = len(job["lengths"]) - job["n_replay"], job["rows_per_step"]
    possible = job["epochs"] * sum(
        n // size for n in Counter(job["class_of"][:n_new].tolist()).values()
    )
    new = [[n for n in step if n < n_new] for step in steps_of(plan)]

    assert possible <= sum(
        len(step) == size and len(set(job["class_of"][step].tolist())) == 1 for step in new
    )


def test_rows_of_small_classes_stay_together():
    """
    Classes of half a step are two to a step.
    """
    plan = uniform_job(
        160,
        rows_per_step=16,
        class_of=np.arange(160) % 20,
        prefix_lengths=np.full(20, 16),
    )

    assert [2] * 10 == [len({n % 20 for n in step}) for step in steps_of(plan)]


def test_replay_comes_in_pieces_of_one_class():
    """
    Rows on top of a step share their prefix too.
    """
    plan = plan_batches(
        np.full(160 + 40, 40),
        class_of=np.arange(200, dtype=np.int32) % 5,
        prefix_lengths=np.full(5, 32),
        rows_per_step=16,
        max_rows=16,
        epochs=1,
        seed=0,
        n_replay=40,
    )
    pieces = [[n % 5 for n in step if n >= 160] for step in steps_of(plan)]

    assert [4] * 10 == [len(piece) for piece in pieces]
    assert [1] * 10 == [len(set(piece)) for piece in pieces]


def test_rows_with_a_common_prefix_land_together():
    """
    A mixture of 6 prompts computes at most 1.3 times the tokens of 6 separate jobs.
    """
    rng = np.random.default_rng(5)
    prompts = [rng.integers(0, 900, n) for n in (70, 100, 130, 200, 45, 300)]
    which = np.repeat(np.arange(6), [150, 90, 210, 40, 170, 60])
    rng.shuffle(which)
    rows = [np.append(prompts[i], rng.integers(0, 900, rng.integers(15, 40))) for i in which]
    lengths = np.array([len(r) for r in rows])
    read = block_reader([(np.concatenate(rows).astype(np.uint32), np.cumsum(lengths) - lengths)])
    prefixes = find_prefixes(read, lengths - 6, rows_per_batch=16)
    plan = plan_batches(
        lengths,
        class_of=prefixes.class_of,
        prefix_lengths=prefixes.lengths,
        rows_per_step=16,
        max_rows=16,
        epochs=1,
        seed=0,
    )
    shared = np.array([len(p) for p in prompts])
    ideal = (lengths - shared[which] + shared[which] / 16).sum()
    computed = 0
    for k in range(len(plan)):
        for batch in plan.micro_batches(k, 10**6):
            p = shared[which[batch[0]]] if len(set(which[batch])) == 1 else 0
            computed += p + len(batch) * (lengths[batch].max() - p)

    assert computed <= 1.3 * ideal
    assert lengths.sum() > 3 * ideal


def test_rows_of_like_length_land_together():
    """
    Without any shared prefix, padding adds half of what shuffling alone adds, 80%.
    """
    lengths = np.random.default_rng(0).integers(10, 200, 2000)
    plan = plan_batches(
        lengths,
        class_of=np.full(2000, -1),
        prefix_lengths=np.empty(0, dtype=int),
        rows_per_step=16,
        max_rows=16,
        epochs=1,
        seed=0,
    )
    computed = sum(plan.cost(b) for k in range(len(plan)) for b in plan.micro_batches(k, 10**6))

    assert computed <= 1.45 * lengths.sum()


def test_steps_come_in_random_order():
    """
    Long rows and the rows of one class are spread over the job.
    """
    n = 1600
    plan = plan_batches(
        np.arange(100, 100 + n),
        class_of=np.repeat([0, 1], n // 2).astype(np.int32),
        prefix_lengths=np.array([64, 64]),
        rows_per_step=16,
        max_rows=16,
        epochs=1,
        seed=0,
    )
    first = [plan.numbers(k)[0] < n // 2 for k in range(50)]

    assert 10 <= sum(first) <= 40


def test_an_empty_job_is_an_error():
    """
    Zero steps are never a plan, nor is replay alone.
    """
    with pytest.raises(ValueError, match="no example"):
        uniform_job(0)
    with pytest.raises(ValueError, match="no example"):
        uniform_job(5, n_replay=5)


def test_arrays_that_do_not_fit_are_an_error():
    """
    A class longer than its rows, or classes of other rows, would plan nonsense.
    """
    with pytest.raises(ValueError, match="shorter than the prefix"):
        uniform_job(5, class_of=np.zeros(5, dtype=int), prefix_lengths=np.array([64]))
    with pytest.raises(ValueError, match="3 classes for 5 examples"):
        uniform_job(5, class_of=np.full(3, -1))


def uniform_job(n, **changes):
    job = {
        "class_of": np.full(n, -1),
        "prefix_lengths": np.empty(0, dtype=int),
        "rows_per_step": 4,
        "max_rows": 16,
        "epochs": 1,
        "seed": 0,
    }
    return plan_batches(np.full(n, 30), **(job | changes))
