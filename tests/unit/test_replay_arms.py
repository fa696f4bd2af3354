"""
The ways of training that the replay experiment compares.
"""

from __future__ import annotations

import pytest

from experiments.replay_arms import Arm, jobs

FILES = [{"name": f"{name}.jsonl", "dir": f"/d/{name}"} for name in "abc"]


def test_an_arm_is_named_by_what_it_does() -> None:
    """
    A part that is none is refused, and not run as something else.
    """
    arm = Arm.named("p300+5e-4")

    assert (300, 5e-4) == (arm.presentations, arm.later_rate)
    assert "learning_rate" not in arm.training(0)
    assert 5e-4 == arm.training(1)["learning_rate"]
    for name in ("p", "300", "p300+fast", "none+", "share0.05"):
        with pytest.raises(ValueError, match=r"is no (way to rehearse|part)"):
            Arm.named(name)


def test_an_adapter_for_each_family_rehearses_nothing() -> None:
    """
    That is what the arm measures: what is kept by not being touched.
    """
    training = Arm.named("families").training(1)

    assert ("families", 0) == (training["adapters"], training["replay_presentations"])
    assert "one" == Arm.named("p300").training(1)["adapters"]


def test_each_way_presents_a_file_equally_often() -> None:
    """
    A joint job lists a file once per epoch; a chain goes over it in one job or in all later ones.
    """
    joint, chain, whole = (
        [(len(job.datasets), job.epochs) for job in jobs(Arm.named(name), FILES, (3, 1, 2))]
        for name in ("joint", "none", "all")
    )

    assert [(6, 1)] == joint
    assert [(1, 3), (1, 1), (1, 2)] == chain
    assert [(1, 3), (2, 1), (3, 2)] == whole
    assert ("/d/a", "/d/b") == jobs(Arm.named("none"), FILES, (3, 1, 2))[2].earlier
