"""
File system events, as a hint that makes the next look come earlier.

Events may be lost (a stopped process lost most of 20,000), so only the scan decides
which files there are. An event alone can tell that a file arrived by rename, and so
is complete.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import structlog
from watchdog.events import FileMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers.inotify import InotifyObserver

from finetuned.process.wake import Wake

log = structlog.get_logger()

# A thread that is stopped while it waits for events says so as an error; a daemon that ends in
# good order has nothing to say.
logging.getLogger("watchdog.observers.inotify").addFilter(
    lambda record: "thread is inactive" not in record.getMessage()
)


class InboxEvents(FileSystemEventHandler):
    """
    Wakes the loop when something happens in the inbox or in control/.
    """

    def __init__(self, inbox: Path, control: Path, wake: Wake) -> None:
        self._inbox = os.fsencode(inbox)
        self._folders = (inbox, *(inbox / p for p in ("high", "normal", "low")), control)
        self._wake = wake
        self._lock = threading.Lock()
        self._renamed: set[bytes] = set()
        self._observer: InotifyObserver | None = None
        self._watched: list[tuple[int, int] | None] = []

    def start(self) -> None:
        """
        Begin to watch; if that is impossible, log it once and rely on the scan.
        """
        self._watched = self._identities()
        observer = None
        try:
            # Full events keep apart what was created here and what was moved in.
            observer = InotifyObserver(generate_full_events=True)
            for folder, identity in zip(self._folders, self._watched, strict=True):
                if identity is not None:
                    observer.schedule(self, str(folder), recursive=False)
            observer.start()
        except OSError as error:
            if observer is not None:
                observer.stop()
            log.warning("watcher_unavailable", error=str(error))
            return
        self._observer = observer

    def stop(self) -> None:
        """
        End the threads.
        """
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(timeout=5)
            self._observer = None

    def follow(self) -> None:
        """
        Watch anew if a folder was removed, replaced or mounted over.

        The kernel's watch belongs to the old folder, wherever that was moved.
        """
        if self._identities() != self._watched:
            self.stop()
            self.start()
            self._wake.set()

    def _identities(self) -> list[tuple[int, int] | None]:
        """Return device and inode of each folder, None for a missing one."""
        found: list[tuple[int, int] | None] = []
        for folder in self._folders:
            try:
                info = folder.stat()
            except OSError:
                found.append(None)
            else:
                found.append((info.st_dev, info.st_ino))
        return found

    def on_any_event(self, event: FileSystemEvent) -> None:
        """
        Take one event, on the observer's thread.
        """
        if event.event_type in ("opened", "closed_no_write"):
            return
        if isinstance(event, FileMovedEvent) and event.dest_path:
            path = os.fsencode(event.dest_path)
            if path.startswith(self._inbox + b"/"):
                with self._lock:
                    self._renamed.add(path[len(self._inbox) + 1 :])
        self._wake.set()

    def take_renamed(self) -> set[bytes]:
        """
        Return the paths below inbox/ that arrived by rename since the last call.
        """
        with self._lock:
            renamed, self._renamed = self._renamed, set()
        return renamed
