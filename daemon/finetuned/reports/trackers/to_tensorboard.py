"""
Jobs as event files that TensorBoard shows: one folder each.

A folder is written whole beside its place and renamed, so that TensorBoard, or a second export
at once, never sees half of one. Needs the package tensorboard (extra ``tensorboard``).
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from finetuned.errors import ConfigError
from finetuned.reports.trackers.job_history import JobHistory


def write_tensorboard(folder: Path, history: JobHistory) -> Path:
    """
    Write one job into ``folder/<job>``, in the place of what is there; return that folder.

    Raises:
        ConfigError: The package tensorboard is not installed.
        OSError: The file system refused; what was there before is still in place.
    """
    try:
        from tensorboard.compat.proto import (  # type: ignore[import-not-found]
            event_pb2,
            summary_pb2,
        )
        from tensorboard.summary.writer import (  # type: ignore[import-not-found]
            event_file_writer,
        )
    except ImportError as error:
        raise ConfigError(
            f"TensorBoard's files need the package tensorboard ({error}): pip install tensorboard"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / history.job_id
    made = Path(tempfile.mkdtemp(dir=folder, prefix=f".{history.job_id}."))
    try:
        made.chmod(0o755)
        writer = event_file_writer.EventFileWriter(str(made))
        last = max((point.step for point in history.points), default=0)
        points = [(p.name, p.step, p.value, p.seconds) for p in history.points]
        end = history.ended or history.began
        points += [(name, last, value, end) for name, value in history.results.items()]
        for name, step, value, seconds in points:
            shown = summary_pb2.Summary.Value(tag=name, simple_value=value)
            summary = summary_pb2.Summary(value=[shown])
            writer.add_event(event_pb2.Event(wall_time=seconds, step=step, summary=summary))
        writer.close()
        if target.exists():
            shutil.rmtree(target)
        made.rename(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return target
