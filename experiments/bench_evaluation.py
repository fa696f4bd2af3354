"""
Measure what an evaluation costs beside the training of its job.

    $ python -m experiments.bench_evaluation --rows 40 480
    40 rows: held v0001; 264 answers, 0 losses; training 21.0 s, evaluation 12.9 s CPU: 61%: ...

For each number of rows a real daemon is run on a throw-away root with the settings of the
stream of small files, the canaries and infra_200. That many infrastructure commands are
dropped as one file, and after its verdict as many again. Printed are, for each of both jobs,
the answers that were generated and the losses that were taken alone (rows of the answer
cache), the CPU seconds of the training worker and of the evaluation worker while each worked,
and the second by the first.

Exit status: 0 measured, 1 the daemon failed or a wait took too long.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import psutil

from experiments.cpu_usage import Usage
from experiments.stream import CANARIES, CONFIG, SUITE, WAIT_SECONDS, Failed, daemon, status
from finetuned.core.job import FINAL_STATES
from finetuned.core.phase import Phase
from finetuned.files.answers import AnswerFile
from finetuned.files.journal import Journal
from finetuned.files.rows import JobRow
from finetuned.layout import Layout
from finetuned.sources.intents import drop, training_rows

LOOK_SECONDS = 0.05

EVALUATION = (Phase.LOADING_FOR_EVALUATION, Phase.EVALUATING_CANDIDATE, Phase.EVALUATED)


def main(argv: list[str] | None = None) -> int:
    """
    Measure and print; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.bench_evaluation",
        description="Measure what an evaluation costs beside the training of its job.",
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[40, 480], help="rows of a file")
    parser.add_argument("--files", type=int, default=2, help="files on each root, one by one")
    parser.add_argument("--seed", type=int, default=0, help="of the rows")
    args = parser.parse_args(argv)
    try:
        for rows in args.rows:
            measure(rows, args.files, args.seed)
    except Failed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


def measure(rows: int, n_files: int, seed: int) -> None:
    """
    Drop *n_files* files of *rows* rows on a new root, and print what each job cost.

    Raises:
        Failed: The daemon ended, or a wait took too long.
    """
    root = Path(tempfile.mkdtemp(prefix="finetuned-bench-"))
    try:
        (root / "config.toml").write_text(CONFIG.format(schedule="wsd"))
        (root / "inbox").mkdir()
        (root / "benchmarks").mkdir()
        for suite in (CANARIES, SUITE):
            shutil.copy(suite, root / "benchmarks")
        all_rows = training_rows(seed, rows * n_files)
        with daemon(root) as process:
            for number in range(n_files):
                part = all_rows[number::n_files]
                before = answers(root)
                drop(part, root / "inbox", f"part_{number}.jsonl")
                job, used = wait_for(root, process, number + 1)
                show(
                    len(part),
                    job,
                    [b - a for a, b in zip(before, answers(root), strict=True)],
                    used,
                )
    finally:
        shutil.rmtree(root, ignore_errors=True)


def wait_for(root: Path, process: psutil.Process, n: int) -> tuple[JobRow, Counter[str]]:
    """
    Return the job number *n* when it has ended, and the CPU seconds used until then.
    """
    used, by, began = Usage(process), Counter[str](), time.monotonic()
    while len(found := ended(root)) < n:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise Failed("the daemon ended")
        if time.monotonic() - began > WAIT_SECONDS:
            raise Failed(f"no verdict in {WAIT_SECONDS:.0f} s")
        time.sleep(LOOK_SECONDS)
        evaluates = (status(root) or {}).get("phase") in EVALUATION
        kind = "evaluation" if evaluates else "training"
        by[kind] += used.since_last_look()[kind]
    return found[n - 1], by


def ended(root: Path) -> list[JobRow]:
    """
    Return the jobs that have ended, oldest first.
    """
    path = Layout(root).journal
    if not path.exists():
        return []
    with closing(Journal(path)) as journal:
        return sorted(journal.jobs.in_states(*FINAL_STATES), key=lambda job: job.id)


def answers(root: Path) -> tuple[int, int]:
    """
    Return how many answers, and how many losses alone, the answer cache holds.
    """
    path = Layout(root).answers
    if not path.exists():
        return 0, 0
    with closing(AnswerFile(path)) as file:
        return file.counts()


def show(rows: int, job: JobRow, asked: Sequence[int], used: Counter[str]) -> None:
    """
    Print what one job cost.
    """
    training, evaluation = used["training"], used["evaluation"]
    share = f"{100 * evaluation / training:.0f}%" if training else "no training"
    print(
        f"{rows} rows: {job.state} {job.version}; {asked[0]} answers, {asked[1]} losses; "
        f"CPU: training {training:.1f} s, evaluation {evaluation:.1f} s: {share}: "
        f"{(job.reason or job.error_message or '')[:200]}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
