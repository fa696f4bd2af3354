"""
After the trials: the gate's evidence for the finalists, and the winner against today's settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from finetuned.core.tuning.comparison import Comparison, SeedPair, compare
from finetuned.core.tuning.space import Settings
from finetuned.core.tuning.trial import Trial, finalists
from finetuned.core.tuning.winner import winner
from finetuned.errors import ModelError
from finetuned.files.study_result import Finalist
from finetuned.tuning.evidence import Examiner
from finetuned.tuning.folder import StudyFolder, candidate_of
from finetuned.tuning.outcome import OUTCOME, Outcome
from finetuned.tuning.search import folder_number
from finetuned.tuning.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Finals:
    """
    The last part of one study.
    """

    folder: StudyFolder
    trainer: Trainer
    examiner: Examiner
    on_step: Callable[[str], None]
    """Told what is done next."""

    def evidence(self, trials: Sequence[Trial], most: int) -> list[Finalist]:
        """
        Return the best trials, each with what the gate says of it.

        A finalist whose weights are gone, or on another machine, is trained again.

        Raises:
            ModelError: A finalist that was trained again ended otherwise than before.
            Interrupted, OSError: As the trainer and the examiner.
        """
        found = []
        for trial in finalists(trials, most):
            folder = self.folder.trial(folder_number(trial))
            if (candidate := candidate_of(folder)) is None:
                self.on_step(f"trial {trial.number} is trained again: its weights are not here")
                (folder / OUTCOME).unlink(missing_ok=True)
                self.trainer.train(folder, trial.settings, seed=self.trainer.config.training.seed)
                candidate = candidate_of(folder)
            if candidate is None:
                raise ModelError(f"trial {trial.number} was trained again and left no weights")
            self.on_step(f"the gate's evidence for trial {trial.number}")
            found.append(
                Finalist(number=trial.number, evidence=self.examiner.evidence(folder, candidate))
            )
        return found

    def seeds(self, found: Settings, today: Settings, seeds: int) -> Comparison | str:
        """
        Return how the *found* settings compare with those of *today* over other seeds.

        Returns:
            A sentence instead if one of the trainings failed.
        """
        pairs = []
        first = self.trainer.config.training.seed
        for seed in range(first + 1, first + 1 + seeds):
            outcomes: dict[str, Outcome] = {}
            for name, settings in (("today", today), ("found", found)):
                self.on_step(f"seed {seed}: the settings {_of(name)}")
                outcome = self.trainer.train(
                    self.folder.seeds / f"{name}-{seed}", settings, seed=seed, keep_candidate=False
                )
                if outcome.loss is None:
                    return f"with seed {seed} the settings {_of(name)} failed: {outcome.note}"
                outcomes[name] = outcome
            pairs.append(
                SeedPair(
                    seed=seed,
                    loss_today=outcomes["today"].loss or 0.0,
                    loss_found=outcomes["found"].loss or 0.0,
                    forgetting_today=outcomes["today"].forgetting,
                    forgetting_found=outcomes["found"].forgetting,
                )
            )
        return compare(pairs)


def chosen(trials: Sequence[Trial], asked: Sequence[Finalist]) -> Trial | None:
    """
    Return the finalist that wins, None if the gate finds harm in all of them.
    """
    harm = {finalist.number: finalist.evidence.harm for finalist in asked}
    listed = [trial for trial in finalists(trials, len(trials) or 1) if trial.number in harm]
    return winner(listed, harm)


def _of(name: str) -> str:
    return {"today": "of today", "found": "that were found"}[name]
