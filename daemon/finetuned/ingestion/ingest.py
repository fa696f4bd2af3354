"""
One inbox file to one published dataset, or to a reason why not.

Two streaming passes over one open descriptor: the first validates, renders and
tokenises every line; then the split is decided; the second writes the held-out
rows and looks for leaks. A hash before and one during the first pass, and the
file's size, time and inode at the end, prove that both saw the same bytes.

Knows the source file and the dataset's folder; does not know jobs or who asked.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from finetuned.config import DataConfig
from finetuned.core.phase import Phase
from finetuned.core.text import printable
from finetuned.data import store
from finetuned.data.examples import Example, prompt_hash, to_example, to_record
from finetuned.data.holdout import (
    HELD_OUT,
    TRAIN,
    Holdout,
    choose_holdout,
    distinct,
    write_hashes,
)
from finetuned.data.leak import LeakCheck
from finetuned.data.render import Renderer
from finetuned.data.strict_json import Oversized, iter_lines, parse_line
from finetuned.errors import MalformedExample, ModelError, UnstableDataset
from finetuned.files.atomic import fsync_file, publish_dir, remove_tree, write_atomic
from finetuned.files.dataset_result import DatasetOutcome, DatasetResult
from finetuned.files.manifest import read_manifest, write_manifest
from finetuned.ingestion.history import History
from finetuned.ingestion.report import Report
from finetuned.ingestion.source import (
    Line,
    Source,
    SourceUnreadable,
    Tick,
    guarded,
    hash_source,
    open_regular,
    require_unchanged,
    why_unreadable,
)

BATCH_ROWS: Final = 256
BATCH_BYTES: Final = 1 << 20
MAX_REJECTS_LISTED: Final = 100_000
"""Refused lines listed one by one; more are only counted: a bad 10 GB file must fit the disk."""

_PASSWORD: Final = re.compile(r'password\w*\\*"\s*:\s*\\*"([^"\\]+)')


class Ingestion:
    """
    Everything that stays the same from file to file.
    """

    def __init__(
        self,
        *,
        datasets_dir: Path,
        run_dir: Path,
        renderer: Renderer,
        config: DataConfig,
        benchmarks: Path | None = None,
    ) -> None:
        self._datasets_dir = datasets_dir
        self._run_dir = run_dir
        self._renderer = renderer
        self._config = config
        self._history = History.load(datasets_dir, benchmarks)
        self._syncs = ThreadPoolExecutor(max_workers=8)

    def ingest(self, source: Source, tick: Tick) -> DatasetResult:
        """
        Validate *source* and publish it as a dataset, if it is one.

        Raises:
            OSError: The dataset cannot be written; nothing was published.
            Interrupted: *tick* raised it; nothing was published.
        """
        try:
            fd = open_regular(source.path)
        except OSError as error:
            return DatasetResult(result=DatasetOutcome.UNREADABLE, reason=why_unreadable(error))
        building = self._datasets_dir / f".building-{source.dataset_key}"
        try:
            shutil.rmtree(building, ignore_errors=True)
            return self._ingest_open(fd, source, building, tick)
        except SourceUnreadable as error:
            return DatasetResult(result=DatasetOutcome.UNREADABLE, reason=str(error))
        except UnstableDataset as error:
            return DatasetResult(result=DatasetOutcome.UNSTABLE, reason=str(error))
        finally:
            os.close(fd)
            shutil.rmtree(building, ignore_errors=True)

    def _ingest_open(self, fd: int, source: Source, building: Path, tick: Tick) -> DatasetResult:
        began = time.monotonic()
        before = os.fstat(fd)
        if source.claimed_bytes not in (None, before.st_size):
            raise UnstableDataset(f"it had {source.claimed_bytes} bytes when it was claimed")
        digest = hash_source(fd, tick)
        dataset_id = digest[:16]
        facts: dict[str, Any] = {
            "dataset_id": dataset_id,
            "sha256": digest,
            "bytes": before.st_size,
        }
        final = self._datasets_dir / dataset_id
        published = self._published(final)
        if published is not None:
            earlier = orjson.loads((final / store.REPORT).read_bytes())
            if published.get("dataset_key") == source.dataset_key:
                # Ours: an earlier attempt at this claim ended before it wrote the result.
                return DatasetResult(result=DatasetOutcome.ACCEPTED, **facts, report=earlier)
            reason = f"the same bytes are dataset {dataset_id} already"
            return DatasetResult(
                result=DatasetOutcome.DUPLICATE, **facts, reason=reason, report=earlier
            )
        building.mkdir()
        writer = store.DatasetWriter(building)
        report = Report(source.name, dataset_id, before.st_size, self._renderer.max_length)
        try:
            with (building / store.REJECTS).open("wb") as rejects:
                read_digest = self._first_pass(fd, writer, report, rejects, tick)
        finally:
            writer.close()
        require_unchanged(source.path, fd, before, digest, read_digest)
        refusal = report.refusal(self._config.max_rejected_fraction)
        if refusal is None:
            n_train = self._split(fd, writer, report, tick)
            if n_train == 0:
                refusal = "earlier datasets hold out every prompt of this one: nothing to train"
        require_unchanged(source.path, fd, before, digest, read_digest)
        report.seconds = round(time.monotonic() - began, 3)
        if refusal is not None:
            self._quarantine(source, building, report)
            return DatasetResult(
                result=DatasetOutcome.QUARANTINED, **facts, reason=refusal, report=report.as_dict()
            )
        (building / store.REPORT).write_bytes(_pretty(report.as_dict()))
        write_manifest(
            building,
            {
                "dataset_id": dataset_id,
                "dataset_key": source.dataset_key,
                "source_sha256": digest,
                "source_bytes": before.st_size,
                "source_name": source.name,
                "renderer": self._renderer.fingerprint,
                "max_length": self._renderer.max_length,
                "n_train_sequences": n_train,
                "n_train_rows": report.train_rows,
                "n_heldout": report.heldout_rows,
            },
        )
        # Side by side their syncs share one commit of the file system's journal:
        # measured 1.4 ms for ten files against 15 ms one after another.
        list(self._syncs.map(fsync_file, building.iterdir()))
        remove_tree(final)
        publish_dir(building, final)
        self._history.add(final)
        return DatasetResult(result=DatasetOutcome.ACCEPTED, **facts, report=report.as_dict())

    def _published(self, final: Path) -> dict[str, Any] | None:
        """
        Return the manifest in *final*, unless another renderer made what is there.
        """
        try:
            manifest = read_manifest(final)
        except ModelError:
            return None
        return manifest if manifest.get("renderer") == self._renderer.fingerprint else None

    def _first_pass(
        self,
        fd: int,
        writer: store.DatasetWriter,
        report: Report,
        rejects: BinaryIO,
        tick: Tick,
    ) -> str:
        """
        Validate, render and write every line; return the hash of what was read.
        """
        digest = sha256()
        n_bytes = 0

        def on_bytes(chunk: bytes) -> None:
            nonlocal n_bytes
            digest.update(chunk)
            n_bytes += len(chunk)
            tick(Phase.VALIDATING, report.rows_read, n_bytes)

        os.lseek(fd, 0, os.SEEK_SET)
        for batch in _batches(
            guarded(iter_lines(fd, self._config.max_line_bytes, on_bytes=on_bytes))
        ):
            self._validate(batch, writer, report, rejects)
            tick(Phase.VALIDATING, report.rows_read, n_bytes)
        if report.rows_rejected > MAX_REJECTS_LISTED:
            left_out = report.rows_rejected - MAX_REJECTS_LISTED
            rejects.write(orjson.dumps({"not_listed": left_out}) + b"\n")
        return digest.hexdigest()

    def _validate(
        self,
        batch: list[Line],
        writer: store.DatasetWriter,
        report: Report,
        rejects: BinaryIO,
    ) -> None:
        parsed: list[Example | MalformedExample] = []
        for _, _, line in batch:
            try:
                parsed.append(_to_example(line, self._config.max_line_bytes))
            except MalformedExample as error:
                parsed.append(error)
        rendered = iter(self._renderer.render_many(p for p in parsed if isinstance(p, Example)))
        for (number, offset, line), example in zip(batch, parsed, strict=True):
            outcome = next(rendered) if isinstance(example, Example) else example
            if isinstance(outcome, MalformedExample):
                entry = _reject_entry(number, outcome, line)
                report.count_rejected(entry)
                if report.rows_rejected <= MAX_REJECTS_LISTED:
                    rejects.write(orjson.dumps(entry) + b"\n")
                continue
            assert isinstance(example, Example)  # noqa: S101 - for the type checker
            assert isinstance(line, bytes)  # noqa: S101
            report.count_accepted(example.format, outcome)
            writer.add(
                line=number,
                offset=offset,
                n_bytes=len(line),
                prompt_hash=prompt_hash(example),
                sequences=[(s.input_ids, s.supervised) for s in outcome],
            )

    def _split(self, fd: int, writer: store.DatasetWriter, report: Report, tick: Tick) -> int:
        """
        Decide the split, write what belongs to it; return the number of training sequences.
        """
        tick(Phase.SPLITTING, report.rows_read, 0)
        history = self._history
        holdout = choose_holdout(
            writer.prompt_hashes,
            writer.n_rows,
            fraction=self._config.holdout_fraction,
            min_rows=self._config.holdout_min_rows,
            max_rows=self._config.holdout_max_rows,
            trained=history.trained,
            held_out=history.held_out,
        )
        n_train = writer.apply_holdout(holdout)
        folder = writer.folder
        for name, training in ((store.PROMPTS_TRAIN, True), (store.PROMPTS_HELD_OUT, False)):
            parts = distinct(writer.prompt_hashes, writer.n_rows)
            write_hashes(
                folder / name,
                (u[(holdout.split(u) == TRAIN) == training] for u, _ in parts),
            )
        rows_of = [0, 0, 0]
        for hashes in writer.prompt_hashes():
            for split, n in enumerate(_bincount(holdout, hashes)):
                rows_of[split] += n
        report.set_split(rows_of, holdout, n_train)
        check = LeakCheck(n_train_rows=report.train_rows, hits_file=folder / ".hits.tmp")
        check.add_earlier(ngrams=history.ngrams, answers=history.answers)
        with (folder / store.HELD_OUT_EXAMPLES).open("wb") as f:
            for rows in _rows_of(fd, writer, holdout, training=False):
                for number, example in rows:
                    check.add_heldout(example)
                    record = self._heldout_record(report.dataset_id, number, example)
                    f.write(orjson.dumps(record) + b"\n")
        grams, answers = check.heldout_hashes()
        write_hashes(folder / store.HELD_OUT_NGRAMS, [grams])
        write_hashes(folder / store.HELD_OUT_ANSWERS, [answers])

        def training_rows() -> Iterator[list[Example]]:
            n_rows = 0
            for rows in _rows_of(fd, writer, holdout, training=True):
                tick(Phase.LEAK_CHECK, n_rows, 0)
                yield [example for _, example in rows]
                n_rows += len(rows)

        report.leaks = asdict(check.check(training_rows()))
        writer.forget_rows()
        return n_train

    def _heldout_record(self, dataset_id: str, number: int, example: Example) -> dict[str, Any]:
        record = {"id": f"{dataset_id}:{number}", "line": number, **to_record(example)}
        if example.kind == "text":
            return {**record, "system": None, "prompt": None, "golden": None}
        system = [m["content"] for m in example.messages if m["role"] == "system"]
        users = [m["content"] for m in example.messages if m["role"] == "user"]
        return {
            **record,
            "system": system[0] if system else None,
            "prompt": users[-1] if users else None,
            "golden": self._renderer.golden(example),
        }

    def _quarantine(self, source: Source, building: Path, report: Report) -> None:
        folder = self._run_dir / source.dataset_key
        folder.mkdir(exist_ok=True)
        shutil.move(building / store.REJECTS, folder / store.REJECTS)
        write_atomic(folder / store.REPORT, _pretty(report.as_dict()))


def _batches(
    lines: Iterator[Line],
) -> Iterator[list[Line]]:
    batch: list[Line] = []
    n_bytes = 0
    for entry in lines:
        batch.append(entry)
        n_bytes += len(entry[2]) if isinstance(entry[2], bytes) else 0
        if len(batch) >= BATCH_ROWS or n_bytes >= BATCH_BYTES:
            yield batch
            batch, n_bytes = [], 0
    if batch:
        yield batch


def _to_example(line: bytes | Oversized, max_line_bytes: int) -> Example:
    if isinstance(line, Oversized):
        raise MalformedExample(
            "line_too_long",
            f"the line has {line.n_bytes} bytes, at most {max_line_bytes} are allowed "
            "(data.max_line_bytes)",
        )
    return to_example(parse_line(line))


def _reject_entry(number: int, error: MalformedExample, line: bytes | Oversized) -> dict[str, Any]:
    head = line.head if isinstance(line, Oversized) else line[:800]
    text = head.decode("utf-8", "backslashreplace")
    # A refused row is written down too, but not its passwords.
    for secret in set(_PASSWORD.findall(text)):
        text = text.replace(secret, "***")
    # Printable: people read this file in a terminal, where some characters act.
    shown = printable(text)[:200]
    return {"line": number, "code": error.code, "reason": printable(error.reason), "text": shown}


def _rows_of(
    fd: int, writer: store.DatasetWriter, holdout: Holdout, *, training: bool
) -> Iterator[list[tuple[int, Example]]]:
    """
    Yield the rows to train, or those to hold out, read again, with their line numbers.
    """
    wanted = TRAIN if training else HELD_OUT
    for rows in writer.rows():
        chosen = rows[holdout.split(rows["prompt_hash"].copy()) == wanted]
        for start in range(0, len(chosen), BATCH_ROWS):
            batch = []
            for row in chosen[start : start + BATCH_ROWS]:
                line = os.pread(fd, int(row["length"]), int(row["offset"]))
                try:
                    batch.append((int(row["line"]), to_example(parse_line(line))))
                except MalformedExample:
                    raise UnstableDataset(f"line {row['line']} changed between two reads") from None
            yield batch


def _bincount(holdout: Holdout, hashes: Any) -> list[int]:
    split = holdout.split(hashes)
    return [int((split == value).sum()) for value in range(3)]


def _pretty(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)
