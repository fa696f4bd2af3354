"""
Laws of the demo dataset: what it holds, and what its two sets never share.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from finetuned.data.intents import canonical, dumps
from finetuned.errors import DatasetError
from finetuned.sources.intents import drop, tables, test_rows, to_jsonl, training_rows
from finetuned.sources.intents.catalog import catalog, soften
from finetuned.sources.intents.entities import Names, is_heldout
from finetuned.sources.intents.grammar import GAP, count, fill, pick
from finetuned.sources.intents.meaning import intent_of
from finetuned.sources.intents.nearness import Forbidden, key_of
from finetuned.sources.intents.tables import frames, heldout_sentences, macros, predicates, stems

test_rows.__test__ = False  # type: ignore[attr-defined]
ROOT = Path(__file__).resolve().parents[2]
KINDS = ("zone", "wild", "ip4", "ip6", "user", "group", "share", "path", "secret")


@pytest.fixture(scope="module")
def training() -> list[dict[str, Any]]:
    return training_rows()


@pytest.fixture(scope="module")
def heldout() -> list[dict[str, Any]]:
    return test_rows()


def prompts(rows: list[dict[str, Any]]) -> list[str]:
    return [row["messages"][0]["content"] for row in rows]


def names_in(row: dict[str, Any]) -> set[str]:
    """
    Return the values of a row's answer that name something.
    """

    def walk(value: object) -> set[str]:
        if isinstance(value, dict):
            public = {k: v for k, v in value.items() if k not in ("action", "record_type")}
            return set().union(*map(walk, public.values()))
        if isinstance(value, list):
            return set().union(*map(walk, value))
        return {str(value)}

    answer = orjson.loads(row["messages"][1]["content"])
    return set() if answer["action"] in ("none", "clarify") else walk(answer)


def test_classes_have_their_share_and_every_prompt_is_unique(
    training: list[dict[str, Any]],
) -> None:
    """
    2800 rows: 1000 DNS, 500 users, 500 Samba, 800 complex.
    """
    classes = Counter(row["metadata"]["class"] for row in training)
    assert classes == {"dns": 1000, "users": 500, "samba": 500, "complex": 800}
    assert len(set(prompts(training))) == 2800


def test_a_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    """
    The demo dataset can be made again from its seed.
    """
    assert to_jsonl(training_rows(3, 240)) == to_jsonl(training_rows(3, 240))
    assert to_jsonl(training_rows(3, 240)) != to_jsonl(training_rows(4, 240))


def test_every_answer_is_canonical(
    training: list[dict[str, Any]], heldout: list[dict[str, Any]]
) -> None:
    """
    What is trained and compared is byte for byte what ``dumps`` writes.
    """
    for row in training + heldout:
        answer = row["messages"][1]["content"]
        assert dumps(orjson.loads(answer)) == answer


def test_every_value_of_an_answer_stands_in_its_prompt(
    training: list[dict[str, Any]], heldout: list[dict[str, Any]]
) -> None:
    """
    An answer can be found by reading: nothing in it has to be guessed.
    """
    for row in training + heldout:
        prompt = row["messages"][0]["content"]
        assert {name for name in names_in(row) if name not in prompt} == set()


def test_no_row_holds_a_password(
    training: list[dict[str, Any]], heldout: list[dict[str, Any]]
) -> None:
    """
    Credentials occur as references to a secret store and in no other way.
    """
    for row in training + heldout:
        answer = canonical(orjson.loads(row["messages"][1]["content"]))
        assert "password" not in answer
        refs = re.findall(r'"password_ref":"([^"]*)"', row["messages"][1]["content"])
        assert all(ref.startswith("secret://") for ref in refs)


def test_the_test_set_is_200_rows_in_equal_parts(heldout: list[dict[str, Any]]) -> None:
    """
    25 rows for each group and split, and DNS has IPv6, CNAME and wildcards in both.
    """
    parts = Counter((r["metadata"]["class"], r["metadata"]["split"]) for r in heldout)
    splits = ("entity_disjoint", "phrasing_disjoint")
    assert parts == {(g, s): 25 for g in heldout_sentences() for s in splits}
    for split in splits:
        answers = [r["messages"][1]["content"] for r in heldout if r["metadata"]["split"] == split]
        for kind in ('"AAAA"', '"CNAME"', '"zone":"*.', '"batch"', '"clarify"', '"none"'):
            assert any(kind in answer for answer in answers), (split, kind)


def test_no_name_of_the_test_set_occurs_in_training(
    training: list[dict[str, Any]], heldout: list[dict[str, Any]]
) -> None:
    """
    Hosts, addresses, users, groups, shares and paths are disjoint.
    """
    known = set().union(*map(names_in, training))
    unknown = set().union(*map(names_in, heldout))
    assert len(unknown) > 200
    assert known & unknown == set()
    assert not set(prompts(training)) & set(prompts(heldout))


def test_phrasings_are_known_in_one_split_and_two_words_away_in_the_other(
    training: list[dict[str, Any]], heldout: list[dict[str, Any]]
) -> None:
    """
    A held-out phrasing differs from each trained one by two words or more, politeness apart.
    """
    trained = {row["metadata"]["phrasing"] for row in training}
    for row in heldout:
        known = row["metadata"]["phrasing"] in trained
        assert known == (row["metadata"]["split"] == "entity_disjoint")
    near = Forbidden(p for block in heldout_sentences().values() for p, _ in block)
    assert [p for p in trained if p in near] == []


def test_each_kind_of_command_has_thirty_sentence_forms_at_least(
    training: list[dict[str, Any]],
) -> None:
    """
    Variety is counted on what was drawn, politeness apart.
    """
    forms: dict[str, set[tuple[str, ...]]] = {}
    for row in training:
        forms.setdefault(row["metadata"]["action"], set()).add(key_of(row["metadata"]["phrasing"]))
    assert {action for action, seen in forms.items() if len(seen) < 30} == set()


def test_the_committed_test_set_is_the_generated_one(heldout: list[dict[str, Any]]) -> None:
    """
    The benchmark file is a copy, never an edition of its own.
    """
    path = ROOT / "benchmarks" / "infra_200.jsonl"
    assert path.read_bytes() == to_jsonl(heldout)


def test_too_few_unique_rows_is_an_error() -> None:
    """
    A class below its target fails instead of quietly shrinking the dataset.
    """
    with pytest.raises(DatasetError, match="dns: 0 unique rows, 18 wanted"):
        training_rows(n=48, tries=0)


def test_drop_shows_a_whole_file_or_none(tmp_path: Path) -> None:
    """
    Nothing but the finished dataset is ever visible in the inbox.
    """
    rows = training_rows(n=48)
    path = drop(rows, tmp_path, "demo.jsonl")
    assert [p.name for p in tmp_path.iterdir()] == ["demo.jsonl"]
    assert [orjson.loads(line) for line in path.read_bytes().splitlines()] == rows
    for name in ("demo.json", ".demo.jsonl", "a/b.jsonl", "../b.jsonl"):
        with pytest.raises(ValueError, match="not the name"):
            drop(rows, tmp_path, name)
    assert [p.name for p in tmp_path.iterdir()] == ["demo.jsonl"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_halves_of_the_names_never_meet(kind: str) -> None:
    """
    However many names are drawn from either half, none is in both.
    """
    halves = [
        {Names(random.Random(7), heldout=half).draw(kind)}
        | {
            names.draw(kind)
            for names in [Names(random.Random(8), heldout=half)]
            for _ in range(800)
        }
        for half in (False, True)
    ]
    assert min(map(len, halves)) > 20
    assert halves[0] & halves[1] == set()


def test_a_stem_stays_in_its_half() -> None:
    """
    The split is a hash: about one stem in six is held out, for good.
    """
    share = sum(is_heldout(f"stem{i}") for i in range(6000)) / 6000
    assert 0.14 < share < 0.20
    assert is_heldout("john") == is_heldout("john")


def test_every_template_can_be_said_and_understood() -> None:
    """
    Each template has the gaps that its meaning needs.
    """
    rng = random.Random(1)
    for templates in catalog().values():
        for template in templates:
            phrasing = pick(template.text, rng)
            names = Names(rng, heldout=False)
            values = {gap: names.draw(gap) for gap in GAP.findall(phrasing)}
            assert canonical(intent_of(template.spec, values))
            assert not set("[]{}|@") & set(fill(phrasing, dict.fromkeys(values, "x")))


def test_pick_reaches_every_alternative_and_count_counts_them() -> None:
    """
    Nested and empty alternatives are all said.
    """
    template = "[add|create [a|one]] user [please|] ."
    rng = random.Random(0)
    said = {pick(template, rng) for _ in range(500)}
    assert len(said) == count(template) == 6
    assert "create one user please." in said


@pytest.mark.parametrize("broken", ["[a|b", "a]b", "[a[b]"])
def test_unbalanced_brackets_are_an_error(broken: str) -> None:
    """
    A typing error in a template does not become a strange sentence.
    """
    with pytest.raises(ValueError):
        pick(broken, random.Random(0))


def test_a_name_at_the_start_keeps_its_case() -> None:
    """
    Softening may write a capital letter, but never into a name.
    """
    rng = random.Random(2)
    said = {soften("{user} left", rng, order=False) for _ in range(300)}
    assert any(s.startswith("{user}") for s in said)
    assert all("{user}" in s for s in said)


@pytest.mark.parametrize(
    ("phrasing", "near"),
    [
        ("Please drop {zone} now!", True),
        ("drop the {wild}", True),
        ("drop old {zone}", True),
        ("{zone}", True),
        ("kill {zone}", True),
        ("kill old {zone}", False),
        ("{zone} drop it quickly", False),
    ],
)
def test_near_means_one_word_or_less(phrasing: str, near: bool) -> None:
    """
    Politeness, articles, case and kinds of names do not make a phrasing new.
    """
    assert (phrasing in Forbidden(["Drop {zone}."])) == near


def test_every_macro_is_used_and_every_use_has_one() -> None:
    """
    A misspelt macro would be trained as it stands.
    """
    texts = [t.text for block in catalog().values() for t in block]
    assert not [text for text in texts if "@" in text or "SUBJECT" in text or "PREDICATE" in text]
    table = Path(tables.__file__).with_name("wording.tsv").read_text()
    table += Path(tables.__file__).with_name("predicates.tsv").read_text()
    assert [] == [name for name in macros() if name not in table]


def test_each_frame_meets_each_predicate() -> None:
    """
    Blocks said by their result are the product of both tables.
    """
    for block, rows in predicates().items():
        assert len(catalog()[f"{block}.framed"]) == len(frames()) * len(rows)
    assert all("SUBJECT" in frame and "PREDICATE" in frame for frame in frames())


def test_a_row_with_a_lost_column_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A tab that an editor turned into spaces is an error with file and line.
    """
    (tmp_path / "names.tsv").write_text("# stems\nhost\tapi www\ndomain acme\n")
    monkeypatch.setattr(tables, "files", lambda _: tmp_path)
    stems.cache_clear()
    with pytest.raises(ValueError, match=r"names\.tsv:3: 1 columns, expected 2"):
        stems("host")


def test_nothing_is_read_at_import() -> None:
    """
    The tables cost time only if sentences are made.
    """
    code = (
        "from finetuned.sources.intents import rows, tables; print(tables.wording.cache_info()[3])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "daemon")},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "0" == done.stdout.strip()
