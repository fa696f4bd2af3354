"""
Which models are held: new ones are loaded in a thread, beside what runs.

What is held stays until the first of the newly wanted models is loaded; if that fails, it
stays for good and the problem is reported. Does not know sockets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

import structlog

from finetuned.core.generation import EngineSettings, HeldModel, Hold, Holding
from finetuned.errors import FinetunedError
from finetuned.serving.engine.held import Held
from finetuned.serving.engine.load import ModelLoader

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Loaded:
    """
    What came of loading one model.
    """

    source: HeldModel
    held: Held | None
    problem: str = ""
    """Why it is not loaded."""


class Models:
    """
    The held models, for the thread that generates.
    """

    def __init__(self, settings: EngineSettings, tell: Callable[[Loaded], None]) -> None:
        """
        Args:
            settings: Of the engine.
            tell: Called from the loading thread.
        """
        self._held: dict[str, Held] = {}
        self._wanted: tuple[HeldModel, ...] = ()
        self._problems: dict[str, str] = {}
        self._orders: SimpleQueue[tuple[HeldModel, ...]] = SimpleQueue()
        self._tell = tell
        self._settings = settings
        threading.Thread(target=self._load_all, name="loader", daemon=True).start()

    def get(self, name: str) -> Held | None:
        """
        Return the held model of that name.
        """
        return self._held.get(name)

    def want(self, hold: Hold) -> Holding:
        """
        Load what is not held, and drop what is not wanted; return what is held now.
        """
        self._wanted = hold.models
        self._problems = {}
        missing = tuple(m for m in hold.models if not self._is_held(m))
        if missing:
            self._orders.put(missing)
        return self._settled()

    def loaded(self, result: Loaded) -> Holding:
        """
        Take what came of loading, and return what is held now.
        """
        if result.source not in self._wanted:
            return self._settled()
        if result.held is None:
            self._problems[result.source.name] = result.problem
        else:
            self._held[result.source.name] = result.held
        return self._settled()

    def _settled(self) -> Holding:
        """Drop what is not wanted, unless what is wanted first is not there."""
        if self._wanted and self._is_held(self._wanted[0]):
            names = {m.name for m in self._wanted}
            self._held = {name: s for name, s in self._held.items() if name in names}
        order = {m.name: i for i, m in enumerate(self._wanted)}
        names_held = sorted(self._held, key=lambda name: order.get(name, len(order)))
        return Holding(names=tuple(names_held), problems=dict(self._problems))

    def _is_held(self, model: HeldModel) -> bool:
        held = self._held.get(model.name)
        return held is not None and held.source == model

    def _load_all(self) -> None:
        """Load what is ordered, as long as it is wanted; the loading thread."""
        loader = ModelLoader(self._settings)
        while True:
            for source in self._orders.get():
                if source in self._wanted:
                    self._tell(_load(loader, source))
            loader.forget({m.base for m in self._wanted})


def _load(loader: ModelLoader, source: HeldModel) -> Loaded:
    """Load one model; whatever goes wrong is its problem, not the engine's."""
    try:
        return Loaded(source, loader.load(source))
    except (FinetunedError, OSError) as error:
        log.warning("serving_model_refused", model=source.name, problem=str(error))
        return Loaded(source, None, str(error))
    except Exception as error:  # a library's error at a damaged file may be of any kind
        log.exception("serving_model_failed", model=source.name)
        return Loaded(source, None, f"{type(error).__name__}: {error!s:.300}")
