"""
Killed anywhere in a merge, from the order to the promotion: nothing is lost and it is done once.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from finetuned.core.promotion import PromotionCause
from finetuned.files.journal import Journal
from finetuned.layout import Layout
from finetuned.registry.current_model import incumbent, promote
from finetuned.registry.versions import list_versions, verify_version
from support.daemon import Daemon, make_root
from support.journals import release
from support.tiny_base import write_rows

KILLS = max(2, int(os.environ.get("FINETUNED_KILLS", "0")) // 10)

pytestmark = pytest.mark.slow


def is_intact(layout: Layout) -> bool:
    """
    Whether current_model names a version that can be loaded, and all that are listed can.
    """
    name = incumbent(layout)
    assert name is not None
    for version in list_versions(layout):
        verify_version(layout, version)
    return True


@pytest.mark.timeout(60 + 60 * KILLS)
def test_a_merge_that_is_killed_is_finished_once_by_the_next_daemon(
    tmp_path: Path, tiny_base: Path
) -> None:
    """
    After each kill current_model is intact; after each restart there is one merge more.
    """
    root = make_root(tmp_path / "root", tiny_base, supervisor="warm_worker_seconds = 0")
    layout, rng = Layout(root), random.Random(0)
    write_rows(root / "inbox" / "a.jsonl", 40)
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    killed_in = []
    for n in range(1, KILLS + 1):
        with Daemon(root) as daemon:
            daemon.wait_for(lambda s: s["phase"] == "idle", "idle")
            (root / "control" / "consolidate").touch()
            time.sleep(rng.uniform(0.1, 9.0))
            killed_in.append(daemon.status()["phase"])
            daemon.kill_everything()
        assert is_intact(layout)
        with Daemon(root, "--until-idle") as daemon:
            assert 0 == daemon.wait_exit(), daemon.output()
        assert is_intact(layout)
        merged = [
            v for v in list_versions(layout) if verify_version(layout, v).manifest.consolidates
        ]
        assert n == len(merged), killed_in
        assert merged[-1] == incumbent(layout)
        # Back to the adapter, so that there is something to merge again.
        promote(layout, "v0001")
        journal = Journal(layout.journal)
        assert {("consolidation", "promoted"), ("training", "promoted")} == {
            (job.kind, job.state) for job in journal.jobs.in_states()
        }
        release(journal, "v0001", PromotionCause.PROMOTE)
        journal.close()
    print(f"\nkilled in: {', '.join(map(str, killed_in))}")
