"""
From files to datasets, by the real worker process on a real (small) tokenizer.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from finetuned.config import DataConfig
from finetuned.data import chat_template, store
from finetuned.data.examples import from_record
from finetuned.data.render import Renderer
from finetuned.data.store import TokenisedDataset
from finetuned.errors import ConfigError, Interrupted
from finetuned.files import atomic
from finetuned.files.dataset_result import counts_of_report
from finetuned.files.line_mark import LineMark, LineRange, read_line_mark
from finetuned.files.manifest import verify_manifest
from finetuned.ingestion import validate
from finetuned.ingestion.ingest import Ingestion
from finetuned.ingestion.source import Source

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"PYTHONPATH": str(ROOT / "daemon"), "PATH": "/usr/bin:/bin"}
TEMPLATE = """\
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level tokenizer without merges, with a chat template."""
    folder = tmp_path_factory.mktemp("base")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {c: i for i, c in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


class Bench:
    """One root: datasets, run folders, and the worker."""

    def __init__(self, root: Path, base: Path) -> None:
        self.root = root
        self.base = base
        self.datasets = root / "datasets"
        self.datasets.mkdir()
        self.n_runs = 0
        self.config = DataConfig(holdout_min_rows=1)
        self.files = root / "files"
        self.files.mkdir()

    def file(self, name: str, rows: list[Any]) -> Path:
        path = self.files / name
        lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in rows]
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path

    def spec(self, *paths: Path, **changes: Any) -> Path:
        self.n_runs += 1
        run_dir = self.root / f"run{self.n_runs}"
        run_dir.mkdir()
        files = [
            {"dataset_key": f"r{self.n_runs}k{i}", "path": str(p), "name": p.name}
            for i, p in enumerate(paths)
        ]
        spec = {
            "kind": "ingestion",
            "run_id": run_dir.name,
            "files": files,
            "datasets_dir": str(self.datasets),
            "base": str(self.base),
            "data": asdict(self.config),
            "enable_thinking": False,
            "model_max_length": None,
        }
        (run_dir / "spec.json").write_text(json.dumps({**spec, **changes}))
        return run_dir

    def start(self, run_dir: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "finetuned.ingestion.worker", str(run_dir)]
        return subprocess.Popen(command, env=ENVIRONMENT)

    def run(self, *paths: Path, status: int = 0, **changes: Any) -> list[dict[str, Any]]:
        run_dir = self.spec(*paths, **changes)
        assert status == self.start(run_dir).wait()
        return self.results(run_dir)

    def results(self, run_dir: Path) -> list[dict[str, Any]]:
        folder = run_dir / "results"
        # Not the temporary files that a live worker is about to rename.
        names = sorted(folder.glob("[!.]*.json")) if folder.is_dir() else []
        return [json.loads(p.read_text()) for p in names]

    def ingestion(self) -> tuple[Ingestion, Path]:
        run_dir = self.root / "run_here"
        run_dir.mkdir(exist_ok=True)
        renderer = Renderer.load(self.base, max_length=self.config.max_length)
        made = Ingestion(
            datasets_dir=self.datasets, run_dir=run_dir, renderer=renderer, config=self.config
        )
        return made, run_dir

    def open(self, result: dict[str, Any]) -> TokenisedDataset:
        folder = self.datasets / result["dataset_id"]
        verify_manifest(folder)
        return TokenisedDataset.open(folder)


@pytest.fixture
def bench(tmp_path: Path, base: Path) -> Bench:
    return Bench(tmp_path, base)


def _rows(n: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"prompt": f"What comes after {i}?", "completion": f"It is {i + 1}."}
        for i in range(first, first + n)
    ]


def _no_tick(_phase: str, _rows: int, _n_bytes: int) -> None:
    """Go on."""


def test_every_row_is_trained_or_held_out_exactly_once(bench: Bench) -> None:
    """
    What is stored is what the renderer says of each line, split by prompt.
    """
    rows = _rows(100)
    (result,) = bench.run(bench.file("a.jsonl", rows))
    dataset = bench.open(result)
    renderer = Renderer.load(bench.base, max_length=2048)

    assert "accepted" == result["result"]
    assert 95 == len(dataset)
    trained = {dataset.example_id(i): dataset[i] for i in range(95)}
    held_out = {row["id"]: row for row in dataset.held_out_rows()}
    assert {f"{result['dataset_id']}:{n}" for n in range(1, 101)} == {*trained, *held_out}
    assert 5 == len(held_out)
    for name, (ids, mask) in trained.items():
        row = rows[int(name.split(":")[1]) - 1]
        text = f"<|im_start|>user\n{row['prompt']}<|im_end|>\n<|im_start|>assistant\n"
        assert text + row["completion"] + "<|im_end|>" == renderer.decode(ids)
        assert row["completion"] + "<|im_end|>" == renderer.decode(ids[mask])
    for row in held_out.values():
        assert rows[row["line"] - 1] == {"prompt": row["prompt"], "completion": row["golden"]}
        assert row["golden"] == renderer.golden(from_record(row))


def test_the_report_adds_up(bench: Bench) -> None:
    """
    Read is accepted and rejected, accepted is trained, held out and reserved.
    """
    rows: list[Any] = [*_rows(97), b"{", b"", b"  ", {"a": 1}, {"prompt": "x", "completion": 1}]
    (result,) = bench.run(bench.file("a.jsonl", rows))
    report, split = result["report"], result["report"]["split"]

    assert (100, 97, 3) == (report["rows_read"], report["rows_accepted"], report["rows_rejected"])
    assert {"not_json": 1, "unknown_format": 1, "bad_content": 1} == report["rejected"]
    assert 97 == split["train_rows"] + split["heldout_rows"] + split["reserved_rows"]
    counts = counts_of_report(report)
    assert counts is not None
    assert counts.add_up
    assert {"prompt": 97} == report["formats"]
    dataset = bench.open(result)
    assert report["length_tokens"]["max"] >= dataset.lengths.max()
    tokens = np.fromfile(dataset.folder / store.SUPERVISED, dtype="u1")
    assert report["tokens"] == len(tokens)
    assert report["supervised_tokens"] == int(tokens.sum())
    assert report == json.loads((dataset.folder / store.REPORT).read_text())


def test_rejected_lines_are_listed_with_number_reason_and_beginning(bench: Bench) -> None:
    """
    A person finds the line; 200 characters are shown, no password among them.
    """
    secret = {"input": "u", "output": {"action": "add_user", "password": "hunter2hunter2"}}
    bad = b'{"text": "\xff' + b"y" * 500
    (result,) = bench.run(bench.file("a.jsonl", [*_rows(50), bad, secret]))
    lines = (bench.datasets / result["dataset_id"] / store.REJECTS).read_text().splitlines()
    first, second = (json.loads(line) for line in lines)

    assert (51, "not_utf8") == (first["line"], first["code"])
    assert 200 == len(first["text"])
    assert "\\xff" in first["text"]
    assert (52, "bad_intent") == (second["line"], second["code"])
    assert "hunter2" not in json.dumps([first, second, result])


def test_too_many_rejected_lines_quarantine_the_file(bench: Bench) -> None:
    """
    6 of 100 is more than 5%: nothing is published, the reasons are in the run folder.
    """
    path = bench.file("a.jsonl", [*_rows(94), *[b"{"] * 6])
    (result,) = bench.run(path)

    assert "quarantined" == result["result"]
    assert "6 of 100 lines are rejected (6.0%" in result["reason"]
    assert [] == os.listdir(bench.datasets)
    folder = bench.root / "run1" / "r1k0"
    assert 6 == len((folder / store.REJECTS).read_text().splitlines())
    assert 94 == json.loads((folder / store.REPORT).read_text())["rows_accepted"]

    assert "accepted" == bench.run(bench.file("b.jsonl", [*_rows(95), *[b"{"] * 5]))[0]["result"]


@pytest.mark.parametrize(
    ("models_own", "limit"), [(None, "data.max_length"), (300, "the base model's own limit")]
)
def test_a_file_set_aside_for_long_rows_names_the_limit_and_the_way_out(
    bench: Bench, models_own: int | None, limit: str
) -> None:
    """
    Which of the two limits decided, which share is allowed, and what to do about it.
    """
    long = json.dumps({"prompt": "Say it.", "completion": "word " * 2500}).encode()
    (result,) = bench.run(
        bench.file("a.jsonl", [*_rows(93), *[long] * 7]), model_max_length=models_own
    )

    assert "quarantined" == result["result"]
    reason = result["reason"]
    assert "7 of 100 lines are rejected (7.0%)" in reason
    assert "data.max_rejected_fraction = 0.05" in reason
    assert f"at most {models_own or 2048} are allowed ({limit})" in reason
    assert "shorten the row" in reason
    assert "drop the file again" in reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no lines"),
        (b"\n \r\n\n", "blank"),
        (b"\n\0\n", "the file is binary data, not JSON lines"),
        (
            gzip.compress(json.dumps(_rows(9)).encode(), mtime=0),
            "the file is compressed with gzip, not JSON lines; make JSON lines of it: "
            "finetuned convert inbox/rejected/a.r1k0.jsonl -o inbox/a.jsonl",
        ),
    ],
)
def test_a_file_with_nothing_to_train_is_quarantined(
    bench: Bench, data: bytes, reason: str
) -> None:
    """
    Empty is not an error of ours and not a dataset either. What is no JSON lines gets one
    sentence instead of a complaint for each line.
    """
    path = bench.files / "a.jsonl"
    path.write_bytes(data)
    (result,) = bench.run(path)

    assert "quarantined" == result["result"]
    assert reason in result["reason"]


def test_one_row_is_trained(bench: Bench) -> None:
    """
    A 1-row file holds nothing out and says so.
    """
    (result,) = bench.run(bench.file("a.jsonl", _rows(1)))

    assert 1 == len(bench.open(result))
    assert 0 == result["report"]["split"]["heldout_rows"]
    assert "only one distinct prompt" in result["report"]["split"]["no_heldout_because"]


def test_the_same_bytes_are_a_dataset_once(bench: Bench) -> None:
    """
    In one run or in two, under any name; other bytes under the same name are another.
    """
    first, second = bench.file("a.jsonl", _rows(9)), bench.file("b.jsonl", _rows(9))
    results = bench.run(first, second)
    assert ["accepted", "duplicate"] == [r["result"] for r in results]
    assert ["duplicate"] == [r["result"] for r in bench.run(second)]

    again = bench.run(bench.file("a.jsonl", _rows(9, first=50)))
    assert ["accepted"] == [r["result"] for r in again]
    assert 2 == len(os.listdir(bench.datasets))


def test_a_lost_result_is_made_again_and_is_no_duplicate(bench: Bench) -> None:
    """
    A worker killed between publishing and saying so must not lose the file.
    """
    run_dir = bench.spec(bench.file("a.jsonl", _rows(9)))
    assert 0 == bench.start(run_dir).wait()
    (expected,) = bench.results(run_dir)
    (run_dir / "results" / "r1k0.json").unlink()
    assert 0 == bench.start(run_dir).wait()

    assert [expected] == bench.results(run_dir)


def test_another_renderer_makes_the_dataset_anew(bench: Bench) -> None:
    """
    Tokens of another limit or tokenizer are never trained by mistake; the split stays.
    """
    path = bench.file("a.jsonl", _rows(60))
    (before,) = bench.run(path)
    kept = [row["id"] for row in bench.open(before).held_out_rows()]
    (after,) = bench.run(path, model_max_length=512)

    assert "accepted" == after["result"]
    assert 512 == bench.open(after).manifest["max_length"]
    assert kept == [row["id"] for row in bench.open(after).held_out_rows()]
    assert 1 == len(os.listdir(bench.datasets))


def test_what_was_held_out_is_never_trained_by_a_later_file(bench: Bench) -> None:
    """
    Prompts keep their side across files, and across worker processes.
    """
    (first,) = bench.run(bench.file("a.jsonl", _rows(100)))
    second, third = bench.run(
        bench.file("b.jsonl", _rows(120, first=40)), bench.file("c.jsonl", _rows(200))
    )
    trained, held_out = set(), set()
    for result in (first, second, third):
        folder = bench.open(result).folder
        trained |= set(np.fromfile(folder / store.PROMPTS_TRAIN, dtype="<u8").tolist())
        held_out |= set(np.fromfile(folder / store.PROMPTS_HELD_OUT, dtype="<u8").tolist())

    assert set() == trained & held_out
    assert len(held_out) > 5


def test_a_file_of_held_out_prompts_only_is_quarantined(bench: Bench) -> None:
    """
    There is nothing to train, and the reason says why.
    """
    (first,) = bench.run(bench.file("a.jsonl", _rows(40)))
    rows = [
        {"prompt": row["prompt"], "completion": "Other."}
        for row in bench.open(first).held_out_rows()
    ]
    (result,) = bench.run(bench.file("b.jsonl", rows))

    assert "quarantined" == result["result"]
    assert "nothing to train" in result["reason"]


def test_links_fifos_and_directories_are_reported_and_never_block(bench: Bench) -> None:
    """
    Each gets a reason, and the regular file after them its dataset.
    """
    real = bench.file("a.jsonl", _rows(3))
    link, fifo, folder = (bench.files / n for n in ("link.jsonl", "fifo.jsonl", "dir.jsonl"))
    link.symlink_to(real)
    os.mkfifo(fifo)
    folder.mkdir()
    results = bench.run(link, fifo, folder, bench.files / "missing.jsonl", real)

    assert ["unreadable"] * 4 + ["accepted"] == [r["result"] for r in results]
    assert all(r["reason"] for r in results[:4])


def _append(path: Path) -> None:
    with path.open("ab") as f:
        f.write(b"{}\n")


def _rewrite_in_place(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as f:
        f.write(b'{"prompt": "Changed')
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    other.rename(path)


@pytest.mark.parametrize("phase", ["hashing", "validating", "leak_check"])
@pytest.mark.parametrize("change", [_append, _replace, Path.unlink])
def test_a_file_that_changes_while_it_is_read_is_unstable(
    bench: Bench, change: Callable[[Path], None], phase: str
) -> None:
    """
    Appended to, replaced or removed: nothing is published.
    """
    path = bench.file("a.jsonl", _rows(20))
    pending = [phase]

    def tick(now: str, _rows: int, _n_bytes: int) -> None:
        if [now] == pending:
            pending.clear()
            change(path)

    ingestion, _ = bench.ingestion()
    result = ingestion.ingest(Source(dataset_key="k", path=path, name="a"), tick)

    assert "unstable" == result.result
    assert [] == os.listdir(bench.datasets)


def test_a_rewrite_that_hides_its_time_is_found_by_the_hash(bench: Bench) -> None:
    """
    Size, time and inode are the same; the bytes are not.
    """
    path = bench.file("a.jsonl", _rows(20))
    pending = ["hashing"]

    def tick(now: str, _rows: int, _n_bytes: int) -> None:
        if [now] == pending:
            pending.clear()
            _rewrite_in_place(path)

    ingestion, _ = bench.ingestion()
    result = ingestion.ingest(Source(dataset_key="k", path=path, name="a"), tick)

    assert "unstable" == result.result


@pytest.mark.parametrize(
    "phase", ["hashing", "validating", "splitting", "leak_check", "publishing"]
)
def test_an_interrupted_ingestion_leaves_nothing(bench: Bench, phase: str) -> None:
    """
    Neither a dataset nor the half of one.
    """

    def tick(now: str, _rows: int, _n_bytes: int) -> None:
        if now == phase:
            raise Interrupted("now")

    ingestion, _ = bench.ingestion()
    source = Source(dataset_key="k", path=bench.file("a.jsonl", _rows(9)), name="a")
    with pytest.raises(Interrupted):
        ingestion.ingest(source, tick)

    assert [] == os.listdir(bench.datasets)
    assert "accepted" == ingestion.ingest(source, _no_tick).result


def test_sigterm_ends_the_worker_with_75_and_it_goes_on_later(bench: Bench) -> None:
    """
    Results so far stand, the rest is done by the next start.
    """
    paths = [bench.file(f"f{i}.jsonl", _rows(300, first=i * 300)) for i in range(12)]
    run_dir = bench.spec(*paths)
    worker = bench.start(run_dir)
    while not bench.results(run_dir):
        assert worker.poll() is None
        time.sleep(0.01)
    worker.send_signal(signal.SIGTERM)

    assert 75 == worker.wait()
    done = len(bench.results(run_dir))
    assert 1 <= done < 12
    assert done == len(os.listdir(bench.datasets))
    assert "Interrupted" == json.loads((run_dir / "error.json").read_text())["error_type"]
    assert 0 == bench.start(run_dir).wait()
    assert ["accepted"] * 12 == [r["result"] for r in bench.results(run_dir)]


@pytest.mark.slow
def test_kills_change_nothing_in_the_datasets(bench: Bench, tmp_path: Path) -> None:
    """
    SIGKILL at random moments, then on to the end: the same bytes as without.
    """
    paths = [bench.file(f"f{i}.jsonl", _rows(100, first=i * 75)) for i in range(8)]
    (tmp_path / "calm").mkdir()
    calm = Bench(tmp_path / "calm", bench.base)
    expected = {r["dataset_id"] for r in calm.run(*paths)}
    rng = random.Random(7)
    run_dir = bench.spec(*paths)
    kills = 0
    for _ in range(50):
        worker = bench.start(run_dir)
        # Killed by what it has done, not by the clock: machines differ in speed.
        target = len(bench.results(run_dir)) + rng.randint(0, 2)
        while kills < 4 and worker.poll() is None:
            if len(bench.results(run_dir)) >= target:
                time.sleep(rng.uniform(0, 0.03))
                worker.kill()
            time.sleep(0.001)
        status = worker.wait()
        kills += status == -signal.SIGKILL
        if status == 0:
            break

    assert kills >= 1
    results = bench.results(run_dir)
    assert ["accepted"] * 8 == [r["result"] for r in results]
    assert expected == {n for n in os.listdir(bench.datasets) if not n.startswith(".")}
    for dataset_id in expected:
        one, other = (b.datasets / dataset_id for b in (bench, calm))
        for name in (store.TOKENS, store.SEQUENCES, store.PROMPTS_HELD_OUT):
            assert (other / name).read_bytes() == (one / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"base": "/nonexistent"}, "not found"),
        ({"data": {"max_lenght": 5}}, "max_lenght"),
        ({"data": {"max_length": 5}}, "16 to 131072"),
        ({"files": [{"dataset_key": "../x", "path": "p", "name": "n"}]}, "dataset_key"),
    ],
)
def test_a_wrong_configuration_ends_with_78_and_its_reason(
    bench: Bench, changes: dict[str, Any], says: str
) -> None:
    """
    Restarting would not help, and error.json says what would.
    """
    bench.run(bench.file("a.jsonl", _rows(3)), status=78, **changes)

    assert says in json.loads((bench.root / "run1" / "error.json").read_text())["error_message"]


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture
def looping(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose chat template never ends on a question that says loop; 0.2 s are allowed."""
    monkeypatch.setattr(chat_template, "RENDER_SECONDS", 0.2)
    base = tmp_path / "looping"
    shutil.copytree(bench.base, base)
    when = "{% if 'loop' in messages[0].content %}" + LOOP + "{% endif %}"
    (base / "chat_template.jinja").write_text(when + TEMPLATE)
    bench.base = base
    return bench


def test_a_row_on_which_the_template_never_ends_is_refused_with_its_number(
    looping: Bench,
) -> None:
    """
    The others are trained; without a limit the worker would be killed, and the file with it.
    Between two rows the worker shows progress, so that it is not taken for stuck.
    """
    rows = _rows(30)
    rows[6]["prompt"] = "What does loop mean?"
    ticks: list[int] = []
    ingestion, _ = looping.ingestion()
    path = looping.file("a.jsonl", rows)
    result = ingestion.ingest(
        Source(dataset_key="k", path=path, name="a"), lambda *beat: ticks.append(beat[1])
    )

    assert ("accepted", 29) == (result.result, (result.report or {})["rows_accepted"])
    (refused,) = (result.report or {})["first_rejects"]
    assert (7, "too_slow") == (refused["line"], refused["code"])
    assert "did not finish within 0.2 s" in refused["reason"]
    assert 30 <= len(ticks)


def test_a_row_in_which_an_earlier_try_hung_is_rejected_and_the_others_are_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Before each row, or rows that are tokenised together, the worker notes which they are; of
    rows in which it hung together, it then reads one at a time.
    """
    told: list[tuple[int, int]] = []
    write = LineMark.set

    def note(mark: LineMark, key: str, first: int, last: int) -> None:
        told.append((first, last))
        write(mark, key, first, last)
        found = read_line_mark(bench.root / "run_here", key)
        assert (first, last) == ((found.first, found.last) if found else (0, 0))

    monkeypatch.setattr(LineMark, "set", note)
    ingestion, _ = bench.ingestion()
    path = bench.file("a.jsonl", _rows(30))
    stuck = (LineRange(1, 5), LineRange(3, 3))
    source = Source(dataset_key="k", path=path, name="a", stuck=stuck)
    result = ingestion.ingest(source, _no_tick)

    assert ("accepted", 29) == (result.result, (result.report or {})["rows_accepted"])
    (refused,) = (result.report or {})["first_rejects"]
    assert (3, "too_slow") == (refused["line"], refused["code"])
    assert "worker_stuck_seconds" in refused["reason"]
    assert [(1, 1)] * 3 + [(2, 2)] * 3 + [(3, 3)] * 2 == told[:8]
    assert [(6, 30), (0, 0)] == told[-2:]


def test_a_file_on_which_the_template_never_ends_is_given_up_early(
    looping: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A million such rows would take a year; the reason names the line and what to do.
    """
    monkeypatch.setattr(validate, "MOST_SLOW_ROWS", 1)
    rows = [{"prompt": f"loop {i}", "completion": "no"} for i in range(9)]
    ingestion, _ = looping.ingestion()
    path = looping.file("a.jsonl", rows)
    result = ingestion.ingest(Source(dataset_key="k", path=path, name="a"), _no_tick)

    assert "unreadable" == result.result
    assert "within 0.2 s on more than 1 lines, the last of them line 2" in str(result.reason)


def test_a_template_that_ends_on_no_question_is_a_wrong_base_and_no_bad_file(
    looping: Bench,
) -> None:
    """
    Otherwise every file that is dropped would be set aside for it.
    """
    (looping.base / "chat_template.jinja").write_text(LOOP)
    with pytest.raises(ConfigError, match=r"model\.base: the chat template .* within 0\.2 s"):
        looping.ingestion()


def test_a_missing_datasets_folder_is_waited_for(bench: Bench) -> None:
    """
    The file system's refusals end with 75 and a word for the status.
    """
    bench.datasets.rmdir()
    bench.run(bench.file("a.jsonl", _rows(3)), status=75)

    assert (
        "missing_directory"
        == json.loads((bench.root / "run1" / "error.json").read_text())["reason"]
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_publishes_nothing_and_is_waited_for(bench: Bench) -> None:
    """
    No result, no half a dataset; when there is room again, it goes on.
    """
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(bench.datasets)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        run_dir = bench.spec(bench.file("a.jsonl", _rows(900)))
        assert 75 == bench.start(run_dir).wait()
        assert "disk_full" == json.loads((run_dir / "error.json").read_text())["reason"]
        assert [] == bench.results(run_dir)
        assert [] == os.listdir(bench.datasets)
        subprocess.run(["mount", "-o", "remount,size=64m", str(bench.datasets)], check=True)
        assert 0 == bench.start(run_dir).wait()
        assert ["accepted"] == [r["result"] for r in bench.results(run_dir)]
    finally:
        subprocess.run(["umount", str(bench.datasets)], check=True)


def test_progress_is_shown_while_it_works(bench: Bench) -> None:
    """
    The last heartbeat says that all files are done.
    """
    bench.run(*[bench.file(f"f{i}.jsonl", _rows(5, first=9 * i)) for i in range(3)])
    beat = json.loads((bench.root / "run1" / "heartbeat.json").read_text())

    assert ("done", 3, 3) == (beat["phase"], beat["files_done"], beat["files_total"])


def _peak_rss_bytes(bench: Bench, path: Path) -> int:
    run_dir = bench.spec(path)
    worker = bench.start(run_dir)
    _, status, usage = os.wait4(worker.pid, 0)
    worker.returncode = os.waitstatus_to_exitcode(status)
    assert 0 == worker.returncode
    assert isinstance(usage, resource.struct_rusage)
    return usage.ru_maxrss * 1024


@pytest.mark.slow
def test_memory_does_not_grow_with_the_bytes_of_a_file(bench: Bench) -> None:
    """
    32 MB of text that is kept beside the rows cost less than 16 MiB.
    """
    wide = [{**row, "metadata": {"note": "wide " * 1000}} for row in _rows(6400)]
    few, many = bench.file("few.jsonl", wide[:400]), bench.file("many.jsonl", wide)

    assert _peak_rss_bytes(bench, many) - _peak_rss_bytes(bench, few) < 16 << 20


@pytest.mark.long
def test_memory_does_not_grow_with_the_rows_of_a_file(bench: Bench) -> None:
    """
    Twenty times as many rows cost less than 48 MiB more.
    """
    few, many = bench.file("few.jsonl", _rows(4000)), bench.file("many.jsonl", _rows(80_000))

    assert _peak_rss_bytes(bench, many) - _peak_rss_bytes(bench, few) < 48 << 20


def test_what_a_benchmark_asks_is_never_trained(bench: Bench) -> None:
    """
    Adding a suite takes its prompts out of every dataset that comes after.
    """
    rows = _rows(100)
    folder = bench.root / "benchmarks"
    folder.mkdir()
    asked = [{"messages": [{"role": "user", "content": r["prompt"]}]} for r in rows[40:60]]
    lines = [json.dumps({**row, "expected": "ok"}) for row in asked]
    (folder / "mine.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "broken.jsonl").write_text("{\n")

    (result,) = bench.run(bench.file("a.jsonl", rows), benchmarks=str(folder))

    dataset = bench.open(result)
    trained = {int(dataset.example_id(i).split(":")[1]) for i in range(len(dataset))}
    assert set() == trained & set(range(41, 61))
    assert 80 == len(dataset)


def test_every_pass_over_a_dataset_shows_progress(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Each chunk of the split and of what is published: a worker that is silent is killed as stuck.
    """
    monkeypatch.setattr(store, "_CHUNK_RECORDS", 10)
    monkeypatch.setattr(atomic, "CHUNK_BYTES", 100)
    ticks: Counter[str] = Counter()

    def tick(now: str, _rows: int, _n_bytes: int) -> None:
        ticks[now] += 1

    ingestion, _ = bench.ingestion()
    path = bench.file("a.jsonl", _rows(100))
    result = ingestion.ingest(Source(dataset_key="k", path=path, name="a"), tick)

    assert "accepted" == result.result
    n_files = len(list((bench.datasets / str(result.dataset_id)).iterdir()))
    n_chunks = (bench.datasets / str(result.dataset_id) / store.TOKENS).stat().st_size // 100
    assert ticks["splitting"] >= 50
    assert ticks["publishing"] >= n_chunks + n_files
