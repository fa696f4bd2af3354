"""
``finetuned base``: what is here, what can be used, and how to get another.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from finetuned.cli.program import main
from finetuned.errors import BaseModelMissing
from finetuned.files.base_model import find_base
from finetuned.files.shipped import shipped
from finetuned.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """
    A root whose own base model is a copy of the embedded one.
    """
    layout = Layout(tmp_path)
    shutil.copytree(shipped().bases / "micro", layout.bases / "copy")
    return layout


def run(layout: Layout, *args: str) -> int:
    return main(["base", *args, "--root", str(layout.root)])


def test_the_list_has_the_roots_own_and_the_embedded_one(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    With what the weights say of themselves; * marks the configured one.
    """
    assert 0 == run(layout, "list", "--json")
    found = json.loads(capsys.readouterr().out)
    assert "micro" == found["configured"]
    assert ["copy", "micro"] == [base["name"] for base in found["bases"]]
    for base in found["bases"]:
        assert ("Qwen3ForCausalLM", None) == (base["architecture"], base["problem"])
        assert base["bytes"] > 2 * base["parameters"] > 1e6  # bfloat16
    assert 0 == run(layout, "list")
    here, fetched = capsys.readouterr().out.split("\n\n")
    assert ["  copy", "* micro"] == [line[:7].rstrip() for line in here.splitlines()[1:]]
    assert ["  smollm2-135m"] == [line[:14] for line in fetched.splitlines()[1:]]


def test_an_intact_model_can_be_used(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Named, or as config.toml names it, whatever else is wrong there.
    """
    layout.config.write_text('[model]\nbase = "copy"\n[training]\nlearning_rat = 1\n')

    assert 0 == run(layout, "check")
    out, err = capsys.readouterr()
    assert out.startswith("copy: can be used")
    assert "unknown key training.learning_rat" in err


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("tokenizer.json", None, "no tokenizer.json"),
        ("tokenizer.json", b"{", "cannot be read"),
        ("model.safetensors", None, "no *.safetensors file"),
        ("model.safetensors", b"short", "model.safetensors cannot be read"),
        (
            "model.safetensors.index.json",
            b'{"weight_map": {"a": "model-00001-of-00002.safetensors"}}',
            "1 weight files are missing, such as model-00001-of-00002.safetensors",
        ),
    ],
)
def test_a_damaged_model_is_refused_with_the_file(
    layout: Layout,
    capsys: pytest.CaptureFixture[str],
    name: str,
    data: bytes | None,
    said: str,
) -> None:
    """
    Half a download is found before a job fails on it.
    """
    path = layout.bases / "copy" / name
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)

    assert 1 == run(layout, "check", "copy")
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("owner/model", "finetuned base fetch owner/model --root {root}, then"),
        ("model", "finetuned base fetch OWNER/model --root {root} (OWNER is the account"),
    ],
)
def test_a_missing_model_is_refused_with_a_command_that_can_be_copied(
    layout: Layout, name: str, command: str
) -> None:
    """
    The path is absolute, and an owner that is not known is not made up.
    """
    with pytest.raises(BaseModelMissing) as caught:
        find_base(layout, name)

    assert command.format(root=layout.root) in str(caught.value)


def test_a_missing_directory_is_not_to_be_downloaded(layout: Layout) -> None:
    """
    A path is no name on a hub.
    """
    with pytest.raises(BaseModelMissing) as caught:
        find_base(layout, "/no/such/folder")

    assert "download" not in str(caught.value)


def test_a_base_without_a_chat_template_is_said_to_have_none(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It can be used, with a template that a reader of its model card does not expect.
    """
    assert 0 == run(layout, "check", "copy", "--json")
    assert "base" == json.loads(capsys.readouterr().out)["chat_template"]
    (layout.bases / "copy" / "chat_template.jinja").unlink()

    assert 0 == run(layout, "check", "copy")
    assert "It has no chat template" in capsys.readouterr().out
    assert 0 == run(layout, "check", "copy", "--json")
    assert "fallback" == json.loads(capsys.readouterr().out)["chat_template"]
