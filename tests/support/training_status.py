"""
The status file of a daemon that trains: the process of the test.
"""

from __future__ import annotations

from typing import Any

import orjson

from finetuned.layout import Layout
from finetuned.supervisor.status import StatusBoard

TRAINING: dict[str, Any] = {
    "phase": "training",
    "job": {"id": "j000001"},
    "current_step": 120,
    "total_steps": 400,
    "loss": 0.75,
    "validation_loss": 0.8,
    "learning_rate": 0.0001,
    "grad_norm": 1.5,
    "kl_to_incumbent": 0.02,
    "tokens_per_second": 1500.0,
    "eta_seconds": 60.0,
    "total_evals": 10,
    "accuracy_percent": 80.0,
    "steps_skipped": 0,
    "queue": {"inbox": 3},
    "host": {
        "cpu_pct": 50.0,
        "memory_used_bytes": 1,
        "memory_total_bytes": 2,
        "worker_rss_bytes": 3,
    },
    "gpus": [
        {
            "index": 0,
            "utilisation_pct": 90,
            "memory_used_bytes": 5,
            "memory_total_bytes": 6,
            "temperature_celsius": 40,
            "power_watts": 200.0,
        },
        {"index": 1, "utilisation_pct": 0, "power_watts": None},
    ],
}


def write_status(layout: Layout, **changes: object) -> None:
    """
    Write what such a daemon says of itself, with *changes*.
    """
    board = StatusBoard(layout.status_file)
    board.fields.update(TRAINING)
    board.write(durable=False)
    status = orjson.loads(layout.status_file.read_bytes()) | changes
    layout.status_file.write_bytes(orjson.dumps(status))
