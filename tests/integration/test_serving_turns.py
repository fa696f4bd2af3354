"""
Who has the next pass of the engine: what joins is shown at once, what runs is not kept waiting.
"""

from __future__ import annotations

from finetuned.core.generation import EngineSettings, Finished, HeldModel, Piece, Report
from finetuned.serving.engine.load import ModelLoader
from finetuned.serving.engine.scheduler import Scheduler
from support.serving import MICRO, asked

QUESTION = "create the user jdoe with home /home/jdoe"


def test_what_runs_has_its_turn_although_others_join_all_the_time() -> None:
    """
    The first token is reported by the step that runs the prompt; then every second step is a pass.
    """
    settings = EngineSettings(device="cpu")
    served = ModelLoader(settings).load(HeldModel(name="base", base=MICRO)).own
    reports: list[Report] = []
    scheduler = Scheduler(settings, reports.append)
    scheduler.submit(asked("long", QUESTION, max_tokens=20), served)
    scheduler.step()
    assert ["long"] == [r.id for r in reports if isinstance(r, Piece)]

    steps = 0
    while not any(isinstance(r, Finished) and r.id == "long" for r in reports):
        scheduler.submit(asked(f"short{steps}", QUESTION, max_tokens=1), served)
        scheduler.step()
        steps += 1
        assert steps <= 2 * 20
