"""
Pages of eval reports and comparisons: complete, inert, the same every time.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.text import visible
from finetuned.errors import ModelError, RegistryError
from finetuned.layout import Layout
from finetuned.reports import summary
from finetuned.reports.compare import comparison_page
from finetuned.reports.examples import differing_words, share_out
from finetuned.reports.page import evaluation_page, render_version
from finetuned.reports.wording import accuracy, number, percent, signed
from support.eval_reports import make_comparison, make_report

CHECKOUT = Path(__file__).parents[2]
HOSTILE = (
    "</script></pre></svg><img src=x onerror=alert(1)><script>alert(2)</script>"
    "\"' onload=x {{ 7 * 7 }} $\\frac{1}{2}$ \x1b[31m\x00\u202e\ud800 &amp; ]]>"
)
KNOWN_TAGS = frozenset(
    re.findall(
        r"\w+",
        """
        html head meta title style body script main section article header h1 h2 h3 p ul li b
        small table thead tbody tr th td details summary figure figcaption div span a pre ins
        del label select option button output svg g defs path use text clippath rect
        """,
    )
)


class Reader(HTMLParser):
    """What a browser would see: tags, attributes, text; scripts and styles apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts, self._inside = "", [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.text += data


def hostile(value: object, keep: tuple[str, ...] = ()) -> object:
    """Return *value* with every string in it replaced, but for those under *keep*."""
    if isinstance(value, dict):
        return {k: v if k in keep else hostile(v, keep) for k, v in value.items()}
    if isinstance(value, list):
        return [hostile(v, keep) for v in value]
    return HOSTILE if isinstance(value, str) else value


def make_hostile_report() -> dict:
    """Return a report in which all text is hostile, but for what joins its parts."""
    report = make_report()
    report["items"][0]["id"] = "first"
    return hostile(report, keep=("name", "suite", "origin", "sha256")) | {
        "verdict": hostile(report["verdict"], keep=("suite",))
    }


def put(root: Path, version: str, report: dict) -> Layout:
    folder = root / "models" / "versions" / version
    folder.mkdir(parents=True)
    (folder / "eval_report.json").write_text(json.dumps(report))
    (folder / "manifest.json").write_text("{}")
    return Layout(root)


def tool(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, CHECKOUT / "tools" / "report.py", *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(CHECKOUT / "daemon"), "PATH": "/usr/bin:/bin"},
    )


# -- what is on the page --------------------------------------------------------------


@pytest.mark.parametrize("promoted", [True, False])
def test_the_page_says_all_that_the_gate_saw(promoted):
    """
    Verdict, suites, scores, rules and their numbers: nothing is only in the file.
    """
    report = make_report(promoted=promoted)
    text = Reader(evaluation_page(report, history=[])).text

    assert ("v0004 was promoted over v0003: " if promoted else "rejected, v0003 stays") in text
    assert report["verdict"]["reason"] in text
    for suite in report["suites"]:
        assert suite["title"] in text
        for subject in report["subjects"].values():
            assert accuracy(subject["suites"][suite["name"]]) in text
    for rule in report["verdict"]["rules"]:
        assert rule["name"] in text
        assert rule["detail"] in text
        for name, value in rule["numbers"].items():
            assert f"{name} {number(value, digits=4)}" in text
    for row in report["forgetting"]["matrix"]["rows"]:
        assert row["version"] in text
    assert "Backward transfer: -4.5 points" in text
    assert "from 95% at its best to 74% now, 21 points" in text


def test_failed_advice_does_not_look_like_a_failed_rule():
    """
    A reader must see which rule it was that rejected.
    """
    page = evaluation_page(make_report(promoted=False), history=[])

    assert '<b class="bad">failed</b>' in page
    assert '<b class="advice">advice, failed</b>' in page


def test_the_change_stands_with_its_interval():
    """
    A change without its uncertainty says more than is known.
    """
    report = make_report(300)
    scores = [report["subjects"][s]["suites"]["new-services"] for s in ("incumbent", "candidate")]
    change = 100 * (scores[1]["accuracy"] - scores[0]["accuracy"])
    text = Reader(evaluation_page(report, history=[])).text

    assert signed(change) in text
    assert "95%: +4.2 to +61.0" in text


def test_a_rule_that_nothing_could_fail_is_not_shown_as_passed():
    """
    An incumbent that passes no canary has none to lose: that is no evidence, and not green.
    """
    report = make_report()
    rule = {"name": "canaries", "required": True, "suite": "canaries", "detail": "of 14"}
    report["verdict"]["rules"] = [
        {**rule, "passed": True, "numbers": {"kept": 0, "lost": 0}},
        {**rule, "passed": True, "numbers": {"kept": 3, "lost": 0}},
        {**rule, "passed": False, "numbers": {"kept": 0, "lost": 2}},
    ]

    assert ["no evidence", "passed", "failed"] == [r["word"] for r in summary.rule_rows(report)]
    assert "good" not in summary.rule_rows(report)[0]["style"]


def test_a_count_of_sequences_is_not_called_examples_of_the_file():
    """
    150 lines trained for 4 epochs are 568 sequences and 8 held-out rows, not 568 examples.
    """
    report = make_report()
    report["datasets"] = [{"dataset_id": "d1", "name": "lights.jsonl", "n_examples": 568}]
    text = Reader(evaluation_page(report, history=[])).text

    assert "lights.jsonl (568 training sequences, repeats counted)" in text


def test_one_point_is_a_sentence_and_not_a_chart():
    """
    A line through one point shows nothing that the number does not say.
    """
    report = make_report()
    report["curves"] = {"train_loss": [[5, 1.875]], "held_out_loss": [], "kl": [[5, 0.01]]}
    one = Reader(evaluation_page(report, history=[])).text
    report["curves"] = {"train_loss": [[5, 1.875], [6, 1.5]], "held_out_loss": [[6, 2.0]], "kl": []}
    two = evaluation_page(report, history=[])

    assert "Measured once, in nats per token: training rows 1.875 at step 5." in one
    assert "Measured once, in nats per token: divergence 0.010 at step 5." in one
    assert "Measured once" not in two
    assert 'aria-label="loss by optimizer step"' in two


def test_an_incomplete_suite_is_marked():
    """
    Partial evidence must not look like evidence.
    """
    report = make_report()
    report["subjects"]["candidate"]["suites"]["old-lights"].update(complete=False, n_asked=9)

    assert "incomplete: 9 of 13 asked" in Reader(evaluation_page(report, history=[])).text


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        ("curves", None, "No loss was recorded"),
        ("curves", {"train_loss": None, "held_out_loss": [], "kl": None}, "No divergence"),
        ("curves", {"train_loss": [[1, None]], "held_out_loss": [], "kl": []}, "No loss was"),
        ("forgetting", None, "There is no forgetting matrix"),
        (
            "forgetting",
            {"backward_transfer": None, "worst_drop": None, "matrix": None},
            "There is no backward transfer",
        ),
        (
            "interpolation",
            None,
            "it was trained on was tried",
        ),
        (
            "interpolation",
            {"tried": [], "chosen": None},
            "No mixture of the candidate and the version",
        ),
        ("items", [], "No answer was judged"),
        ("suites", [], "No suite was asked"),
        ("subjects", {"candidate": {"suites": {}}}, "not asked"),
        ("datasets", [], "nothing new"),
    ],
    ids=lambda v: json.dumps(v)[:40],
)
def test_what_is_missing_is_a_sentence(part, value, sentence):
    """
    The page of a run that went wrong is the one that is needed most.
    """
    text = Reader(evaluation_page({**make_report(), part: value}, history=[])).text

    assert sentence in " ".join(text.split())


def test_a_held_version_is_called_held_and_the_head_is_named():
    """
    In the headline and in the history; it is neither promoted nor rejected.
    """
    report = make_report(promoted=False)
    report["verdict"]["outcome"] = "held"
    report["head"] = "v0002"
    page = evaluation_page(report, history=[])
    text = Reader(page).text

    assert "v0004 was held, v0003 stays in use and training goes on from v0004" in text
    assert "v0002, the head" in text
    assert 'class="verdict held"' in page


def test_an_incumbent_that_is_the_base_was_asked_once():
    """
    Its scores are the base's, its answers are not shown twice.
    """
    report = make_report(incumbent=None)
    text = Reader(evaluation_page(report, history=[])).text

    assert "promoted over the base model micro" in text
    assert "The release is the base model" in text
    assert 2 <= text.count(accuracy(report["subjects"]["base"]["suites"]["old-lights"]))


def test_a_suite_that_could_not_be_asked_says_why():
    """
    A suite without scores is not a suite without a problem.
    """
    report = make_report()
    report["suites"][2]["problem"] = "json_commands.jsonl:7: no expected answer"
    for subject in report["subjects"].values():
        del subject["suites"]["json_commands"]

    assert "json_commands.jsonl:7: no expected" in evaluation_page(report, history=[])


def test_earlier_versions_are_listed_with_the_suites_they_share():
    """
    A number means more beside the one before it; other questions are another number.
    """
    before = [make_report(version=v, seed=i) for i, v in enumerate(("v0001", "v0002"), 1)]
    before[0]["suites"][1]["sha256"] = "0" * 64
    before[0]["subjects"]["candidate"]["suites"]["old-lights"]["n_asked"] = 777
    text = Reader(evaluation_page(make_report(), history=before)).text
    known = [accuracy(b["subjects"]["candidate"]["suites"]["old-lights"]) for b in before]

    listed = text[text.index("Versions before this one") : text.index("Example answers")]

    assert ["v0004", "v0002", "v0001"] == re.findall(r"v\d{4}", listed)
    assert known[1] in listed
    assert known[0] not in listed


# -- examples -------------------------------------------------------------------------


def test_what_changed_comes_first_and_the_rest_is_counted():
    """
    60 changed, 40 others, and the page says how many it leaves out.
    """
    page = evaluation_page(make_report(700), history=[])
    kinds = [a["data-kind"] for tag, a in Reader(page).tags if tag == "article"]

    assert 100 == len(kinds)
    assert 60 == sum(kind in ("better", "worse") for kind in kinds)
    assert ["better", "worse", "wrong", "right"] == list(dict.fromkeys(kinds))
    totals = re.findall(r"(?:better|worse|after) \((\d+)\)</button>", page)
    left_out = re.findall(r"(\d+) more that", page)
    assert 700 == sum(map(int, totals)) == 100 + sum(map(int, left_out))


@given(st.text('ab {}":,\n', max_size=40), st.text('ab {}":,\n', max_size=40))
def test_marking_words_changes_none(golden, answer):
    """
    Without what is struck out, the marked answer is the answer.
    """
    pieces = differing_words(golden, answer)

    assert answer == "".join(text for kind, text in pieces if kind != "del")


def test_the_words_that_differ_are_marked_and_no_others():
    """
    One wrong field in a JSON object is one mark.
    """
    pieces = differing_words('{"host": "web-3", "do": "stop"}', '{"host": "db-3", "do": "stop"}')

    assert [("del", "web"), ("ins", "db")] == [p for p in pieces if p[0] != "same"]
    assert [("same", "stop")] == differing_words("stop", "stop")


@given(st.integers(0, 200), st.lists(st.integers(0, 90), min_size=1, max_size=5))
def test_room_on_the_page_is_shared_out_whole(limit, sizes):
    """
    No kind gets more than it has, and no place stays empty that could be filled.
    """
    taken = share_out(limit, sizes)

    assert min(limit, sum(sizes)) == sum(taken)
    assert all(0 <= t <= s for t, s in zip(taken, sizes, strict=True))


# -- hostile text ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "page",
    [
        lambda: evaluation_page(make_hostile_report(), history=[make_hostile_report()]),
        lambda: comparison_page(hostile(make_comparison(), keep=("winner", "suite"))),
    ],
    ids=["evaluation", "comparison"],
)
def test_hostile_text_is_inert(page):
    """
    What a model answered, or somebody called a file, is shown and never obeyed.
    """
    made = page()
    seen = Reader(made)

    assert {tag for tag, _ in seen.tags} <= KNOWN_TAGS
    assert 1 == len(seen.scripts)
    assert "alert" not in seen.scripts[0]
    assert not [a for _, attrs in seen.tags for a in attrs if a.startswith("on")]
    assert "<img src=x onerror=alert(1)>" in seen.text
    assert "{{ 7 * 7 }}" in seen.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\ud800]", made)
    made.encode()


@pytest.mark.parametrize("name", ["</style><b>", "a$b$c", "漢字 ملف.jsonl", "x" * 500, ""])
def test_any_file_name_can_be_drawn(name):
    """
    Names go into the charts too, where a dollar sign is no formula.
    """
    report = make_report()
    report["suites"][0]["title"] = name
    report["forgetting"]["matrix"]["columns"][0] = name
    seen = Reader(evaluation_page(report, history=[]))

    assert {tag for tag, _ in seen.tags} <= KNOWN_TAGS


@pytest.mark.parametrize(
    "page",
    [
        lambda: evaluation_page(make_report(), history=[make_report(version="v0003")]),
        lambda: comparison_page(make_comparison()),
    ],
    ids=["evaluation", "comparison"],
)
def test_a_page_needs_nothing_else(page):
    """
    It can be mailed, and read without a network; what it may load is nothing at all.
    """
    made = page()
    tags = Reader(made).tags
    links = [a[key] for _, a in tags for key in ("src", "href", "xlink:href") if key in a]

    assert all(re.fullmatch(r"#[\w-]+|v\d{4}\.html", link) for link in links)
    assert not re.search(r"https?://|@import|url\((?!#)", made)
    assert any("default-src 'none'" in (a.get("content") or "") for _, a in tags)


def test_references_within_the_page_lead_somewhere_and_only_once():
    """
    Charts beside each other do not borrow each other's parts.
    """
    made = evaluation_page(make_report(), history=[])
    ids = re.findall(r'\sid="([^"]+)"', made)

    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([\w-]+)', made)) <= set(ids)


def test_a_page_is_the_same_every_time():
    """
    No date of making, no random ids: two pages differ only where reports do.
    """
    code = (
        "import sys, hashlib; sys.path.insert(0, 'tests');"
        "from support.eval_reports import make_report;"
        "from finetuned.reports.page import evaluation_page;"
        "print(hashlib.sha256(evaluation_page(make_report(), history=[]).encode()).hexdigest())"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=CHECKOUT,
            env={"PYTHONPATH": "daemon", "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert 1 == len(made)


def test_700_items_take_less_than_5_seconds():
    """
    A page is made after every job; also where answers are long and all alike.
    """
    report = make_report(700)
    for item in report["items"]:
        item["golden"] = "a, b; " * 2_000
        for outcome in item["outcomes"].values():
            outcome["answer"] = "b, a; " * 3_000
    evaluation_page(make_report(), history=[])  # imports matplotlib, once per process
    began = time.monotonic()
    page = evaluation_page(report, history=[])

    assert time.monotonic() - began < 5
    assert "more characters" in page


# -- comparison -----------------------------------------------------------------------


def test_a_comparison_shows_the_table_and_what_differs():
    """
    Who is better, why, and on which questions.
    """
    comparison = make_comparison()
    seen = Reader(comparison_page(comparison))
    kinds = {a["data-kind"] for tag, a in seen.tags if tag == "article"}

    assert "Neither v0003 nor v0004 is shown to be better: p = 0.0547" in seen.text
    for suite in comparison["suites"]:
        assert suite["title"] in seen.text
        assert accuracy(suite["a"]) in seen.text
        assert signed(suite["delta_accuracy"]) in seen.text
    assert "McNemar exact" in seen.text
    assert {"only_a", "only_b", "both_wrong"} == kinds


def test_models_of_the_same_name_are_told_apart():
    """
    Two folders may have the same last name.
    """
    comparison = make_comparison()
    comparison["a"]["name"] = comparison["b"]["name"] = "micro"

    assert "micro (a)" in comparison_page(comparison)


def test_a_comparison_of_nothing_is_a_sentence():
    """
    No suite in common is a result too.
    """
    made = comparison_page({**make_comparison(), "suites": [], "overall": None, "items": []})

    assert "No suite was asked." in made
    assert "0 items differ, 0 do not." in made


# -- numbers --------------------------------------------------------------------------


@given(st.floats(0, 1))
def test_all_and_none_are_said_only_where_they_are_true(share):
    """
    199 of 200 is not 100%.
    """
    assert (percent(share) == "100%") == (share == 1)
    assert (percent(share) == "0%") == (share == 0)


def test_an_accuracy_is_shown_with_its_counts_and_interval():
    """
    86% of 7 and 86% of 700 are not the same claim.
    """
    score = {"accuracy": 0.86, "n_correct": 172, "n_asked": 200, "interval_95": [0.805, 0.901]}

    assert "86% (172/200, 80-90)" == accuracy(score)
    assert "not measured" == accuracy({**score, "accuracy": None})


@pytest.mark.parametrize(
    ("value", "shown"),
    [(3, "3"), (0.05, "0.05"), (2.0, "2"), (0.00001, "1.0e-05"), (None, "-"), (True, "yes")],
)
def test_numbers_are_as_long_as_they_need_to_be(value, shown):
    """
    Whole numbers have no places, small ones are not zero.
    """
    assert shown == number(value)


@given(st.text())
def test_visible_text_can_be_written_and_seen(text):
    """
    Whatever was generated, the page is UTF-8 and hides nothing.
    """
    shown = visible(text)

    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]", shown)
    shown.encode()


# -- files ----------------------------------------------------------------------------


def test_a_version_is_rendered_beside_the_others(tmp_path):
    """
    models/reports/ has one page per version; the folder is made when it is needed.
    """
    put(tmp_path, "v0001", make_report(version="v0001", incumbent=None))
    layout = put(tmp_path, "v0002", make_report(version="v0002", incumbent="v0001"))

    assert layout.reports / "v0002.html" == render_version(layout, "v0002")
    assert ["v0002.html"] == [p.name for p in layout.reports.iterdir()]
    assert 'href="v0001.html"' in (layout.reports / "v0002.html").read_text()


@pytest.mark.parametrize("name", ["v0009", "../v0001", ""])
def test_a_version_that_is_not_there_is_an_error(tmp_path, name):
    """
    Names come from people; none leads out of models/versions/.
    """
    layout = put(tmp_path, "v0001", make_report(version="v0001", incumbent=None))

    with pytest.raises(RegistryError):
        render_version(layout, name)
    assert not layout.reports.exists()


@pytest.mark.parametrize("text", [None, "", "[]", '{"schema_version": 1}'])
def test_a_report_that_cannot_be_shown_is_an_error(tmp_path, text):
    """
    Missing, cut or of an older kind: one sentence, and an earlier page stays.
    """
    layout = put(tmp_path, "v0001", {})
    path = layout.versions / "v0001" / "eval_report.json"
    path.unlink()
    if text is not None:
        path.write_text(text)

    with pytest.raises(ModelError, match="v0001"):
        render_version(layout, "v0001")


def test_the_daemon_has_pages_made_by_a_child(tmp_path):
    """
    python -m finetuned.reports.page; importing the module alone loads no matplotlib.
    """
    put(tmp_path, "v0001", make_report(version="v0001", incumbent=None))
    env = {"PYTHONPATH": str(CHECKOUT / "daemon")}
    command = [sys.executable, "-m", "finetuned.reports.page", "--root", tmp_path]
    made = subprocess.run([*command, "v0001"], env=env, capture_output=True, text=True, check=True)
    bad = subprocess.run([*command, "v0002"], env=env, capture_output=True, text=True, check=False)
    code = (
        "import finetuned.reports.page, sys;"
        "sys.exit(any(name in sys.modules for name in ('matplotlib', 'torch', 'numpy')))"
    )

    assert Path(made.stdout.strip()).is_file()
    assert (70, "there is no version v0002; the newest are: v0001\n") == (
        bad.returncode,
        bad.stderr,
    )
    subprocess.run([sys.executable, "-c", code], env=env, check=True)


def test_the_tool_makes_pages_and_says_where(tmp_path):
    """
    One version, all of them, or a file of one's own choice.
    """
    put(tmp_path, "v0001", {"schema_version": 1})
    put(tmp_path, "v0002", make_report(version="v0002", incumbent=None))
    (tmp_path / "current_model").symlink_to("models/versions/v0002")
    page = str(tmp_path / "models" / "reports" / "v0002.html")
    own = tmp_path / "own.html"
    current = tool("--root", tmp_path)
    everything = tool("--root", tmp_path, "--all", "--json")
    chosen = tool("--root", tmp_path, "v0002", "--output", own)

    assert (0, page + "\n", "") == (current.returncode, current.stdout, current.stderr)
    assert 1 == everything.returncode
    assert {"v0002": page} == json.loads(everything.stdout)["pages"]
    said = "finetuned report: v0001 has an eval report of schema_version 1;"
    assert everything.stderr.startswith(said)
    assert 1 == everything.stderr.count("\n")
    assert (0, own.read_bytes()) == (chosen.returncode, Path(page).read_bytes())


@pytest.mark.parametrize("args", [["--root", "/nowhere"], ["--all", "--output", "x"]])
def test_wrong_usage_of_the_tool_is_status_2(args):
    """
    argparse's status, and nothing is written.
    """
    assert 2 == tool(*args).returncode


def test_a_page_says_what_can_be_done_about_lost_canaries():
    """
    With both answers, and with commands; a candidate that was promoted needs none.
    """
    held, promoted = make_report(promoted=False), make_report(promoted=True)
    for report in (held, promoted):
        report["suites"].append({**report["suites"][0], "name": "canaries", "origin": "canary"})
        outcomes = {s: {**o} for s, o in report["items"][0]["outcomes"].items()}
        outcomes["incumbent"] |= {"correct": True, "answer": "Hello."}
        outcomes["candidate"] |= {"correct": False, "answer": HOSTILE}
        report["items"].append(
            {**report["items"][0], "suite": "canaries", "id": "motd", "outcomes": outcomes}
        )
    text = " ".join(Reader(evaluation_page(held, history=[])).text.split())

    assert "Canaries that were lost" in text
    assert 'was answered "Hello." by the release and is answered' in text
    assert "finetuned canary remove motd --confirm motd" in text
    assert "finetuned versions promote v0004 --anyway" in text
    assert "Canaries that were lost" not in evaluation_page(promoted, history=[])
