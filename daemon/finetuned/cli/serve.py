"""
``finetuned serve``: answer requests over HTTP with the version in use.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from finetuned.cli.verb import Verb, add_root, chosen_root
from finetuned.errors import (
    EXIT_CONFIG,
    EXIT_TEMPFAIL,
    AlreadyServed,
    FinetunedError,
    LockHeld,
)
from finetuned.layout import Layout

DETAILS = """examples:
  finetuned serve                                 http://127.0.0.1:9000, this machine only
  finetuned serve --root /srv/ft --port 8080      another root and port
  finetuned keys create laptop                    every request needs a key; this makes one
  curl http://127.0.0.1:9000/generate -H "Authorization: Bearer $KEY" \\
       -H 'Content-Type: application/json' -d '{"prompt": "...", "max_tokens": 100}'

The settings are those of [serving] in config.toml. It follows current_model: a promotion or a
rollback is served within a second, and requests that run end on the version they began with.
Ctrl-C or SIGTERM lets running requests end. The log is logs/serving.log, and logs/engine.log
what the engine's libraries print.

exit status:
  0 stopped   2 wrong usage   70 bug   75 a port is taken, or this root is served already
  78 wrong configuration, or a library is missing
"""

MISSING = "finetuned serve needs libraries that are not installed: pip install 'finetuned[serve]'"


def _configure(parser: argparse.ArgumentParser) -> None:
    add_root(parser)
    parser.add_argument("--host", help="address to listen on (default: serving.host)")
    parser.add_argument("--port", type=int, help="port (default: serving.port)")
    parser.add_argument("--chat-port", type=int, help="second port, 0 for none (default: likewise)")


def run(root: Path, *, host: str | None, port: int | None, chat_port: int | None) -> int:
    """
    Serve *root* until a signal comes.

    Returns:
        The exit status of the process.
    """
    try:
        import fastapi  # noqa: F401
        import httpx  # noqa: F401
        import limits  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        print(f"finetuned: {MISSING}", file=sys.stderr)
        return EXIT_CONFIG
    given = {"host": host, "port": port, "chat_port": chat_port}
    try:
        return _serve(root.resolve(), {k: v for k, v in given.items() if v is not None})
    except FinetunedError as error:
        print(f"finetuned: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        print(f"finetuned: {error}", file=sys.stderr)
        return EXIT_TEMPFAIL


def _serve(root: Path, given: dict[str, str | int]) -> int:
    from finetuned.config import load_config
    from finetuned.serving.gateway.build import build
    from finetuned.serving.gateway.serve import listen, serve
    from finetuned.telemetry.log import configure

    layout = Layout(root)
    whole = load_config(layout.config)
    whole = replace(whole, serving=replace(whole.serving, **given))  # type: ignore[arg-type]
    layout.serving.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.logs.mkdir(exist_ok=True)
    configure(layout.logs / "serving.log", console=True, max_bytes=whole.supervisor.log_max_bytes)
    with _only_one(layout):
        sockets = listen(whole.serving)
        gateway = build(layout, whole, sockets, os.environ)
        try:
            return serve(gateway.service, gateway.app, sockets, gateway.certificate)
        finally:
            gateway.feedback.close()


@contextmanager
def _only_one(layout: Layout) -> Iterator[None]:
    """Hold the lock of the root's service, and say who else does."""
    from finetuned.files.lock import FileLock
    from finetuned.serving.client.find import find_service

    lock = FileLock(layout.serving / ".lock")
    try:
        lock.acquire()
    except LockHeld as held:
        running = find_service(layout)
        where = f" at {running.url}" if running else ""
        raise AlreadyServed(
            f"{layout.root} is served already{where} (by {held.owner}); end that service first, "
            "or serve another root with --root DIR and --port PORT"
        ) from None
    try:
        yield
    finally:
        lock.release()


VERB = Verb(
    name="serve",
    summary="Answer requests over HTTP with the version in use.",
    details=DETAILS,
    configure=_configure,
    run=lambda args: run(
        chosen_root(args), host=args.host, port=args.port, chat_port=args.chat_port
    ),
    quiet_pipe=False,
)
