"""
Laws of the sealed suite. What fails names ids and counts, never an item.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from experiments.base_model.forbidden import Forbidden, phrasing_of
from experiments.sealed import (
    Refused,
    Score,
    append,
    counts,
    lines,
    main,
    scored_before,
    weights_sha256,
)
from experiments.sealed_set import FOLDER, SealBroken, open_sealed
from finetuned.core.scoring.grade import Grade
from finetuned.data.intents import canonical
from finetuned.data.suite import load_suite, read_suite
from finetuned.inference.outcome import Outcome, Raw
from finetuned.sources.intents import training_rows
from finetuned.sources.intents.entities import is_heldout
from finetuned.sources.intents.grammar import GAP
from finetuned.sources.intents.tables import stems
from support.alike import alike

BENCHMARKS = FOLDER.parent
GROUPS = {"dns": 50, "users": 50, "samba": 50, "complex": 50}
AROUND = {"svc", "users", "vault"} | {part for p in stems("parent") for part in p.split("/")}
"""Parts of names that say what they are, and belong to neither half."""


class Hidden(dict[str, Any]):
    """
    A dict that a failing test does not show.
    """

    def __repr__(self) -> str:
        return f"<{len(self)} sealed>"


@pytest.fixture(scope="module")
def rows() -> Hidden:
    found = map(orjson.loads, open_sealed().data.splitlines())
    return Hidden({row["id"]: Hidden(row) for row in found})


def names(row: dict[str, Any]) -> list[tuple[str, str]]:
    """
    Return kind and value of every name in a row's prompt.
    """
    parts = GAP.split(row["metadata"]["phrasing"])
    pattern = "".join(re.escape(p) if i % 2 == 0 else "(.+?)" for i, p in enumerate(parts))
    found = re.fullmatch(pattern, row["messages"][0]["content"])
    assert found is not None, row["id"]
    return list(zip((k.rstrip("0123456789") for k in parts[1::2]), found.groups(), strict=True))


def stems_of(kind: str, name: str) -> list[str]:
    """
    Return the parts of a name that the two halves of names are told by.
    """
    if kind == "ip":
        return [name]
    name = name.removeprefix("secret://")
    if kind in ("zone", "target", "wild"):
        ends = sorted((s for s in stems("suffix") if name.endswith(f".{s}")), key=len)
        name = name.removesuffix(ends[-1])
    words = (w.rstrip("0123456789") for w in re.split(r"[^a-z0-9]+", name))
    return [w for w in words if len(w) > 1 and w not in AROUND]


def test_the_seal_holds():
    """
    The bytes are those of the manifest: 50 items a group, with answers in the schema.
    """
    sealed = open_sealed()
    suite = read_suite(sealed.path, sealed.data)
    groups = Counter(q.id.rpartition("-")[0] for q in suite.questions)
    changed = [
        q.id
        for q in suite.questions
        if canonical(orjson.loads(q.golden or "")) != orjson.loads(q.golden or "")
    ]

    assert GROUPS == sealed.items == groups
    assert {"json"} == {q.scorer.name for q in suite.questions}
    assert [] == changed


def test_its_names_are_of_the_half_that_is_never_trained(rows):
    """
    Every stem and every address is held out, those too that an answer does not repeat.
    """
    trained = sorted(
        {
            ident
            for ident, row in rows.items()
            for kind, name in names(row)
            for stem in stems_of(kind, name)
            if not is_heldout(stem)
        }
    )

    assert [] == trained


def test_it_is_near_no_training_row_and_no_other_suite(rows):
    """
    No row that is trained, and no item that may be read, is a near-duplicate of one of its own.
    """
    visible = [
        orjson.loads(line)
        for path in BENCHMARKS.glob("*.jsonl")
        for line in path.read_bytes().splitlines()
    ]
    others = Forbidden(phrasing_of(r) for r in [*training_rows(), *visible])
    sealed = {ident: phrasing_of(row) for ident, row in rows.items()}
    own = Forbidden(sealed.values())

    assert [] == [ident for ident, phrasing in sealed.items() if phrasing in others]
    assert 0 == sum(phrasing_of(r) in own for r in visible)


def test_no_two_of_its_sentences_are_alike(rows):
    """
    200 items are 200 sentences.
    """
    assert [] == alike([phrasing_of(row) for row in rows.values()])


def test_what_is_opened_is_not_shown(rows):
    """
    A traceback or a debugger's list of variables holds no item.
    """
    assert "data" not in repr(open_sealed())
    assert "<200 sealed>" == repr(rows)


def test_it_lies_where_no_evaluation_reads_it():
    """
    The daemon asks every *.jsonl of benchmarks/; the sealed set is none of them.
    """
    assert [".xz", ".json"] == [p.suffix for p in sorted(FOLDER.iterdir())]


def seal(folder: Path, sha256: str) -> Path:
    """
    Write a folder like benchmarks/sealed/ whose file has the sha256 of b"x" + newline.
    """
    folder.mkdir()
    (folder / "s.xz").write_bytes(b"x\n")
    manifest = {"file": "s.xz", "sha256": sha256, "items": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_set_with_other_bytes_is_refused(tmp_path, capsys):
    """
    Nobody measures with a suite that was changed, or loses one without a word.
    """
    assert 1 == main(["x", "--set", str(seal(tmp_path / "s", "0" * 64))])
    assert "its sha256 is 73cb3858" in capsys.readouterr().err
    with pytest.raises(SealBroken, match="cannot be read"):
        open_sealed(tmp_path / "absent")


def score(base: str, date: str) -> Score:
    return Score(date, "b", base, "v0001", "m", open_sealed().sha256, {"dns": (1, 2)}, False)


def test_a_base_is_scored_once(tmp_path, capsys):
    """
    The second time is refused before a model is loaded, and says when the first was.
    """
    log, base = tmp_path / "log.jsonl", tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"weights")
    sha256 = weights_sha256(base)
    append(log, score("another", "2026-01-01"))

    assert [] == scored_before(log, sha256, open_sealed().sha256)
    append(log, score(sha256, "2026-01-02"))

    assert ["2026-01-02"] == scored_before(log, sha256, open_sealed().sha256)
    assert [] == scored_before(log, sha256, "another suite")
    assert 1 == main([str(base), "--root", str(tmp_path), "--log", str(log)])
    said = capsys.readouterr()
    assert "the base base was scored on 2026-01-02" in said.err
    assert "" == said.out
    assert 2 == len(log.read_text().splitlines())


def outcome(question, correct: bool | None) -> Outcome:
    raw = Raw("", 0.0, 0, 0, 0, stopped=True, timed_out=correct is None, seconds=0.0)
    grade = None if correct is None else Grade(correct, float(correct), {})
    return Outcome(question, raw, "", grade, correct)


def test_what_was_not_answered_in_time_makes_no_score(tmp_path):
    """
    A slow machine never lowers a score: it leaves none.
    """
    path = tmp_path / "s.jsonl"
    path.write_text(
        "".join(f'{{"id": "{i}", "prompt": "p", "completion": "c"}}\n' for i in ("dns-1", "dns-2"))
    )
    one, two = load_suite(path).questions
    items = {"dns": 2}

    assert {"dns": (1, 2)} == counts([outcome(one, True), outcome(two, False)], items)
    with pytest.raises(Refused, match="1 of 2 items were not answered"):
        counts([outcome(one, True), outcome(two, None)], items)
    with pytest.raises(Refused, match="1 of 2"):
        counts([outcome(one, True)], items)


def test_only_counts_are_printed():
    """
    A line holds a group, a count and its interval.
    """
    assert [
        "dns       41 of  50   82%   (95%: 69 to 90)",
        "users     50 of  50  100%   (95%: 93 to 100)",
        "all       91 of 100   91%   (95%: 84 to 95)",
    ] == list(lines({"dns": (41, 50), "users": (50, 50)}))
