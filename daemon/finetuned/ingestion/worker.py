"""
The ingestion process: ``python -m finetuned.ingestion.worker [RUN_DIR]``.

Told its run folder as an argument or by one line on standard input, it turns
each file of the spec into a dataset or a reason, and talks back only through
that folder and its exit status:

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
from typing import Any, Final

import orjson

from finetuned.config import config_from_dict
from finetuned.core.text import printable
from finetuned.data.render import Renderer
from finetuned.errors import (
    ConfigError,
    Interrupted,
)
from finetuned.files.atomic import write_atomic
from finetuned.files.run import Heartbeat
from finetuned.ingestion.ingest import Ingestion
from finetuned.ingestion.source import Source
from finetuned.process.lifeline import Lifeline
from finetuned.process.worker import run_worker

RESULTS: Final = "results"

_SPEC_KEYS: Final = ("files", "datasets_dir", "base", "data", "enable_thinking", "model_max_length")
_KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}")


class IngestionRun:
    """
    One run over the files of one spec.
    """

    def __init__(self, run_dir: Path, spec: dict[str, Any], lifeline: Lifeline) -> None:
        missing = [key for key in _SPEC_KEYS if key not in spec]
        if missing:
            raise ConfigError(f"{run_dir}: the spec has no {', '.join(missing)}")
        self.run_dir = run_dir
        self.spec = spec
        self.lifeline = lifeline
        self.config = config_from_dict({"data": spec["data"]}).data
        self.heartbeat = Heartbeat(run_dir)
        self.sources = [_source(entry) for entry in spec["files"]]

    def run(self) -> None:
        """
        Give every file of the spec a result.

        Raises:
            ConfigError: The spec, or the base model it names, cannot be used.
            BaseModelMissing: There is no tokenizer where the spec says.
            Interrupted: A stop was asked for; results so far stand.
            OSError: The file system refused; results so far stand.
        """
        results = self.run_dir / RESULTS
        results.mkdir(exist_ok=True)
        todo = [s for s in self.sources if not (results / f"{s.dataset_key}.json").exists()]
        n_done = len(self.sources) - len(todo)
        self.heartbeat.beat(
            force=True, phase="starting", files_done=n_done, files_total=len(self.sources)
        )
        self._stop_if_asked()
        limit = self.spec["model_max_length"]
        max_length = self.config.max_length
        renderer = Renderer.load(
            Path(self.spec["base"]),
            max_length=max_length if limit is None else min(max_length, limit),
            enable_thinking=self.spec["enable_thinking"],
        )
        ingestion = Ingestion(
            datasets_dir=Path(self.spec["datasets_dir"]),
            run_dir=self.run_dir,
            renderer=renderer,
            config=self.config,
            benchmarks=Path(self.spec["benchmarks"]) if self.spec.get("benchmarks") else None,
        )
        for source in todo:
            self.heartbeat.fields.update(file=source.name, bytes_total=_size(source.path))
            try:
                result = ingestion.ingest(source, self._tick)
            except Exception as error:
                error.add_note(f"while ingesting dataset_key {source.dataset_key}")
                raise
            # Not durable: after a power cut the published dataset, which is, says it again.
            write_atomic(
                results / f"{source.dataset_key}.json", orjson.dumps(result), durable=False
            )
            n_done += 1
            self.heartbeat.beat(files_done=n_done)
        self.heartbeat.beat(force=True, phase="done", file=None)

    def _tick(self, phase: str, rows: int, n_bytes: int) -> None:
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

    def work(run_dir: Path, spec: dict[str, Any], lifeline: Lifeline) -> None:
        IngestionRun(run_dir, spec, lifeline).run()

    return run_worker(argv, warm_up=_imports, work=work)


def _source(entry: dict[str, Any]) -> Source:
    key = entry["dataset_key"]
    if not _KEY.fullmatch(key):
        raise ConfigError(f"dataset_key {key!r} cannot be the name of a file")
    return Source(
        dataset_key=key,
        path=Path(entry["path"]),
        name=printable(entry["name"]),
        claimed_bytes=entry.get("bytes"),
    )


def _size(path: Path) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:
        return 0  # the ingestion says why


if __name__ == "__main__":
    sys.exit(main())
