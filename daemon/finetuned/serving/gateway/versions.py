"""
Which model a name means: the link current_model, looked at four times a second.

``NAME`` is the version in use, ``NAME@v0007`` a version, ``NAME@base`` the base model. Tells
the engine what to hold, and sends new requests to the newest model that is really loaded.
Does not read weights: the engine compares files with their hashes before it loads them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from finetuned.core.generation import AS_STARTED, HeldModel, Hold, Holding
from finetuned.errors import FinetunedError
from finetuned.files.model_manifest import valid_version_name
from finetuned.layout import Layout
from finetuned.registry.current_model import linked_version
from finetuned.registry.weights import weights_of
from finetuned.serving.gateway.errors import no_model, unavailable

log = structlog.get_logger()

LOOK_SECONDS = 0.25
LOAD_SECONDS = 30.0
"""How long a request waits for a version that it named and that is not loaded."""
MOST_NAMED = 2
"""Versions that stay loaded because requests named them, beside those in use."""

BASE = "base"

Tell = Callable[[Hold], None]
Swapped = Callable[[str], None]
"""Told the name that new requests go to from now on."""


def _nobody(_: str) -> None:
    """Is told nothing."""


class Versions:
    """
    What is wanted, what the engine holds, and what new requests get.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        name: str,
        configured: str,
        swapped: Swapped = _nobody,
        in_use: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """
        Args:
            layout: The root.
            name: ``serving.name``.
            configured: ``model.base``.
            swapped: Called when the stable name begins to mean another model.
            in_use: Returns the names that requests wait for; they stay loaded.
        """
        self._layout = layout
        self.name = name
        self._configured = configured
        self._swapped = swapped
        self._in_use = in_use
        self._tell: Tell | None = None
        self._wanted: str | None = None
        self._before: str | None = None
        self._named: list[str] = []
        self._held: tuple[str, ...] = ()
        self._changed = asyncio.Event()
        self.current: str | None = None
        """What the stable name means to new requests; None before anything is loaded."""
        self.swaps = 0
        """How often that has changed, the first time included."""
        self.problems: dict[str, str] = {}
        """Why a model is not served although it should be, by name."""

    @property
    def held(self) -> tuple[str, ...]:
        """What the engine has loaded."""
        return self._held

    def public(self, model: str) -> str:
        """
        Return the name by which clients can ask for *model* and no other.
        """
        return f"{self.name}@{model}"

    async def watch(self) -> None:
        """
        Look for ever.
        """
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """
        Read current_model, and tell the engine if it changed.
        """
        try:
            wanted = linked_version(self._layout) or BASE
        except (FinetunedError, OSError) as error:
            self._problem("current_model", str(error))
            return
        self.problems.pop("current_model", None)
        if wanted != self._wanted:
            self._before, self._wanted = self._wanted, wanted
            self._hold()

    def engine_started(self, tell: Tell) -> None:
        """
        Tell a new engine what to hold.
        """
        self._tell = tell
        self._held = ()
        if self._wanted is None:
            self.look()
        else:
            self._hold()

    def engine_ended(self) -> None:
        """
        Remember that nothing is loaded. What the name means stays: its requests wait.
        """
        self._tell = None
        self._held = ()

    def holding(self, report: Holding) -> None:
        """
        Take note of what the engine has loaded, and move the stable name if it can be.
        """
        self._held = report.names
        for name, why in report.problems.items():
            self._problem(name, why)
        for name in report.names:
            self.problems.pop(name, None)
        chosen = self._newest_held()
        if chosen is not None and chosen != self.current:
            log.info("model_in_service", version=chosen, before=self.current)
            self.current = chosen
            self.swaps += 1
            self._swapped(chosen)
        self._changed.set()
        self._changed = asyncio.Event()

    async def resolve(self, asked: str) -> str:
        """
        Return the held model that a request's ``model`` means; loads a version that it names.

        Raises:
            Refusal: 404: there is no such model. 503: nothing is loaded yet.
        """
        if asked == self.name:
            return self._stable()
        prefix, _, version = asked.partition("@")
        if prefix == self.name and version in self._held:
            return version
        if prefix != self.name or (version != BASE and valid_version_name(version) is None):
            raise no_model(asked, self.known())
        await self._load(asked, version)
        return version

    def _stable(self) -> str:
        if self.current is None:
            why = next(iter(self.problems.values()), "it is being loaded")
            raise unavailable(f"no model is loaded: {why}", retry_seconds=2, code="no_model_loaded")
        return self.current

    def known(self) -> list[str]:
        """
        Return what ``model`` may be: the stable name, what is loaded, the base, each version.
        """
        names = dict.fromkeys((*self._held, BASE, *self._there()))
        return [self.name, *(self.public(name) for name in names)]

    def _there(self) -> list[str]:
        """Return the versions in the registry, the newest first."""
        try:
            found = [f.name for f in self._layout.versions.iterdir()]
        except OSError:
            return []
        return sorted((n for n in found if valid_version_name(n) is not None), reverse=True)

    async def _load(self, asked: str, version: str) -> None:
        self._folders(asked, version)
        self.problems.pop(version, None)
        if version not in self._named:
            self._named = [*self._named, version][-MOST_NAMED:]
        self._hold()
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                while version not in self._held:
                    if version in self.problems:
                        raise no_model(asked, self.known(), self.problems[version])
                    await self._changed.wait()
        except TimeoutError:
            raise unavailable(
                f"{asked} was not loaded within {LOAD_SECONDS:g} s",
                retry_seconds=LOAD_SECONDS,
                code="model_loading",
            ) from None

    def _folders(self, asked: str, version: str) -> None:
        """Refuse a version that is not there."""
        try:
            self._model(version)
        except FinetunedError as error:
            raise no_model(asked, self.known(), str(error)) from None

    def _newest_held(self) -> str | None:
        for name in (self._wanted, self.current, self._before, AS_STARTED):
            if name is not None and name in self._held:
                return name
        return None

    def _model(self, name: str) -> HeldModel:
        weights = weights_of(self._layout, None if name == BASE else name, self._configured)
        return HeldModel(name=name, base=weights.base, folder=weights.folder)

    def _hold(self) -> None:
        """Tell the engine: the version in use, what still serves, the one before, the named."""
        if self._tell is None:
            return
        models = []
        first = (self._wanted, self.current, self._before, *self._named)
        for name in dict.fromkeys((*first, *sorted(self._in_use()))):
            if name is None or name == AS_STARTED:
                continue
            try:
                models.append(self._model(name))
            except (FinetunedError, OSError) as error:
                self._problem(name, str(error))
        self._tell(Hold(models=tuple(models)))

    def _problem(self, name: str, why: str) -> None:
        if self.problems.get(name) != why:
            self.problems[name] = why
            log.error("model_not_served", version=name, reason=why)
