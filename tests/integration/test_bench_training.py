"""
experiments/bench_training.py as a person runs it, on a model that trains a step in milliseconds.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.bench.report import best_peer, complaints, summarise, table
from experiments.bench.settings import BY_NAME, CONTESTANTS, choose
from experiments.bench.workloads import WORKLOADS, digest, fingerprint, make_rows

CHECKOUT = Path(__file__).resolve().parents[2]
TOOL = "experiments.bench_training"
STEPS, ROWS_PER_STEP = 3, 4
PLAIN = ("trainer-padding", "trainer-group-by-length")
TRL = tuple(c.name for c in CONTESTANTS if c.kind == "trl" and not c.cuda_only)
FIGURES = {
    "rows_per_second",
    "supervised_tokens_per_second",
    "peak_mb",
    "held_out_loss",
    "steps",
    "ratio",
}


def bench(*args: str) -> subprocess.CompletedProcess[str]:
    """
    Run the tool in this interpreter, on one thread.
    """
    return subprocess.run(
        [sys.executable, "-m", TOOL, "--model", "tiny", "--threads", "1", "--device", "cpu", *args],
        capture_output=True,
        text=True,
        check=False,
        cwd=CHECKOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def measured(folder: Path, peers: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    out = folder / "figures.json"
    size = ["--steps", str(STEPS), "--rows-per-step", str(ROWS_PER_STEP), "--repeats", "1"]
    done = bench("--workload", "80+15+30", "--peers", peers, *size, "--json", str(out))
    assert out.exists(), done.stderr
    return done, json.loads(out.read_text())


@pytest.fixture(scope="module")
def against_trainer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """
    Ours and transformers.Trainer, measured once for this file.
    """
    return measured(tmp_path_factory.mktemp("trainer"), ",".join(PLAIN))


def contestants_of(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {c["name"]: c for c in report["workloads"][0]["contestants"]}


def expected_digest() -> str:
    """
    What must have been trained, computed here from the generator alone.
    """
    rows = make_rows("80+15+30", STEPS * ROWS_PER_STEP, part="train", vocab_size=256, seed=0)
    return digest([fingerprint(ids) for ids, _ in rows])


@pytest.mark.slow
@pytest.mark.long
def test_every_figure_of_every_contestant_is_in_the_json(against_trainer: Any) -> None:
    """
    What the docs quote can be read by a program, with the machine and versions beside it.
    """
    done, report = against_trainer
    found = contestants_of(report)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert ["ours", *PLAIN] == list(found)
    for name, contestant in found.items():
        assert FIGURES <= contestant.keys(), name
        assert contestant["rows_per_second"]["median"] > 0
        assert contestant["peak_mb"] > 0
    assert report["workloads"][0]["best_peer"] in PLAIN
    assert report["workloads"][0]["ratio"] == pytest.approx(
        found["ours"]["rows_per_second"]["median"]
        / max(found[name]["rows_per_second"]["median"] for name in PLAIN),
        rel=0.01,
    )
    assert report["machine"]["versions"]["torch"] is not None


@pytest.mark.slow
@pytest.mark.long
def test_every_contestant_trains_the_same_rows_in_the_same_number_of_steps(
    against_trainer: Any,
) -> None:
    """
    A ratio of rows per second means something only where the rows are the same.
    """
    for name, contestant in contestants_of(against_trainer[1]).items():
        (run,) = contestant["runs"]
        assert (STEPS, STEPS * ROWS_PER_STEP) == (run["steps"], run["rows"]), name
        assert expected_digest() == run["digest"], name


@pytest.mark.slow
@pytest.mark.long
def test_training_changes_the_held_out_loss(against_trainer: Any) -> None:
    """
    Equal losses would say nothing if nobody had learned anything.
    """
    report = against_trainer[1]
    start = report["workloads"][0]["start_loss"]

    for name, contestant in contestants_of(report).items():
        assert contestant["held_out_loss"] < start - 1e-3, name


@pytest.mark.parametrize("method", ["lora", "full"])
def test_in_the_same_order_ours_and_trainer_end_at_the_same_loss(method: str) -> None:
    """
    What is left of a difference in held-out loss is the order of the rows, nothing else.
    """
    from experiments.bench import ours, peers
    from experiments.bench.settings import Settings
    from experiments.bench.shapes import build_model
    from experiments.bench.watch import RowLog, held_out_loss

    settings = Settings(workload="80+15+30", model="tiny", method=method, rows_per_step=4)
    train = make_rows(settings.workload, 12, part="train", vocab_size=256, seed=0)
    held_out = make_rows(settings.workload, 8, part="held-out", vocab_size=256, seed=0)
    mine = build_model(settings)
    log = RowLog()
    ours.train(mine, train, settings, steps=STEPS, callbacks=[], log=log)
    by_fingerprint = {fingerprint(row[0]): row for row in train}
    sequential = replace(
        BY_NAME["trainer-padding"], options={"train_sampling_strategy": "sequential"}
    )
    theirs = build_model(settings)
    start = held_out_loss(build_model(settings), held_out)
    peers.train(
        theirs,
        [by_fingerprint[f] for f in log.fingerprints],
        sequential,
        settings,
        steps=STEPS,
        callbacks=[],
        log=RowLog(),
    )
    loss = held_out_loss(theirs, held_out)

    assert loss == pytest.approx(held_out_loss(mine, held_out), rel=1e-6)
    assert loss < start - 1e-3


@pytest.mark.slow
@pytest.mark.long
def test_trl_trains_the_same_rows_whether_padded_or_packed(tmp_path: Path) -> None:
    """
    Packing keeps every row whole, and the number of steps; where it cuts them the table says so.
    """
    if importlib.util.find_spec("trl") is None:
        pytest.skip("trl is not installed: tools/bootstrap --bench")
    done, report = measured(tmp_path, "trl-padding,trl-padding-free,trl-bfd,trl-wrapped-4-bins")
    found = contestants_of(report)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert {STEPS} == {c["steps"] for c in found.values()}
    for name in ("ours", "trl-padding", "trl-padding-free", "trl-bfd"):
        assert expected_digest() == found[name]["runs"][0]["digest"], name
    assert found["trl-wrapped-4-bins"]["runs"][0]["digest"] is None
    assert "another loss" in done.stdout


@pytest.mark.parametrize("bins", [1, 2, 4])
def test_packing_makes_the_number_of_steps_that_was_asked_for(bins: int) -> None:
    """
    The packed length is found, not guessed: neither fewer steps nor a row cut short.
    """
    datasets = pytest.importorskip("datasets", reason="tools/bootstrap --bench")
    pytest.importorskip("trl", reason="tools/bootstrap --bench")
    from trl import pack_dataset

    from experiments.bench.peers import packed_length

    datasets.disable_progress_bars()
    rows = make_rows("0+100+100", 96, part="train", vocab_size=256, seed=1)
    dataset = datasets.Dataset.from_list([{"input_ids": ids.tolist()} for ids, _ in rows])
    length = packed_length(dataset, "bfd", steps=6, bins_per_step=bins)

    assert 6 == -(-len(pack_dataset(dataset, length, "bfd")) // bins)
    assert length >= max(len(ids) for ids, _ in rows)


@pytest.mark.parametrize("name", WORKLOADS)
def test_rows_share_their_prefix_and_nothing_else(name: str) -> None:
    """
    Training and held-out rows begin alike, ask different things, and supervise the answer alone.
    """
    prefix = WORKLOADS[name].prefix
    train = make_rows(name, 50, part="train", vocab_size=1000, seed=3)
    held_out = make_rows(name, 50, part="held-out", vocab_size=1000, seed=3)

    assert 1 == len({ids[:prefix].tobytes() for ids, _ in train + held_out})
    assert not {fingerprint(i) for i, _ in train} & {fingerprint(i) for i, _ in held_out}
    for ids, supervised in train:
        first = int(np.argmax(supervised))
        assert prefix < first < len(ids)
        assert supervised[first:].all()
        assert ids.max() < 1000


def test_the_widely_varying_workload_has_the_mean_it_is_named_after() -> None:
    """
    Few long rows and many short ones, 100 + 100 tokens on average.
    """
    rows = make_rows("0+100+100", 4000, part="train", vocab_size=256, seed=0)
    answers = np.array([int(supervised.sum()) for _, supervised in rows])

    assert 100 == pytest.approx(answers.mean(), rel=0.06)
    assert (20, 300) == (answers.min(), answers.max())


def figures(**changes: Any) -> dict[str, Any]:
    return {
        "seconds": 2.0,
        "steps": 4,
        "rows_planned": 64,
        "digest": "aa",
        "supervised_tokens": 640,
        "start_bytes": 1,
        "peak_bytes": 2,
        "held_out_loss": 5.0,
        **changes,
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"held_out_loss": 5.06}, "held-out loss 1.20% away"),
        ({"digest": "bb"}, "trained other rows"),
        ({"steps": 5}, "5 optimizer steps, not 4"),
        ({"supervised_tokens": 600}, "600 supervised tokens, not 640"),
    ],
)
def test_who_did_other_work_is_named_and_is_not_the_best_peer(
    change: dict[str, Any], complaint: str
) -> None:
    """
    Being fast at something else is no win: it is reported, and the ratio is to somebody else.
    """
    chosen = [BY_NAME[name] for name in ("ours", *PLAIN)]
    runs = {
        "ours": [figures()],
        PLAIN[0]: [figures(seconds=1.0, **change)],
        PLAIN[1]: [figures(seconds=8.0)],
    }
    summaries = summarise(chosen, runs)
    best = best_peer(summaries)

    assert best is not None
    assert (PLAIN[1], 4.0) == (best["name"], best["ratio"])
    (found,) = complaints(summaries)
    assert found.startswith(f"{PLAIN[0]}: {complaint}")
    assert found in table("", summaries)


def test_another_loss_is_compared_in_speed_only() -> None:
    """
    A setting that trains on another loss by design is shown, without a complaint about it.
    """
    wrapped = replace(BY_NAME["trl-wrapped-4-bins"], needs=())
    runs = {"ours": [figures()], wrapped.name: [figures(held_out_loss=9.0, digest=None)]}
    summaries = summarise([BY_NAME["ours"], wrapped], runs)

    assert 1.0 == summaries[1]["ratio"]
    assert [] == complaints(summaries)
    assert best_peer(summaries) is None


def test_what_cannot_run_is_listed_with_its_reason() -> None:
    """
    A peer that failed is not hidden, and is no reason to distrust the others; ours is.
    """
    chosen = [BY_NAME[name] for name in ("ours", *PLAIN)]
    runs = {"ours": [figures()], PLAIN[0]: [{"error": "out of memory"}], PLAIN[1]: [figures()]}
    summaries = summarise(chosen, runs)

    assert "out of memory" in table("", summaries)
    assert [] == complaints(summaries)
    runs["ours"] = [{"error": "boom"}]
    assert ["ours: boom"] == complaints(summarise(chosen, runs))


def test_peers_are_chosen_by_name_or_by_the_beginning_of_it() -> None:
    """
    "trl" is all of TRL; a whole name is that one alone; ours always comes first.
    """
    names = [c.name for c in choose("trl", device="cpu")]

    assert ["ours", *TRL] == names
    assert "trl-bfd-flash" in [c.name for c in choose("trl", device="cuda")]
    assert ["ours", "trl-bfd-flash"] == [c.name for c in choose("trl-bfd-flash", device="cpu")]
    assert ["ours", "trl-bfd"] == [c.name for c in choose("trl-bfd", device="cpu")]
    assert ["ours"] == [c.name for c in choose("none", device="cpu")]
    assert all(not c.cuda_only for c in choose("all", device="cpu"))
    with pytest.raises(ValueError, match="no such peer: axolotl"):
        choose("axolotl", device="cpu")


def test_wrong_usage_is_status_2() -> None:
    """
    A misspelt peer is told at once, before anything is measured.
    """
    done = bench("--peers", "trll")

    assert 2 == done.returncode
    assert "no such peer: trll" in done.stderr


def test_repeats_alternate_the_order_of_contestants() -> None:
    """
    A machine that slows down while it measures favours nobody.
    """
    from experiments import bench_training

    chosen = choose(",".join(PLAIN), device="cpu")
    names = [c.name for _, c in bench_training.turns(chosen, 2)]

    assert ["ours", *PLAIN, *reversed(PLAIN), "ours"] == names


def test_the_shapes_that_can_be_asked_for_are_those_that_exist() -> None:
    """
    --help names them without loading torch.
    """
    from experiments import bench_training
    from experiments.bench.shapes import SHAPES, model_config

    assert set(SHAPES) == set(bench_training.MODELS)
    for name in SHAPES:
        assert model_config(name).vocab_size > 68


def test_a_step_costs_what_its_matrix_products_add_up_to() -> None:
    """
    The count behind "how near are we" knows the CPU's attention and products in place.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from experiments.bench.limits import uncounted

    n, heads, tokens, width = 2, 3, 8, 16
    q, k, v = (torch.randn(n, heads, tokens, width, requires_grad=True) for _ in range(3))
    a, b = torch.randn(4, 5), torch.randn(5, 6)
    with FlopCounterMode(display=False, custom_mapping=uncounted()) as counter:
        torch.zeros(4, 6).addmm_(a, b)
        products = counter.get_total_flops()
        torch.nn.functional.scaled_dot_product_attention(q, k, v).sum().backward()

    assert 2 * 4 * 5 * 6 == products
    # Two products forward; backward, the scores once more and four others.
    assert products + (2 + 5) * 2 * n * heads * tokens**2 * width == counter.get_total_flops()
