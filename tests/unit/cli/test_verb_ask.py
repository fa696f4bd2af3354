"""
``finetuned ask``: who is asked, what is printed, and how it ends.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from finetuned.cli.asked import known_models, service_name
from finetuned.cli.program import main
from finetuned.errors import RegistryError
from finetuned.layout import Layout
from support.paper_service import STREAM, ending, paper_service, refusal, text
from support.versions import commit


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """
    A root whose version v0001 is in use.
    """
    layout = Layout(tmp_path)
    layout.versions.mkdir(parents=True)
    commit(layout)
    layout.current_model.symlink_to(layout.versions / "v0001")
    return layout


def ask(layout: Layout, *args: str) -> int:
    """
    Return the exit status of ``finetuned ask``.
    """
    return main(["ask", *args, "--root", str(layout.root)])


def test_a_service_that_runs_is_asked_and_a_pipe_gets_the_answer_as_it_is(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Even what a terminal would obey.
    """
    with paper_service(layout, [STREAM + text("a\x1b[31m") + text("b") + ending()]) as service:
        status = ask(layout, "--system", "be short", "hi")

    assert (0, "a\x1b[31mb\n") == (status, capsys.readouterr().out)
    ((_, body),) = service.requests
    assert "finetuned" == body["model"]
    assert [{"role": "system", "content": "be short"}, {"role": "user", "content": "hi"}] == body[
        "messages"
    ]


def test_json_is_one_object(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """
    With what gave the answer, and why it ended.
    """
    with paper_service(layout, [STREAM + text("a") + ending("length")]):
        assert 0 == ask(layout, "--json", "hi")
    found = json.loads(capsys.readouterr().out)

    assert ("a", "finetuned@v0001", "length", 7, 3, "chatcmpl-1") == tuple(
        found[key]
        for key in (
            "text",
            "model",
            "finish_reason",
            "prompt_tokens",
            "answer_tokens",
            "request_id",
        )
    )


def test_half_an_answer_is_not_printed_into_a_pipe(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The next program would take it for all of it.
    """
    with paper_service(layout, [STREAM + text("half")]):
        status = ask(layout, "hi")
    found = capsys.readouterr()

    assert (75, "") == (status, found.out)
    assert "in the middle of the answer" in found.err
    assert "after 4 characters" in found.err


def test_an_answer_of_a_schema_that_was_cut_is_none(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It is not JSON; a free answer that was cut is one.
    """
    schema = tmp_path / "s.json"
    schema.write_text('{"type": "object"}')
    cut = STREAM + text('{"a') + ending("length")
    with paper_service(layout, [cut, cut]):
        assert 1 == ask(layout, "--schema", str(schema), "hi")
        assert 0 == ask(layout, "hi")

    assert "is not JSON of the schema" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"\xff", "not UTF-8"),
        (b'{"type": 3,\n oh}', "line 2, column 2: not JSON"),
        (b"[]", "found list, expected a JSON object"),
        (b'{"type": "strange"}', "not a JSON Schema"),
    ],
    ids=["missing", "bytes", "no JSON", "list", "no schema"],
)
def test_an_unusable_schema_is_refused_with_its_place_and_reason(
    layout: Layout,
    content: bytes | None,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Before anything is asked or loaded.
    """
    path = tmp_path / "s.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        ask(layout, "--schema", str(path), "hi")

    assert 2 == ended.value.code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "args",
    [
        ["--prompt", "a", "b"],
        ["--max-tokens", "0", "a"],
        ["--temperature", "2.1", "a"],
        ["--temperature", "nan", "a"],
        [" "],
        [],
    ],
    ids=" ".join,
)
def test_arguments_that_ask_nothing_are_wrong_usage(
    args: list[str], layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nobody waits for a model that is asked nothing.
    """
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(SystemExit) as ended:
        ask(layout, *args)

    assert 2 == ended.value.code


@pytest.mark.parametrize(
    "arguments", [["caf\udce9"], ["--system", "caf\udce9", "x"], ["--stdin"]], ids=len
)
def test_text_that_is_no_utf8_is_wrong_usage(
    arguments: list[str],
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    As a terminal gives it: bytes that are not UTF-8 become halves of surrogate pairs.
    """
    monkeypatch.setattr(sys, "stdin", io.StringIO("caf\udce9"))
    with pytest.raises(SystemExit) as ended:
        ask(layout, *arguments)

    assert 2 == ended.value.code
    assert "character 4 is no UTF-8" in capsys.readouterr().err


def test_the_question_may_come_from_a_pipe(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After the words, if there are some.
    """
    monkeypatch.setattr(sys, "stdin", io.StringIO("row 1\nrow 2\n"))
    with paper_service(layout, [STREAM + ending()]) as service:
        ask(layout, "--stdin", "summarise:")

    assert "summarise:\n\nrow 1\nrow 2" == service.requests[0][1]["messages"][0]["content"]


def test_without_a_version_it_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    With a service and without one alike.
    """
    layout = Layout(tmp_path)
    assert 1 == ask(layout, "hi")
    with paper_service(layout, []):
        assert 1 == ask(layout, "hi")

    assert 2 == capsys.readouterr().err.count("no version is in use yet: drop rows into inbox/")


def test_a_service_that_is_not_ready_is_to_be_asked_again(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Its reason is printed, and programs get it as JSON.
    """
    with paper_service(layout, [refusal(503, "no model is loaded: it is being loaded")]):
        status = ask(layout, "--json", "hi")

    assert 75 == status
    assert {"error": "no model is loaded: it is being loaded"} == json.loads(
        capsys.readouterr().out
    )


def test_names_of_models_are_those_of_a_service_if_it_may_have_them(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    A folder elsewhere, a run's candidate and other base models are loaded here.
    """
    monkeypatch.chdir(tmp_path)
    found = {
        name: service_name(layout, name)
        for name in (
            *("current_model", "current_model/", str(layout.current_model), "v0012", "base"),
            *("models/versions/v0001", "r000001", "micro", "models/runs/r000001/candidate"),
        )
    }

    assert {
        "current_model": "",
        "current_model/": "",
        str(layout.current_model): "",
        "v0012": "@v0012",
        "base": "@base",
        "models/versions/v0001": "@v0001",
        "r000001": None,
        "micro": None,
        "models/runs/r000001/candidate": None,
    } == found
    assert ["current_model", "v0001", "base"] == known_models(layout)
    layout.current_model.unlink()
    with pytest.raises(RegistryError, match="--model base"):
        service_name(layout, "current_model/")
