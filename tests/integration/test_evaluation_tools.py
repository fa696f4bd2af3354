"""
finetuned test, compare and canary as a person runs them, on a real tiny model.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from finetuned.cli.program import main
from finetuned.data.suite import load_suite
from finetuned.layout import Layout
from finetuned.registry.commit import commit_version
from finetuned.registry.current_model import promote

PACKAGE_PARENT = Path(__file__).resolve().parents[2] / "daemon"
CONFIG = """
[model]
base = "tiny"
device = "cpu"
[evaluation]
max_new_tokens = 12
"""
ITEMS = [{"id": f"say-{i}", "prompt": f"say {i}", "completion": "yes"} for i in range(20)]

Tool = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def better(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    An adapter on the tiny base that knows ITEMS by heart.
    """
    import torch

    from finetuned.config import ModelConfig, TrainingConfig
    from finetuned.data.reader import to_example
    from finetuned.data.render import Renderer
    from finetuned.inference.score import pad_batch
    from finetuned.model.load import load_for_training, trainable_parameters

    renderer = Renderer.load(tiny_base, max_length=512)
    rows = [renderer.render(to_example(item))[0] for item in ITEMS]
    batch = pad_batch([(r.input_ids, r.supervised) for r in rows], renderer.pad_token_id)
    model = load_for_training(
        tiny_base, None, ModelConfig(base="tiny", device="cpu"), TrainingConfig(r=16)
    )
    optimizer = torch.optim.AdamW(list(trainable_parameters(model).values()), lr=1e-2)
    for _ in range(150):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.01:
            break
    folder = tmp_path_factory.mktemp("better") / "better"
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def root(tiny_base: Path, tmp_path: Path) -> Path:
    """
    A root with the tiny base, two suites and nothing else.
    """
    root = tmp_path / "root"
    (root / "benchmarks").mkdir(parents=True)
    (root / "models" / "base").mkdir(parents=True)
    (root / "models" / "base" / "tiny").symlink_to(tiny_base)
    (root / "config.toml").write_text(CONFIG)
    write(root / "benchmarks" / "say_20.jsonl", ITEMS)
    mixed: list[Any] = [
        {"id": "word", "prompt": "say hi", "expected": ["a"], "scorer": "contains"},
        {
            "id": "pick",
            "prompt": "a or b",
            "scorer": "choice",
            "choices": ["a", "b"],
            "expected": 1,
        },
        {"id": "text", "text": "once upon a time"},
    ]
    write(root / "benchmarks" / "mixed.jsonl", mixed)
    return root


@pytest.fixture
def tool(root: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Tool]:
    """
    Run a verb on the root: its exit status, stdout and stderr.
    """

    def run(name: str, *args: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([name, *map(str, args), "--root", str(root)])
        except SystemExit as error:
            status = error.code
        out = capsys.readouterr()
        return status, out.out, out.err

    yield run
    structlog.reset_defaults()


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("test", ["--limit", "0"]),
        ("test", ["--harness", "x", "--suite", "y"]),
        ("compare", ["--model-a", "tiny"]),
        ("canary", []),
        ("canary", ["add", "--id", "x"]),
        ("canary", ["add", "--id", "x", "--prompt", "p", "--expected", "e", "--as-is"]),
    ],
)
def test_wrong_usage_is_status_2(tool: Tool, name: str, args: list[str]) -> None:
    """
    A script can tell a typing error from a model that fails.
    """
    assert 2 == tool(name, *args)[0]


# -- test -------------------------------------------------------------------------


def test_the_table_says_what_the_stored_items_say(tool: Tool, root: Path, better: Path) -> None:
    """
    Every number of the table can be counted again from the file that it names.
    """
    status, out, _ = tool("test", "--model", better, "--verbose")
    assert 0 == status
    document = orjson.loads((root / "models" / "reports" / "test-better.json").read_bytes())
    marks: dict[str, list[bool]] = {}
    for item in document["items"]:
        outcome = item["outcomes"]["model"]
        if outcome["correct"] is not None:
            marks.setdefault(item["suite"], []).append(outcome["correct"])
    assert ["Mixed:", "Say 20:"] == [
        line[:7].strip() for line in out.splitlines() if line[:1] in ("M", "S")
    ]
    right = {suite: sum(found) for suite, found in marks.items()}
    assert 18 <= right["say_20"]
    assert f"({right['say_20']}/20, " in out
    assert f"Overall: {round(100 * sum(right.values()) / 22)}% ({sum(right.values())}/22, " in out
    assert f"all answers: {root / 'models' / 'reports' / 'test-better.json'}" in out
    assert 23 == len(document["items"])


def test_a_second_run_asks_nothing_and_says_the_same(tool: Tool, root: Path) -> None:
    """
    Answers come from the store, are counted as such, and are asked again with --fresh.
    """
    first, again, fresh = (
        json.loads(tool("test", "--model", "tiny", "--json", *more)[1])
        for more in ([], [], ["--fresh"])
    )

    assert [0, 23, 0] == [d["overall"]["n_cached"] for d in (first, again, fresh)]
    for one, other in zip(first["suites"], again["suites"], strict=True):
        same = ("n_correct", "n_exact", "loss", "interval_95", "mean_answer_tokens")
        assert [one["score"][k] for k in same] == [other["score"][k] for k in same]
    _, out, _ = tool("test", "--model", "tiny")
    assert "23 items, 23 of them known from before" in out
    assert (root / "models" / "answers.sqlite3").is_file()


def test_known_answers_need_no_torch(tool: Tool, root: Path) -> None:
    """
    A second run takes the time of reading, not that of loading a model.
    """
    args = ["test", "--model", "tiny", "--suite", "say_20", "--root", str(root)]
    assert 0 == tool(*args)[0]
    code = (
        "import sys\nfrom finetuned.cli.program import main\n"
        "status = main(sys.argv[1:])\n"
        "sys.exit(70 if {'torch', 'peft'} & set(sys.modules) else status)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(PACKAGE_PARENT)},
    )

    assert 0 == found.returncode, found.stderr
    assert "20 items, 20 of them known from before" in found.stdout


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
def test_the_signature_made_without_torch_is_that_of_torch(device: str, dtype: str) -> None:
    """
    It is part of every answer's key: a difference would ask everything anew.
    """
    import torch

    from finetuned.config import ModelConfig
    from finetuned.evaluation.subjects import compute_signature
    from finetuned.model.load import pick_device, pick_dtype

    found = pick_device(device)
    expected = [str(pick_dtype(dtype, found)), found.type, torch.__version__]
    assert expected == compute_signature(ModelConfig(device=device, dtype=dtype))


def test_versions_folders_and_bases_can_be_named(tool: Tool, root: Path, better: Path) -> None:
    """
    A model is what a person calls it; one that is not there is said to be missing.
    """
    layout = Layout(root)
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    candidate = layout.runs / "r1"
    shutil.copytree(better, candidate)
    (candidate / "training_state").mkdir()
    for name in ("optimizer.safetensors", "state.json"):
        (candidate / "training_state" / name).write_text("-")
    commit_version(layout, candidate, {"run_id": "r1", "parent": None, "base": "tiny"})

    assert 1 == tool("test")[0]
    promote(layout, "v0001")
    out = root / "out.json"
    for text, name in (
        ("current_model/", "v0001"),
        ("v0001", "v0001"),
        (str(layout.versions / "v0001"), "v0001"),
        ("tiny", "tiny"),
        ("models/base/tiny", "tiny"),
    ):
        args = ("--model", text, "--suite", "say_20", "--limit", "4", "--output", out, "--json")
        status, said, _ = tool("test", *args)
        assert 0 == status
        assert name in json.loads(said)["model"]["name"]
    assert "no version v0009" in tool("test", "--model", "v0009")[2]
    assert "not found" in tool("test", "--model", "nowhere")[2]
    (root / "empty").mkdir()
    assert "no model" in tool("test", "--model", root / "empty")[2]


def test_a_suite_that_cannot_be_read_is_named_with_its_line(tool: Tool, root: Path) -> None:
    """
    The others are asked all the same, and the run did not succeed.
    """
    with (root / "benchmarks" / "mixed.jsonl").open("a") as f:
        f.write('{"prompt": "half a li\n')
    status, out, err = tool("test", "--model", "tiny")

    assert 1 == status
    assert "mixed.jsonl:4:" in err
    assert "Mixed:   could not be read" in out
    assert "/20, " in out
    status, _, err = tool("test", "--model", "tiny", "--suite", "gone")
    assert 1 == status
    assert "gone.jsonl: cannot be read" in err


def test_an_answer_that_time_cuts_is_named_and_not_judged(tool: Tool, root: Path) -> None:
    """
    It is in no accuracy, the run did not succeed, and it is not remembered: it is asked again.
    """
    slow = CONFIG.replace("= 12", "= 400\nitem_timeout_seconds = 0.01")
    (root / "config.toml").write_text(slow)
    rows = [{"id": f"w{i}", "prompt": "x", "expected": "zzz", "scorer": "contains"} for i in "ab"]
    write(root / "benchmarks" / "slow.jsonl", rows)
    status, out, err = tool("test", "--model", "tiny", "--suite", "slow")

    assert 1 == status
    assert "timed out: wa, wb" in out
    assert "nothing was asked" in out
    assert "item_timeout_seconds" in err
    assert "known from before" not in tool("test", "--model", "tiny", "--suite", "slow")[1]


def test_a_suite_whose_time_is_over_is_not_passed_off_as_asked(tool: Tool, root: Path) -> None:
    """
    The status is 1 and the limit that ended it is named.
    """
    (root / "config.toml").write_text(CONFIG.replace("= 12", "= 4000\nsuite_timeout_seconds = 0.1"))
    rows = [{"prompt": "x", "expected": "zzz", "scorer": "contains"} for _ in range(400)]
    write(root / "benchmarks" / "slow.jsonl", rows)
    status, _, err = tool("test", "--model", "tiny", "--suite", "slow")

    assert 1 == status
    assert "suite_timeout_seconds" in err


# -- compare ----------------------------------------------------------------------


def test_a_model_does_not_win_against_itself(tool: Tool) -> None:
    """
    The same weights twice: no winner, and no difference.
    """
    args = ("--model-a", "tiny", "--model-b", "tiny", "--test-set", "say_20")
    status, out, _ = tool("compare", *args)

    assert 0 == status
    assert "no winner: no mark and no loss differs" in out
    assert "tok/s" in out
    assert "0.0 points" in out


def test_the_better_model_wins_whichever_comes_first(tool: Tool, root: Path, better: Path) -> None:
    """
    By answers, at 95%, with the numbers of both; the page says the same.
    """
    page = root / "compared.html"
    args = ("--test-set", "say_20", "--html", page)
    status, out, _ = tool("compare", "--model-a", better, "--model-b", "tiny", *args)
    assert 0 == status
    assert "better wins: only better right" in out
    assert "better is better than tiny" in page.read_text()
    args = ("--test-set", "say_20", "--test-set", "mixed", "--json", "--no-speed")
    status, out, _ = tool("compare", "--model-a", "tiny", "--model-b", better, *args)
    found = json.loads(out)
    assert 0 == status
    assert ["b", "b"] == [found["suites"][0]["winner"], found["overall"]["winner"]]
    assert found["suites"][0]["delta_accuracy"] > 80
    assert found["suites"][0]["delta_loss"] < 0
    assert found["speed"] is None


def test_what_cannot_be_read_is_not_compared(tool: Tool) -> None:
    """
    No table with a hole in it.
    """
    args = ("--model-a", "tiny", "--model-b", "tiny", "--test-set", "gone")
    status, out, err = tool("compare", *args)

    assert (1, "") == (status, out)
    assert "gone.jsonl" in err


# -- canary -----------------------------------------------------------------------


def add(tool: Tool, name: str, *more: str) -> tuple[int, str, str]:
    prompt = () if "--prompt" in more else ("--prompt", f"question {name}")
    return tool("canary", "add", "--id", name, "--expected", "yes", *prompt, *more)


def test_adding_and_removing_leaves_every_other_byte_alone(tool: Tool, root: Path) -> None:
    """
    Odd spacing, blank lines and a missing last line break are a person's business.
    """
    path = root / "benchmarks" / "canaries.jsonl"
    kept = b'{"id": "old",   "prompt":"a", "completion":"b"}\r\n\n{"prompt":"c","completion":"d"}'
    path.write_bytes(kept)

    assert 0 == add(tool, "one")[0]
    assert path.read_bytes().startswith(kept + b"\n")
    assert ["old", "3", "one"] == [q.id for q in load_suite(path).questions]
    assert 0 == tool("canary", "remove", "one", "--confirm", "one")[0]
    assert kept + b"\n" == path.read_bytes()
    assert [path] == [p for p in path.parent.iterdir() if "canar" in p.name]


def test_nothing_is_added_twice_or_removed_unconfirmed(tool: Tool, root: Path) -> None:
    """
    A refusal names the reason and changes nothing.
    """
    path = root / "benchmarks" / "canaries.jsonl"
    add(tool, "one")
    before = path.read_bytes()

    assert "already" in add(tool, "one", "--prompt", "other")[2]
    assert "asks the same" in add(tool, "two", "--prompt", "question   one")[2]
    assert "no scorer 'nope'" in add(tool, "two", "--scorer", "nope")[2]
    assert (
        "not a regular"
        in tool(
            "canary", "add", "--id", "r", "--prompt", "p", "--expected", "(", "--scorer", "regex"
        )[2]
    )
    assert "control_token" in add(tool, "two", "--prompt", "say <|im_end|>")[2]
    assert "--confirm" in tool("canary", "remove", "one")[2]
    assert "the last one" in tool("canary", "remove", "one", "--confirm", "one")[2]
    assert "no canary" in tool("canary", "remove", "none", "--confirm", "none")[2]
    assert before == path.read_bytes()


def test_a_mistake_elsewhere_in_the_configuration_does_not_keep_a_canary_out(
    tool: Tool, root: Path
) -> None:
    """
    Adding one needs [model] and [data]; what else is wrong is said.
    """
    (root / "config.toml").write_text(CONFIG + "[training]\nlearning_rat = 1\n")
    status, out, err = add(tool, "one")
    assert (0, True) == (status, "one was added" in out)
    assert "unknown key training.learning_rat" in err
    (root / "config.toml").write_text("[model]\nbas = 'tiny'\n")
    assert 1 == add(tool, "two")[0]


def test_passwords_do_not_get_into_the_list(tool: Tool, root: Path) -> None:
    """
    Neither the one in an expected intent nor the one that only the wrong answer gives away.
    """
    intent = {"action": "add_user", "username": "bob", "password": "hunter2"}
    prompt = "Create the user bob with password hunter2"
    text = json.dumps(intent)
    added = tool("canary", "add", "--id", "own", "--prompt", prompt, "--expected", text)
    assert 0 == added[0]
    right = {"action": "user_add", "username": "eve", "password_ref": "secret://eve"}
    record = {
        "id": "q1",
        "query": "Make eve a user, password s3cret!",
        "response": json.dumps({"action": "user_add", "username": "eve", "password": "s3cret!"}),
        "correct_intent": right,
    }
    log = write(root / "log.jsonl", [record])
    assert 0 == tool("canary", "add", "--from-production", log)[0]

    data = (root / "benchmarks" / "canaries.jsonl").read_text()
    assert "hunter2" not in data
    assert "s3cret!" not in data
    own, other = load_suite(root / "benchmarks" / "canaries.jsonl").questions
    assert ["own", "q1"] == [own.id, other.id]
    assert "Create the user bob with password secret://bob" == own.prompt
    assert right == json.loads(other.golden or "")
    assert "json" == other.scorer.name


def test_production_answers_are_taken_corrected_or_vouched_for(tool: Tool, root: Path) -> None:
    """
    That a model said it is no reason to expect it.
    """
    records: list[dict[str, Any]] = [
        {"id": "a", "prompt": "2+2?", "answer": "5", "correct_answer": "4"},
        {"id": "b", "query_text": "3+3?", "response_text": "6", "feedback": "thumbs_up"},
        {"id": "c", "prompt": "4+4?", "answer": "9", "feedback": "thumbs_down"},
        {
            "id": "d",
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "5+5?"},
                {"role": "assistant", "content": "10"},
            ],
        },
    ]
    log = write(root / "log.jsonl", records)
    taken = ("canary", "add", "--from-production", log)

    assert 0 == tool(*taken, "--line", "1")[0]
    assert "nobody has said what is right" in tool(*taken, "--id", "b")[2]
    assert 0 == tool(*taken, "--id", "b", "--as-is")[0]
    assert "answered wrongly" in tool(*taken, "--id", "c", "--as-is")[2]
    assert 0 == tool(*taken, "--id", "c", "--expected", "8")[0]
    assert 0 == tool(*taken, "--line", "4", "--as-is")[0]
    assert "choose with --line" in tool(*taken)[2]
    assert "no record" in tool(*taken, "--line", "9")[2]
    questions = load_suite(root / "benchmarks" / "canaries.jsonl").questions
    assert ["4", "6", "8", "10"] == [q.golden for q in questions]
    assert "be brief" == questions[3].system
    assert ["a", "b", "c", "d"] == [q.id for q in questions]
    assert 4 == len(json.loads(tool("canary", "list", "--json")[1])["canaries"])


def test_processes_that_add_at_once_lose_nothing(root: Path) -> None:
    """
    Each waits for the other: two times four canaries are eight.
    """
    code = (
        "import sys\nfrom finetuned.cli.program import main\n"
        "for i in range(4):\n"
        "    add = ['canary', 'add', '--root', sys.argv[1], '--expected', 'yes']\n"
        "    n = sys.argv[2] + str(i)\n"
        "    assert main([*add, '--id', n, '--prompt', n]) == 0"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(root), name],
            env={"PYTHONPATH": str(PACKAGE_PARENT)},
            stdout=subprocess.DEVNULL,
        )
        for name in ("left", "right")
    ]

    assert [0, 0] == [process.wait(120) for process in both]
    found = {q.id for q in load_suite(root / "benchmarks" / "canaries.jsonl").questions}
    assert {f"{name}{i}" for name in ("left", "right") for i in range(4)} == found


def test_a_run_lists_what_a_model_fails(tool: Tool, root: Path, better: Path) -> None:
    """
    Status 0 only where all passed; what was expected stands beside what was said.
    """
    write(root / "benchmarks" / "canaries.jsonl", ITEMS[:4])
    status, out, _ = tool("canary", "run", "--model", better)
    assert (0, True) == (status, "Canaries: 100% (4/4, " in out)
    status, out, _ = tool("canary", "run", "--model", "tiny")
    assert 1 == status
    assert "say-0\n  asked     say 0\n  expected  yes\n  answered  " in out


# -- lm-evaluation-harness ----------------------------------------------------------


def test_suites_become_tasks_of_the_harness(tool: Tool, root: Path) -> None:
    """
    One YAML and one data file per suite and scorer; what cannot be expressed is said.
    """
    folder = root / "tasks"
    status, out, _ = tool("test", "--export-harness", folder)

    assert 0 == status
    assert "1 item, scorer contains" in out
    assert {"finetuned_mixed", "finetuned_say_20"} == {p.stem for p in folder.glob("*.yaml")}
    lines = (folder / "finetuned_say_20.yaml").read_text().splitlines()
    values = dict(line.split(": ", 1) for line in lines if not line.startswith("#"))
    assert "generate_until" == json.loads(values["output_type"])
    assert "exact_match" == json.loads(values["metric_list"])[0]["metric"]
    data = Path(json.loads(values["dataset_kwargs"])["data_files"]["test"])
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    assert [i["completion"] for i in ITEMS] == [row["expected"] for row in rows]
    mixed = (folder / "finetuned_mixed.yaml").read_text()
    assert "multiple_choice" in mixed
    assert "# left out" in mixed


def test_a_harness_that_is_not_there_is_said_to_be_missing(tool: Tool) -> None:
    """
    One line with the command that installs it.
    """
    from finetuned.evaluation.by_hand.harness_run import is_installed

    if is_installed():
        pytest.skip("lm_eval is installed")
    status, out, err = tool("test", "--model", "tiny", "--harness", "arc_easy")

    assert (1, "") == (status, out)
    assert "pip install" in err
