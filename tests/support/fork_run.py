"""
Training runs without the price of importing torch each time.

The test process has torch; a run is a forked child that calls the worker's own
main() and leaves through its exit status, so it can be killed like a worker.
"""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any

from support.tiny_base import write_rows


def ingest(root: Path, base: Path, names_and_rows: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """
    Validate files with the real ingestion worker; return spec entries.

    A file that is not there is generated.
    """
    files = []
    for name, n in names_and_rows:
        path = root / name
        if not path.exists():
            write_rows(path, n, tag=name[0])
        files.append({"dataset_key": name.replace(".", "_"), "path": str(path), "name": name})
    run_dir = root / "ingest"
    run_dir.mkdir()
    (root / "datasets").mkdir(exist_ok=True)
    spec = {
        "kind": "ingestion",
        "run_id": "r0",
        "files": files,
        "datasets_dir": str(root / "datasets"),
        "base": str(base),
        "data": {"max_length": 512, "holdout_min_rows": 1},
        "enable_thinking": False,
        "model_max_length": None,
    }
    (run_dir / "spec.json").write_text(json.dumps(spec))
    from finetuned.ingestion.worker import main

    assert 0 == fork_main(main, run_dir)
    entries = []
    for file in files:
        result = json.loads((run_dir / "results" / f"{file['dataset_key']}.json").read_text())
        assert "accepted" == result["result"], result
        entries.append(
            {
                "dir": str(root / "datasets" / result["dataset_id"]),
                "dataset_id": result["dataset_id"],
                "sha256": result["sha256"],
                "name": file["name"],
            }
        )
    return entries


def make_run(
    folder: Path,
    *,
    base: Path,
    datasets: list[dict[str, Any]],
    job_id: str = "j000001",
    parent: Path | None = None,
    resume_from: list[Path] = [],  # noqa: B006  never changed
    earlier: list[str] = [],  # noqa: B006  never changed
    training: dict[str, Any] | None = None,
    evaluation: dict[str, Any] | None = None,
) -> Path:
    """
    Write a run folder as the supervisor does.

    A parent is a version: the candidate of another run is named as one by a link.
    """
    folder.mkdir(parents=True)
    if parent is not None and parent.name == "candidate":
        parent = parent.with_name("v0001")
        if not parent.is_symlink():
            parent.symlink_to("candidate")
    spec = {
        "kind": "training",
        "run_id": folder.name,
        "job_id": job_id,
        "attempt": 1,
        "base": str(base),
        "parent": str(parent) if parent else None,
        "datasets": datasets,
        "resume_from": [str(p / "checkpoints") for p in resume_from],
        "earlier": earlier,
        "config": {
            "model": {"base": "tiny", "device": "cpu", "dtype": "float32"},
            "data": {"max_length": 512, "holdout_min_rows": 1},
            "training": {
                "kernels": "split",
                "r": 4,
                "lora_alpha": 8,
                "lora_dropout": 0.1,
                "per_device_train_batch_size": 4,
                "num_train_epochs": 1,
                "save_steps": 3,
                "warmup_steps": 10,
                **(training or {}),
            },
            "evaluation": {"eval_steps": 4, "max_new_tokens": 8, **(evaluation or {})},
        },
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    return folder


def fork_start(main: Any, run_dir: Path) -> int:
    """
    Fork a child that runs a worker's main on *run_dir*; return its pid.
    """
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            os.setpgid(0, 0)
            output = os.open(run_dir / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            import torch

            torch.set_num_threads(1)
            gc.freeze()  # the Trainer collects garbage; the imports of the parent are none
            status = main([str(run_dir)])
        finally:
            os._exit(status)
    return pid


def fork_main(main: Any, run_dir: Path) -> int:
    """
    Run a worker's main in a forked child and return its exit status.
    """
    _, status = os.waitpid(fork_start(main, run_dir), 0)
    return os.waitstatus_to_exitcode(status)
