"""
What the parts of the supervisor share: paths, configuration, journal, status.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from finetuned.config import Config, ignored_keys, load_config
from finetuned.errors import ConfigError, FinetunedError
from finetuned.files.base_model import find_base
from finetuned.files.journal import Journal
from finetuned.layout import Layout
from finetuned.supervisor.pages import Pages
from finetuned.supervisor.status import StatusBoard

log = structlog.get_logger()


@dataclass
class Context:
    """
    Owned by the loop, handed to its parts.
    """

    layout: Layout
    config: Config
    journal: Journal
    board: StatusBoard
    pages: Pages = field(init=False)
    unread: dict[str, str] = field(default_factory=dict)
    """Path below inbox/ of an original in its last place -> what was written to it too late."""
    shown_head: tuple[str | None, str | None] | None = None
    """Head and release as the status shows them; None before the first look."""
    blocked_reason: str | None = None
    blocked_by: str = ""
    """Name of the step of the loop that was refused; empty if a worker was."""
    _blocked_until: float = 0.0
    _config_stamp: tuple[int, int] | None = field(default=None)

    def __post_init__(self) -> None:
        self.pages = Pages(self.layout)

    @property
    def share_examples(self) -> int:
        """Up to how many examples a dataset may share a job; 0 if each goes to its own family."""
        alone = self.config.training.adapters == "families"
        return 0 if alone else self.config.inbox.share_run_max_examples

    def block(self, reason: str, detail: str, *, by: str = "") -> None:
        """
        Start nothing new for a while, and show why; logged once, however often it is refused.
        """
        known = self.blocked_reason or ""
        if not known.startswith(f"{reason}: ") or self.blocked_by != by:
            log.warning("work_blocked", reason=reason, detail=detail)
        self.blocked_reason, self.blocked_by = f"{reason}: {detail}", by
        self._blocked_until = time.monotonic() + self.config.supervisor.retry_seconds

    def blocked(self) -> str | None:
        """
        Return why nothing new may start now; None once it is time to try again.

        The reason stays in the status until an action succeeds: see unblock().
        """
        return self.blocked_reason if time.monotonic() < self._blocked_until else None

    def unblock(self) -> None:
        """
        Allow new work again: the step that was refused has succeeded.
        """
        if self.blocked_reason is not None:
            log.info("work_unblocked", reason=self.blocked_reason)
        self.blocked_reason, self.blocked_by = None, ""
        self._blocked_until = 0.0

    def reload_config(self) -> None:
        """
        Read config.toml again at a job boundary; a bad edit is shown and not used.
        """
        stamp = self._stamp()
        if stamp == self._config_stamp:
            return
        self._config_stamp = stamp
        try:
            config = load_config(self.layout.config)
            find_base(self.layout, config.model.base)
        except FinetunedError as error:
            log.warning("config_rejected", error=str(error))
            self.board.update(config_error=str(error))
            return
        if config != self.config:
            log.info("config_changed")
        self.config = config
        self.board.update(config_error=None)

    def note_config(self) -> None:
        """
        Remember the file as it is now, which start-up has just read, and warn of retired keys.
        """
        for warning in ignored_keys(self.layout.config):
            log.warning("config_key_ignored", warning=warning)
        self._config_stamp = self._stamp()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            info = self.layout.config.stat()
        except OSError:
            return None
        return info.st_mtime_ns, info.st_size

    def base(self) -> Path:
        """
        Return the directory of the configured base model.

        Raises:
            BaseModelMissing: It went away since the start.
        """
        return find_base(self.layout, self.config.model.base)


def check_root(layout: Layout) -> None:
    """
    Make the folders of a root.

    Raises:
        ConfigError: The root itself does not exist or is no directory.
        OSError: The file system refused.
    """
    if not layout.root.is_dir():
        raise ConfigError(f"root {layout.root} is not a directory; create it first")
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
