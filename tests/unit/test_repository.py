"""
What must not drift: sizes, paths, programs and their help.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text()
PROSE = README[: README.index("<!-- generated: tree -->")]
PACKAGE = CHECKOUT / "daemon" / "finetuned"


def tracked() -> list[Path]:
    found = subprocess.run(
        ["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip("not a git checkout")
    return [CHECKOUT / name for name in found.stdout.split("\0") if name]


def test_no_file_grows_past_350_lines():
    """
    A room that feels cramped is redrawn, not added to.
    """
    long = {
        str(p.relative_to(CHECKOUT)): n
        for p in sorted(PACKAGE.rglob("*.py"))
        if (n := len(p.read_text().splitlines())) > 350
    }

    assert {} == long


def test_no_run_time_data_weights_or_environment_is_tracked():
    """
    Folders of the root are empty in the repository but for their README and the micro base.
    """
    allowed = re.compile(r"(README\.md|\.gitignore)$|^models/base/micro/")
    stray = [
        name
        for p in tracked()
        if (name := str(p.relative_to(CHECKOUT))).split("/")[0]
        in ("inbox", "status", "control", "logs", "models", "current_model", ".venv", "build")
        and not allowed.search(name)
    ]

    assert [] == stray


def test_every_test_file_has_a_name_of_its_own():
    """
    pytest takes a file's name for its module: the second of two equal ones is not collected.
    """
    names = Counter(p.name for p in tracked() if p.name.startswith("test_") and p.suffix == ".py")

    assert [] == [name for name, n in names.items() if n > 1]


def test_the_base_model_fits_in_16_mb():
    """
    The embedded default is small enough to live in the repository.
    """
    folder = CHECKOUT / "models" / "base" / "micro"
    if not folder.is_dir():
        pytest.skip("models/base/micro is not made yet: experiments/base_model/make.py")

    assert sum(p.stat().st_size for p in folder.iterdir()) <= 16e6


@pytest.mark.parametrize("tool", sorted(set(re.findall(r"tools/[a-z_]+(?:\.py)?", PROSE))))
def test_programs_named_in_the_readme_exist_and_can_be_run(tool):
    """
    No command is documented that does not exist.
    """
    path = CHECKOUT / tool

    assert path.is_file()
    assert path.stat().st_mode & 0o111
