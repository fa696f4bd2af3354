"""
``finetuned metrics``: the history of jobs, exported to MLflow or TensorBoard.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, on_root
from finetuned.cli.terminal import complain, shown
from finetuned.cli.verb import UsageError, Verb, add_common, named_file
from finetuned.errors import DatasetError

if TYPE_CHECKING:
    from finetuned.layout import Layout
    from finetuned.reports.trackers.job_history import JobHistory

DETAILS = """examples:
  finetuned metrics --to tensorboard --output runs/     then: tensorboard --logdir runs/
  finetuned metrics --to mlflow --uri http://127.0.0.1:5000
  finetuned metrics --to mlflow --uri sqlite:///mlflow.db --experiment appliance
  finetuned metrics --to tensorboard --output runs/ --job j000012

Loss, gradient norm and learning rate by step, held-out loss and accuracy, and what each candidate
reached. Jobs that MLflow has whole are left as they are, so that the command may be repeated.
It needs the package of the program: pip install mlflow-skinny, or pip install tensorboard.

exit status: 0 done, 1 refused, 2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument("--to", required=True, choices=("mlflow", "tensorboard"))
    parser.add_argument("--uri", help="of MLflow: http://..., sqlite:///FILE")
    parser.add_argument("--experiment", default="finetuned", help="of MLflow (default finetuned)")
    parser.add_argument("--output", type=named_file, metavar="DIR", help="for TensorBoard's files")
    parser.add_argument("--job", metavar="ID", help="one job (default: all that trained)")


def _jobs(layout: Layout, only: str | None) -> list[JobHistory]:
    from finetuned.files.journal_view import JournalView
    from finetuned.reports.trackers.job_history import histories

    if not layout.journal.exists():
        raise DatasetError(f"{layout.journal}: there is no journal yet: no daemon ever ran here")
    with closing(JournalView(layout.journal)) as view:
        found = list(histories(layout, view, only))
    if only is not None and not found:
        raise DatasetError(f"there is no job {only} that trained")
    return found


def _metrics(layout: Layout, args: argparse.Namespace) -> int:
    import orjson

    jobs = _jobs(layout, args.job)
    if args.to == "mlflow":
        from finetuned.reports.trackers.to_mlflow import export_to_mlflow

        with redirect_stdout(sys.stderr):  # MLflow prints where a run can be looked at
            done = export_to_mlflow(
                jobs, tracking_uri=args.uri, experiment=args.experiment, root=str(layout.root)
            )
    else:
        from finetuned.reports.trackers.to_tensorboard import write_tensorboard

        output: Path = args.output
        done = {job.job_id: shown(write_tensorboard(output, job)) for job in jobs}
    left_out = sum(job.left_out for job in jobs)
    if args.json:
        print(orjson.dumps({"jobs": done, "left_out": left_out}).decode())
    else:
        print("\n".join(f"{job}: {what}" for job, what in done.items()) or "no job trained yet")
    if left_out:
        complain("metrics", f"{left_out} numbers are left out: they are not finite")
    return DONE


def _run(args: argparse.Namespace) -> int:
    if args.to == "mlflow" and not args.uri:
        raise UsageError("--to mlflow needs --uri: a server or sqlite:///FILE")
    if args.to == "tensorboard" and args.output is None:
        raise UsageError("--to tensorboard needs --output: a folder for its files")
    # Before on_root(): the root's owner may not be allowed to read the code.
    import finetuned.files.journal_view
    import finetuned.reports.trackers.job_history
    import finetuned.reports.trackers.to_mlflow
    import finetuned.reports.trackers.to_tensorboard  # noqa: F401

    return on_root(args, _metrics)


VERB = Verb(
    name="metrics",
    summary="Export the history of jobs to MLflow or TensorBoard.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
