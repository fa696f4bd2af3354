"""
``finetuned serve`` with the fake engine: a process of its own, for signals and exit statuses.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from finetuned.cli.serve import run
from finetuned.serving.gateway.engines import own
from support.gateway import fake_command

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    own.engine_command = lambda _: fake_command
    raise SystemExit(run(args.root, host=None, port=args.port, chat_port=0))
