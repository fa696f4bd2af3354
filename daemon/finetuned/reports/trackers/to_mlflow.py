"""
Jobs as runs of one MLflow experiment.

A job that was exported when it was over is left as it is; one that was not over is exported
anew. Needs the package mlflow or mlflow-skinny (extra ``mlflow``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from finetuned.errors import ConfigError
from finetuned.reports.trackers.job_history import JobHistory

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient  # type: ignore[import-not-found]

_BATCH: Final = 1000
"""Most metrics in one call, as MLflow's interface says; it takes 100 parameters in one."""

_PARAMS: Final = 100

_LONGEST: Final = 500
"""Characters of a parameter's value."""

TAG: Final = "finetuned."
"""Before the names of our tags."""


def export_to_mlflow(
    histories: Sequence[JobHistory], *, tracking_uri: str, experiment: str, root: str
) -> dict[str, str]:
    """
    Write jobs that are not there yet.

    Args:
        histories: The jobs.
        tracking_uri: Of a server (http...), a database (sqlite:///...) or a folder (file:...).
        experiment: Its name; it is made if need be.
        root: Tells the jobs of one root from those of another.

    Returns:
        Job -> ``written``, or ``there already``.

    Raises:
        ConfigError: MLflow is not installed, or it refused; what was written stays, and
            another export goes on from there.
    """
    try:
        from mlflow.exceptions import MlflowException  # type: ignore[import-not-found]
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise ConfigError(f"MLflow is not installed ({error}): pip install mlflow-skinny") from None
    try:
        client = MlflowClient(tracking_uri=tracking_uri)
        found = client.get_experiment_by_name(experiment)
        place = client.create_experiment(experiment) if found is None else found.experiment_id
        return {history.job_id: _export(client, place, history, root) for history in histories}
    except MlflowException as error:
        raise ConfigError(f"MLflow at {tracking_uri} refused: {error}") from error


def _export(client: MlflowClient, place: str, history: JobHistory, root: str) -> str:
    from mlflow.entities import Metric, Param, RunTag  # type: ignore[import-not-found]

    known = f"tags.`{TAG}job` = '{history.job_id}' and tags.`{TAG}root` = '{_quoted(root)}'"
    for run in client.search_runs([place], known):
        if run.data.tags.get(f"{TAG}whole") == "yes":
            return "there already"
        client.delete_run(run.info.run_id)  # it was cut, or the job was not over
    tags = {f"{TAG}{name}": value for name, value in history.tags.items()}
    made = client.create_run(
        place,
        start_time=_milliseconds(history.began),
        run_name=history.job_id,
        tags={**tags, f"{TAG}root": root},
    )
    run_id = made.info.run_id
    params = [Param(name, value[:_LONGEST]) for name, value in history.settings.items()]
    for i in range(0, len(params), _PARAMS):
        client.log_batch(run_id, params=params[i : i + _PARAMS])
    last = max((point.step for point in history.points), default=0)
    end = history.ended or history.began
    metrics = [Metric(p.name, p.value, _milliseconds(p.seconds), p.step) for p in history.points]
    metrics += [Metric(n, v, _milliseconds(end), last) for n, v in history.results.items()]
    for i in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[i : i + _BATCH])
    if history.ended is not None:
        client.log_batch(run_id, tags=[RunTag(f"{TAG}whole", "yes")])
        failed = history.tags.get("state") == "failed"
        status = "FAILED" if failed else "FINISHED"
        client.set_terminated(run_id, status=status, end_time=_milliseconds(history.ended))
    return "written"


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _quoted(text: str) -> str:
    """Return *text* without what would end a quoted word of a search."""
    return text.replace("'", "_").replace("\\", "_")
