"""
``finetuned config``: what is printed, and what a check finds.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from finetuned.cli.program import main
from finetuned.config import Config, config_from_dict
from finetuned.errors import EXIT_CONFIG


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """
    A root with one suite; its base model is the embedded one.
    """
    (tmp_path / "benchmarks").mkdir()
    row = {"id": "a", "prompt": "say a", "completion": "a"}
    (tmp_path / "benchmarks" / "say.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path


def test_the_printed_default_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """
    finetuned config > config.toml changes nothing.
    """
    assert 0 == main(["config"])
    assert Config() == config_from_dict(tomllib.loads(capsys.readouterr().out))


def test_check_exits_78_and_names_the_mistake(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    78 is what the daemon would exit with, so a deployment can ask beforehand.
    """
    path = root / "config.toml"
    path.write_text("[training]\nr = 0\n")

    assert EXIT_CONFIG == main(["config", "--check", str(path)])
    assert "training.r must be 1 to 1024, got 0" in capsys.readouterr().err
    path.write_text("[training]\nr = 8\n")
    assert 0 == main(["config", "--check", "--root", str(root)])
    assert "training.r = 8" in capsys.readouterr().out
    assert EXIT_CONFIG == main(["config", "--check", str(root / "gone.toml")])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[model]\nbase = "gone"', "base model 'gone' not found"),
        ('[evaluation]\nsuites = "say, gone"', "evaluation.suites names 'gone'"),
        ('[gate]\nship_gates = "gone >= 0.9"', "gate.ship_gates names 'gone'"),
        ('[gate]\nquality_gates = "say >= 0.1, gone >= 0.9"', "gate.quality_gates names 'gone'"),
        ('[training]\naccelerate_config = "launch.yaml"', "which is not a file"),
    ],
)
def test_what_the_file_names_must_be_there(
    root: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    """
    A file without a mistake of its own is wrong if the daemon cannot do what it says.
    """
    (root / "config.toml").write_text(text + "\n")

    assert EXIT_CONFIG == main(["config", "--check", "--root", str(root), "--json"])
    out, err = capsys.readouterr()
    (mistake,) = json.loads(out)["mistakes"]
    assert said in mistake
    assert said in err


def test_a_suite_that_cannot_be_read_is_a_mistake(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The gate would reject every candidate for it.
    """
    (root / "benchmarks" / "broken.jsonl").write_text("{\n")
    (root / "config.toml").write_text("")

    assert EXIT_CONFIG == main(["config", "--check", "--root", str(root)])
    assert "broken.jsonl cannot be read: broken.jsonl:1" in capsys.readouterr().err


def test_gates_may_name_all_suites_together(root: Path) -> None:
    """
    "overall" is no file.
    """
    (root / "config.toml").write_text('[gate]\nship_gates = "overall >= 0.5, say >= 0.5"\n')

    assert 0 == main(["config", "--check", "--root", str(root)])
