"""
One eval report: candidate and incumbent on the same held-out rows.

A process of its own, ``python -m finetuned.evaluation.worker``, told its run
folders like the training worker, and like it stays for the next one; between two
it keeps its imports and no model, since the device is the training's then. It
measures and writes; it does not know what the numbers decide.

Exit status: 0 the report is there, 70 a bug, 75 stopped or refused by the file
system, 78 the configuration is wrong.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from finetuned.config import config_from_dict
from finetuned.core.metrics import mean_loss, wilson_interval
from finetuned.errors import Interrupted
from finetuned.files.atomic import write_atomic
from finetuned.files.run import REPORT, Heartbeat, utc_now
from finetuned.telemetry.lifeline import Lifeline, run_worker

SUITES = ("new", "old")
"""Held-out rows of the datasets being trained, and of those trained before."""


def spread(counts: Sequence[int], limit: int) -> list[int]:
    """
    Share *limit* questions over sets of the given sizes, as evenly as they allow.

    Args:
        counts: Questions each set has, >= 0.
        limit: Most questions in all, >= 0.

    Returns:
        How many to take of each: never more than it has, in all min(limit, sum).
    """
    taken = [0] * len(counts)
    left = min(limit, sum(counts))
    while left:
        open_sets = [i for i, n in enumerate(counts) if taken[i] < n]
        share = max(1, left // len(open_sets))
        for i in open_sets:
            more = min(share, counts[i] - taken[i], left)
            taken[i] += more
            left -= more
    return taken


class EvaluationRun:
    """
    One evaluation from spec to report.
    """

    def __init__(self, run_dir: Path, spec: dict[str, Any], lifeline: Lifeline) -> None:
        self.run_dir = run_dir
        self.spec = spec
        self.lifeline = lifeline
        self.config = config_from_dict(spec["config"])
        self.base = Path(spec["base"])
        self.heartbeat = Heartbeat(run_dir)
        self.used_device = False
        """Whether a model was on another device than the CPU."""
        self._loaded: tuple[str | None, Any] = (None, None)

    def run(self) -> None:
        """
        Measure every subject on every suite and write the report, durably.

        Raises:
            Interrupted: A stop was asked for; there is no report.
            ModelError: A model cannot be loaded.
            OSError: The file system refused; there is no report.
        """
        from finetuned.data.render import Renderer

        began = time.monotonic()
        self.heartbeat.beat(force=True, phase="loading_for_evaluation")
        renderer = Renderer.load(
            self.base,
            max_length=self.config.data.max_length,
            enable_thinking=self.config.model.enable_thinking,
        )
        suites = self._pick_questions()
        total = 2 * sum(len(questions) for questions in suites.values())
        self.heartbeat.beat(force=True, evaluation_done=0, evaluation_total=total)
        report: dict[str, Any] = {
            "schema_version": 1,
            "run_id": self.spec["run_id"],
            "job_id": self.spec["job_id"],
            "incumbent": self.spec["incumbent_version"],
            "old_rows_expected": len(suites["old"]),
            "load_seconds": time.monotonic() - began,
            "subjects": {},
            "items": [],
        }
        for subject in ("incumbent", "candidate"):
            began = time.monotonic()
            folder = self.spec[subject]
            model = self._load(Path(folder) if folder else None)
            report["load_seconds"] += time.monotonic() - began
            report["subjects"][subject] = self._measure(
                subject, model, renderer, suites, report["items"]
            )
            report["subjects"][subject]["seconds"] = round(time.monotonic() - began, 2)
        report["load_seconds"] = round(report["load_seconds"], 2)
        report["created_at"] = utc_now()
        write_atomic(self.run_dir / REPORT, orjson.dumps(report, option=orjson.OPT_INDENT_2))
        self.heartbeat.beat(force=True, phase="evaluated")

    def _pick_questions(self) -> dict[str, list[Any]]:
        """Half the rows from the new datasets, half spread over the old ones."""
        from finetuned.data.store import TokenisedDataset
        from finetuned.model.ask import questions_of

        limit = self.config.evaluation.final_max_rows
        pools = {
            suite: [questions_of(TokenisedDataset.open(Path(d))) for d in self.spec[suite]]
            for suite in SUITES
        }
        n_old = sum(len(pool) for pool in pools["old"])
        limits = {"old": min(n_old, limit // 2)}
        limits["new"] = limit - limits["old"]
        return {
            suite: [
                question
                for pool, n in zip(
                    pools[suite],
                    spread([len(p) for p in pools[suite]], limits[suite]),
                    strict=True,
                )
                for question in pool[:n]
            ]
            for suite in SUITES
        }

    def _load(self, folder: Path | None) -> Any:
        """Return the model in *folder*; an adapter of the same shape takes the last one's place."""
        from finetuned.model.load import load_adapter_weights, load_version

        shape, model = _adapter_shape(folder), self._loaded[1]
        if folder is not None and shape is not None and shape == self._loaded[0]:
            load_adapter_weights(model, folder)
            return model
        self._loaded = (None, None)
        del model  # the old one goes before the new one comes
        model = load_version(self.base, folder, self.config.model)
        self._loaded = (shape, model)
        self.used_device = self.used_device or model.device.type != "cpu"
        return model

    def _measure(
        self,
        subject: str,
        model: Any,
        renderer: Any,
        suites: dict[str, list[Any]],
        items: list[dict[str, Any]],
    ) -> dict[str, Any]:
        from finetuned.model.ask import ask

        deadline = time.monotonic() + self.config.evaluation.final_timeout_seconds
        scores: dict[str, Any] = {}
        for suite, questions in suites.items():
            outcomes = []
            for outcome in ask(
                model,
                renderer,
                questions,
                max_new_tokens=self.config.evaluation.max_new_tokens,
                batch_size=self.config.evaluation.batch_size,
                deadline=deadline,
                on_progress=self._go_on,
            ):
                outcomes.append(outcome)
                self.heartbeat.fields["evaluation_done"] += 1
                items.append(_item(subject, suite, outcome))
            scores[suite] = _score(outcomes, len(questions))
            self.heartbeat.beat(force=True, phase="evaluating_candidate", subject=subject)
        return scores

    def _go_on(self) -> None:
        self.heartbeat.beat(phase="evaluating_candidate")
        if self.lifeline.stopping:
            raise Interrupted(f"evaluation stopped: {self.lifeline.cause}")


def _adapter_shape(folder: Path | None) -> str | None:
    """Return all that an adapter is but its weights, None for what is no adapter."""
    config = None if folder is None else folder / "adapter_config.json"
    return config.read_text() if config is not None and config.is_file() else None


def _item(subject: str, suite: str, outcome: Any) -> dict[str, Any]:
    return {
        "subject": subject,
        "suite": suite,
        "id": outcome.question.id,
        "prompt": outcome.question.prompt,
        "golden": outcome.question.golden,
        "answer": outcome.answer,
        "matches": outcome.matches,
        "loss": outcome.loss_sum / outcome.n_tokens if outcome.n_tokens else None,
        "stopped": outcome.stopped,
        "timed_out": outcome.timed_out,
    }


def _score(outcomes: Sequence[Any], expected: int) -> dict[str, Any]:
    asked = [o for o in outcomes if o.matches is not None]
    exact = sum(o.matches for o in asked)
    tokens = [o.n_tokens for o in outcomes]
    return {
        "n_rows": len(outcomes),
        "n_asked": len(asked),
        "n_exact": exact,
        "exact_match": exact / len(asked) if asked else None,
        "interval_95": wilson_interval(exact, len(asked)) if asked else None,
        "loss": mean_loss([o.loss_sum for o in outcomes], tokens) if sum(tokens) else None,
        "stop_rate": sum(o.stopped for o in asked) / len(asked) if asked else None,
        "complete": len(outcomes) == expected and not any(o.timed_out for o in outcomes),
    }


def _imports() -> None:
    import finetuned.data.render
    import finetuned.data.store
    import finetuned.model.ask
    import finetuned.model.load  # noqa: F401

    gc.freeze()  # what was imported stays: a look for a dropped model need not pass over it


def main(argv: list[str] | None = None) -> int:
    """
    Run the worker; see the module's text for the exit status.
    """

    used_device = False

    def work(run_dir: Path, spec: dict[str, Any], lifeline: Lifeline) -> None:
        nonlocal used_device
        run = EvaluationRun(run_dir, spec, lifeline)
        try:
            run.run()
        finally:
            used_device = used_device or run.used_device

    def idle() -> bool:
        gc.collect()  # a model is full of cycles
        # The context on a device is hundreds of MB and goes only with its process.
        return not used_device

    return run_worker(argv, warm_up=_imports, work=work, idle=idle)


if __name__ == "__main__":
    raise SystemExit(main())
