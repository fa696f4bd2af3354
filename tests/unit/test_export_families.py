"""
A version with an adapter for each family of files is not exported as if it had one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from finetuned.core.family_choice import profile
from finetuned.errors import ExportRefused
from finetuned.export.folder import refuse_families
from finetuned.files.family_list import OWN, Family, FamilyFile, write_families

OWN_FAMILY = Family("aa", OWN, (FamilyFile("aa", "names.jsonl"),), profile(["add ann"]))
OTHER = Family("bb", "families/bb", (FamilyFile("bb", "sums.jsonl"),), profile(["1 plus 2"]))


def test_a_version_with_families_is_refused_before_any_work(tmp_path: Path) -> None:
    """
    Its top level would be exported alone, and the other families be lost without a word.
    """
    write_families(tmp_path, [OWN_FAMILY, OTHER])

    with pytest.raises(ExportRefused, match=r"v0003 has an adapter for each of 2 families"):
        refuse_families("v0003", tmp_path)


def test_one_family_or_none_is_no_reason(tmp_path: Path) -> None:
    """
    One adapter is what an export takes.
    """
    refuse_families("v0003", tmp_path)
    write_families(tmp_path, [OWN_FAMILY])
    refuse_families("v0003", tmp_path)
    refuse_families("base", None)
