"""
Memory that is free, and what a micro-batch of it is foreseen to need.
"""

from __future__ import annotations

import resource
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.memory_room import CERTAIN, GROWTH, MARGIN, next_try, surely_fits
from finetuned.telemetry.free_memory import cgroup_rooms, free_memory_bytes

GIB = 1 << 30


@given(
    per_token=st.integers(1_000, 2_000_000),
    constant=st.integers(0, GIB),
    free=st.integers(0, 64 * GIB),
    most=st.integers(16, 1 << 20),
)
def test_no_try_needs_more_than_is_free(
    per_token: int, constant: int, free: int, most: int
) -> None:
    """
    If memory is a constant and a share of the tokens: whatever was measured first, it ends.
    """
    tokens = min(16, most)
    for _ in range(40):
        used = constant + per_token * tokens
        known = {"measured_tokens": tokens, "measured_bytes": used, "free_bytes": free}
        if surely_fits(most, **known):
            assert (constant + per_token * most) * CERTAIN <= free * 1.01
            return
        larger = next_try(most, **known)
        if larger is None:
            return
        assert tokens < larger <= min(most, GROWTH * tokens)
        assert (constant + per_token * larger) * MARGIN <= free * 1.01
        if larger == most:
            return
        tokens = larger
    pytest.fail("it went on for ever")


def test_a_135_m_model_on_24_gb() -> None:
    """
    1.8 MB a token in float32: 16,384 tokens need 30 GB, of which 18 are free.
    """
    known = {"measured_tokens": 2048, "measured_bytes": 2048 * 1_800_000, "free_bytes": 18 * GIB}

    assert not surely_fits(16_384, **known)
    fits = int(18 * GIB / MARGIN / 1_800_000)
    assert fits == next_try(16_384, **known) < 8192
    known |= {"measured_tokens": fits, "measured_bytes": fits * 1_800_000}
    assert next_try(16_384, **known) is None


def cgroup(folder: Path, names: tuple[str, str, str], limit: str, used: int, cache: int) -> None:
    """
    Write the files of a cgroup as the kernel shows them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used}\n{names[2]} {cache}\n")


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


@pytest.mark.parametrize(
    ("line", "top", "names"), [("4:memory:/a/b", "memory", V1), ("0::/a/b", ".", V2)]
)
def test_every_cgroup_around_the_process_counts(
    tmp_path: Path, line: str, top: str, names: tuple[str, str, str]
) -> None:
    """
    Of both versions; one without a limit has none, and the cache of files can be given up.
    """
    own = tmp_path / "own"
    own.write_text(f"7:cpu:/\n{line}\n")
    folder = tmp_path / "mount" / top
    cgroup(folder / "a" / "b", names, "max", 3, 0)
    cgroup(folder / "a", names, "1000", 600, 250)

    assert [650] == list(cgroup_rooms(tmp_path / "mount", own))
    assert [] == list(cgroup_rooms(tmp_path / "mount", tmp_path / "none"))


def test_a_limit_of_the_process_counts() -> None:
    """
    And the machine's own memory bounds everything.
    """
    assert 0 < free_memory_bytes() <= psutil.virtual_memory().total
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    used = psutil.Process().memory_info().data
    resource.setrlimit(resource.RLIMIT_DATA, (used + (64 << 20), hard))
    try:
        assert free_memory_bytes() <= 64 << 20
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
