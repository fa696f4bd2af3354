"""
What the files of a base model say about it, also if they are damaged.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from finetuned.cli.base_facts import HEADER, base_names, read_facts
from finetuned.files.shipped import shipped
from finetuned.layout import Layout

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
NAMES = ("architectures", "max_position_embeddings", "n_positions", "weight_map")


def model(folder: Path, *, config: object = None, parts: int = 1) -> Path:
    """
    Make a base model of *parts* weight files with six parameters each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    default = {"architectures": ["Qwen3ForCausalLM"], "max_position_embeddings": 2048}
    (folder / "config.json").write_text(json.dumps(default if config is None else config))
    (folder / "tokenizer.json").write_text("{}")
    for part in range(parts):
        save_file({f"w{part}": np.zeros((2, 3), np.float16)}, folder / f"model-{part}.safetensors")
    return folder


def index(folder: Path, *names: str) -> None:
    """
    Write an index that says which weight files there are.
    """
    table = {"weight_map": {f"w{i}": name for i, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(table))


def test_parameters_of_all_weight_files_are_counted(tmp_path: Path) -> None:
    """
    From their headers; their bytes are those on the disk.
    """
    folder = model(tmp_path / "m", parts=2)
    found = read_facts("m", folder)

    assert (12, None) == (found.parameters, found.problem)
    assert sum(p.stat().st_size for p in folder.glob("*.safetensors")) == found.bytes
    assert ("Qwen3ForCausalLM", 2048) == (found.architecture, found.max_positions)


@pytest.mark.parametrize(
    ("gone", "problem"),
    [
        ("config.json", "no config.json, so it is not a model"),
        ("tokenizer.json", "no tokenizer.json"),
        ("model-0.safetensors", "no *.safetensors file"),
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, gone: str, problem: str) -> None:
    """
    One problem, the one that a person has to solve first.
    """
    folder = model(tmp_path / "m")
    (folder / gone).unlink()

    assert problem == read_facts("m", folder).problem


def test_a_part_that_the_index_names_and_is_not_there_is_named(tmp_path: Path) -> None:
    """
    A download that was cut short must not look like a smaller model.
    """
    folder = model(tmp_path / "m", parts=1)
    index(folder, "model-0.safetensors", "model-1.safetensors", "model-2.safetensors")
    found = read_facts("m", folder)

    assert found.parameters is None
    assert "2 weight files are missing, such as model-1.safetensors" == found.problem


@pytest.mark.parametrize("content", [b"", b"not weights", b"\xff" * 64])
def test_a_damaged_weight_file_is_named(tmp_path: Path, content: bytes) -> None:
    """
    Also an empty one, as a full disk leaves.
    """
    folder = model(tmp_path / "m", parts=2)
    (folder / "model-1.safetensors").write_bytes(content)
    found = read_facts("m", folder)

    assert found.parameters is None
    assert str(found.problem).startswith("model-1.safetensors cannot be read")


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), JSON), st.dictionaries(st.sampled_from(NAMES), JSON))
def test_any_configuration_can_be_listed(
    tmp_path_factory: pytest.TempPathFactory, config: dict[str, object], table: dict[str, object]
) -> None:
    """
    One strange folder must not hide the other base models behind a traceback.
    """
    folder = model(tmp_path_factory.getbasetemp() / "any", config=config)
    (folder / "model.safetensors.index.json").write_text(json.dumps(table))
    found = read_facts("any", folder)

    assert isinstance(found.architecture, str)
    assert found.line(configured=True).startswith("* any ")


def test_columns_stand_below_their_heads(tmp_path: Path) -> None:
    """
    Numbers end where their heads end; the configured model is marked.
    """
    facts = read_facts("m", model(tmp_path / "m"))
    line = facts.line(configured=False)

    assert line.startswith("  m ")
    assert HEADER.index("architecture") == line.index("Qwen3ForCausalLM")
    for head, value in (("parameters", "0.0 M"), ("positions", "2048")):
        assert HEADER.index(head) + len(head) == line.index(value) + len(value)


def test_the_roots_own_model_stands_for_the_shipped_one_of_its_name(tmp_path: Path) -> None:
    """
    Sorted by name; files beside the folders are none.
    """
    layout = Layout(tmp_path)
    own = model(layout.bases / "micro")
    model(layout.bases / "abc")
    (layout.bases / "README").write_text("x")
    found = base_names(layout)

    assert own == found["micro"]
    assert sorted(found) == list(found)
    assert "README" not in found
    assert set(base_names(Layout(tmp_path / "none"))) == {
        p.name for p in shipped().bases.iterdir() if p.is_dir()
    }
