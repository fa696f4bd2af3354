"""
``finetuned serve`` with the fake engine: a process of its own, for signals and exit statuses.
"""

from __future__ import annotations

import argparse
import os
import resource
from pathlib import Path

from finetuned.cli.serve import run
from finetuned.serving.gateway import connection
from finetuned.serving.gateway.engines import own
from support.gateway import fake_command

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    own.engine_command = lambda _: fake_command
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # as low as any system has it
    if most := os.environ.get("FINETUNED_TEST_CONNECTIONS"):
        connection.MOST_CONNECTIONS = int(most)
    raise SystemExit(run(args.root, host=None, port=args.port, chat_port=0))
