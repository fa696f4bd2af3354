"""
The ingestion process: ``python -m finetuned.ingestion.worker [RUN_DIR]``.

Told its run folder as an argument or by one line on standard input, it turns
each file of the spec into a dataset or a reason, and reports only through that
folder and its exit status:

    results/<dataset_key>.json   one per file, as soon as it is known
    heartbeat.json               progress, at most four times a second
    error.json                   why it ended with anything but 0
    <dataset_key>/               report and rejected lines of a quarantined file

Started again on the same folder it goes on with the files that have no result.
Exit status: 0 all files have a result, 70 a bug (error.json names the file),
75 asked to stop or the disk refuses, 78 the configuration is wrong.

Never loads torch. Knows the run folder; does not know jobs, inbox or training.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final

from finetuned.core.phase import Phase
from finetuned.core.text import printable
from finetuned.data.render import Renderer
from finetuned.data.training_sequence import length_limit
from finetuned.errors import (
    ConfigError,
    Interrupted,
)
from finetuned.files.dataset_result import RESULTS, result_path, write_result
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.spec import ClaimedFile, IngestionSpec
from finetuned.ingestion.ingest import Ingestion
from finetuned.ingestion.source import Source
from finetuned.process.lifeline import Lifeline
from finetuned.process.worker import run_worker

STOP_SECONDS: Final = 5.0
"""
How long after a stop the process ends, whatever it does: a chat template may loop for
ever. Nothing is lost, because a dataset is published by one rename at its end.
"""

_KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}")


class IngestionRun:
    """
    One run over the files of one spec.
    """

    def __init__(self, run_dir: Path, spec: IngestionSpec, lifeline: Lifeline) -> None:
        self.run_dir = run_dir
        self.spec = spec
        self.lifeline = lifeline
        self.config = spec.data
        self.heartbeat = Heartbeat(run_dir)
        self.sources = [_source(file) for file in spec.files]

    def run(self) -> None:
        """
        Give every file of the spec a result.

        Raises:
            ConfigError: The spec, or the base model it names, cannot be used.
            BaseModelMissing: There is no tokenizer where the spec says.
            Interrupted: A stop was asked for; results so far stand.
            OSError: The file system refused; results so far stand.
        """
        (self.run_dir / RESULTS).mkdir(exist_ok=True)
        todo = [s for s in self.sources if not result_path(self.run_dir, s.dataset_key).exists()]
        n_done = len(self.sources) - len(todo)
        self.heartbeat.beat(
            force=True, phase=Phase.STARTING, files_done=n_done, files_total=len(self.sources)
        )
        self._stop_if_asked()
        max_length, limited_by = length_limit(self.config.max_length, self.spec.model_max_length)
        renderer = Renderer.load(
            self.spec.base,
            max_length=max_length,
            limited_by=limited_by,
            enable_thinking=self.spec.enable_thinking,
        )
        ingestion = Ingestion(
            datasets_dir=self.spec.datasets_dir,
            run_dir=self.run_dir,
            renderer=renderer,
            config=self.config,
            benchmarks=self.spec.benchmarks,
        )
        for source in todo:
            self.heartbeat.beat(file=source.name, bytes_total=_size(source.path))
            try:
                result = ingestion.ingest(source, self._tick)
            except Exception as error:
                error.add_note(f"while ingesting dataset_key {source.dataset_key}")
                raise
            write_result(self.run_dir, source.dataset_key, result)
            n_done += 1
            self.heartbeat.beat(files_done=n_done)
        self.heartbeat.beat(force=True, phase=Phase.DONE, file=None)

    def _tick(self, phase: Phase, rows: int, n_bytes: int) -> None:
        self._stop_if_asked()
        self.heartbeat.beat(phase=phase, rows=rows, bytes=n_bytes)

    def _stop_if_asked(self) -> None:
        if self.lifeline.stopping:
            raise Interrupted(
                f"stopped ({self.lifeline.cause}); files without a result are taken up again"
            )


def _imports() -> None:
    from transformers import PreTrainedTokenizerFast  # noqa: F401


def main(argv: list[str] | None = None) -> int:
    """
    Run the worker; see the module's text for the exit status.
    """

    def work(run_dir: Path, spec: IngestionSpec, lifeline: Lifeline) -> None:
        IngestionRun(run_dir, spec, lifeline).run()

    return run_worker(
        argv, spec=IngestionSpec, warm_up=_imports, work=work, stop_seconds=STOP_SECONDS
    )


def _source(file: ClaimedFile) -> Source:
    if not _KEY.fullmatch(file.dataset_key):
        raise ConfigError(f"dataset_key {file.dataset_key!r} cannot be the name of a file")
    return Source(
        dataset_key=file.dataset_key,
        path=file.path,
        name=printable(file.name),
        claimed_bytes=file.bytes,
        stuck=file.stuck,
    )


def _size(path: Path) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:
        return 0  # the ingestion reports why


if __name__ == "__main__":
    sys.exit(main())
