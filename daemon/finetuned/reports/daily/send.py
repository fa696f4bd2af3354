"""
One message to one address, by Apprise: mail, Slack, Teams, Telegram, ntfy, webhooks and others.

Apprise is an extra (``pip install 'finetuned[report]'``) and imported here only. It may wait for
a server for long: the caller's process has a time limit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from finetuned.reports.daily.addresses import redacted
from finetuned.reports.daily.letter import PICTURE
from finetuned.reports.daily.message import Message

WAIT_SECONDS = 20.0
"""How long a server may be silent; the library's own 4 s are short on a busy machine."""

MISSING = "Apprise is not installed; it comes with: pip install 'finetuned[report]'"

MOST_PROBLEM = 300
"""Characters of a problem that are kept."""


def load() -> None:
    """
    Import the library, if it is there: seconds that no try should be charged with.
    """
    with suppress(ImportError):
        import apprise
        import apprise.plugins.email  # noqa: F401


def send(address: str, subject: str, message: Message, picture: bytes | None) -> str | None:
    """
    Send a message; return None if the server took it, else why not, without any secret.

    Args:
        address: A URL of Apprise.
        subject: One line.
        message: In its forms; a mail gets the HTML, others Markdown, or what is short enough.
        picture: PNG that the HTML refers to.
    """
    try:
        import apprise  # noqa: F401
    except ImportError:
        return MISSING
    with _said() as said:
        try:
            sent = _send(address, subject, message, picture)
        except Exception as error:  # a plugin of the library failed: that is one try in vain
            said.append(f"{type(error).__name__}: {error}")
            sent = False
    if sent:
        return None
    problem = "; ".join(dict.fromkeys(said)) or "the server did not take it and gave no reason"
    return redacted(problem, address)[:MOST_PROBLEM]


def _send(address: str, subject: str, message: Message, picture: bytes | None) -> bool:
    import apprise
    from apprise.attachment.memory import AttachMemory
    from apprise.plugins.email import NotifyEmail

    asset = apprise.AppriseAsset(app_id="finetuned", app_desc="finetuned", app_url="")
    plugin = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    if plugin is None:
        raise ValueError("the address is none that Apprise understands")
    plugin.socket_connect_timeout = max(plugin.socket_connect_timeout, WAIT_SECONDS)
    plugin.socket_read_timeout = max(plugin.socket_read_timeout, WAIT_SECONDS)
    target = apprise.Apprise(asset=asset)
    target.add(plugin)
    if isinstance(plugin, NotifyEmail) and message.html is not None:
        attached = None
        if picture is not None:
            plugin.inline = True
            attached = apprise.AppriseAttachment()
            attached.add(AttachMemory(content=picture, name=PICTURE, mimetype="image/png"))
        return bool(
            target.notify(
                body=message.html,
                title=subject,
                body_format=apprise.NotifyFormat.HTML,
                attach=attached,
            )
        )
    fits = len(message.markdown) <= plugin.body_maxlen
    return bool(
        target.notify(
            body=message.markdown if fits else message.short,
            title=subject,
            body_format=apprise.NotifyFormat.MARKDOWN if fits else apprise.NotifyFormat.TEXT,
        )
    )


@contextmanager
def _said() -> Iterator[list[str]]:
    """Collect what the library logs as a problem, and let nothing of it reach any other log."""
    said: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, handler = logging.getLogger("apprise"), Collect(logging.WARNING)
    level, propagate, handlers = logger.level, logger.propagate, logger.handlers
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.WARNING)
    try:
        yield said
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
