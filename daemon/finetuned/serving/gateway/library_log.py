"""
What libraries log, as events of our own log: escaped, with a level, in one file.

Without this, Python prints their warnings to standard error as they are.
"""

from __future__ import annotations

import logging

import structlog

log = structlog.get_logger()


class _IntoLog(logging.Handler):
    """Writes one event for each record."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        said = {"library": record.name, "reason": record.getMessage().strip()}
        if record.levelno >= logging.ERROR:
            log.error("library_said", **said, exc_info=record.exc_info or None)
        else:
            log.warning("library_said", **said)


def log_libraries() -> None:
    """
    Log what libraries say, from warnings on.

    uvicorn's from errors on: it warns of each request that is no HTTP, which is a client's matter
    and would let any stranger fill the log.
    """
    logging.root.handlers[:] = [_IntoLog()]
    logging.root.setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
