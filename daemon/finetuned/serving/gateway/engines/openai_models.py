"""
Which models a server answers with, under which of its names; loads adapters into it.

vLLM takes adapters while it runs (POST /v1/load_lora_adapter). Each version gets a name of its
own there, NAME@v0007, and is unloaded once nothing needs it: then running answers end on their
version, and a way back is instant. One name for all versions would be wrong in vLLM, which keys
its cache of prompts by the name and would go on from what another version computed. A name
that stands for another folder is loaded in place.

A server without that route is used as it is: if it lists NAME@v0007 it is asked for that,
otherwise its first model answers, and nobody knows which version it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import structlog

from finetuned.core.generation import AS_STARTED, HeldModel, Holding
from finetuned.errors import FinetunedError
from finetuned.files.family_list import several_adapters
from finetuned.registry.folder import verify_folder
from finetuned.serving.gateway.engines.openai_connection import (
    Card,
    Connection,
    Refused,
)

log = structlog.get_logger()

LOAD_SECONDS = 300.0
"""How long a server may take to load one adapter."""
RETRY_SECONDS = 30.0
"""An adapter that the server refused is tried again after this long."""

LOAD = "load_lora_adapter"
UNLOAD = "unload_lora_adapter"


class NotServed(Exception):
    """
    The server cannot answer with a model, and why.
    """


class ServerModels:
    """
    What one server has and what is wanted of it.
    """

    def __init__(self, connection: Connection, *, name: str, patience: float) -> None:
        """
        Args:
            connection: To the server.
            name: ``serving.name``.
            patience: How long the server may take for its list, in seconds.
        """
        self._connection = connection
        self._name = name
        self._patience = patience
        self._cards: list[Card] = []
        self._refusals: dict[HeldModel, tuple[float, str]] = {}
        self._ids: dict[str, str] = {}
        self._no_adapters = ""
        """Why the server takes no adapters; "" if it does."""

    @property
    def owner(self) -> str:
        """Who made the server, such as vllm; "" if it does not say."""
        return self._first.owner if self._cards else ""

    @property
    def note(self) -> str:
        """What users should know of it."""
        if AS_STARTED not in self._ids:
            return ""
        return (
            f"this engine answers with whatever model it was started with ({self._first.id}): "
            f"{self._no_adapters}"
        )

    def id_of(self, model: str) -> str | None:
        """
        Return the server's name of a held model.
        """
        return self._ids.get(model)

    def is_adapter(self, model: str) -> bool:
        """
        Return whether the server has it only until it is started again.
        """
        return not self._no_adapters and self._ids.get(model) != self._first.id

    async def connect(self) -> None:
        """
        Ask for the list of models, and whether adapters can be loaded.

        Raises:
            Unreachable: There is no server, or it refuses us.
        """
        self._ids, self._refusals = {}, {}
        await self.look()
        try:
            await self._connection.post(LOAD, {}, self._patience)  # refused for its empty body
            self._no_adapters = ""
        except Refused as refused:
            absent = refused.status in (401, 403, 404, 405, 501)
            self._no_adapters = (
                f"it takes no adapters (POST {self._connection.url}/{LOAD} answers "
                f"{refused.status})"
                if absent
                else ""
            )
        if self._no_adapters:
            log.warning("engine_takes_no_adapters", reason=self._no_adapters)

    async def look(self) -> None:
        """
        Ask for the list again: a server that was started again has lost its adapters.

        Raises:
            Unreachable: As connect.
        """
        self._cards = await self._connection.models(self._patience)

    def try_again(self) -> None:
        """
        Forget what the server refused: something else is wanted.
        """
        self._refusals = {}

    async def settle(self, wanted: Sequence[HeldModel]) -> Holding:
        """
        Load what is wanted and missing, unload what is not wanted, and return what is there.

        Raises:
            Unreachable: The server is gone.
        """
        found: dict[str, str] = {}
        problems = {}
        for model in wanted:
            try:
                found[model.name] = await self._served(model)
            except NotServed as error:
                problems[model.name] = str(error)
        if self._no_adapters and not found and wanted:
            found[AS_STARTED] = self._first.id
        self._ids = found
        await self._unload_others(wanted, found)
        return Holding(names=tuple(found), problems=problems)

    @property
    def _first(self) -> Card:
        """The model that the server was started with."""
        return next((card for card in self._cards if not card.parent), self._cards[0])

    async def _served(self, model: HeldModel) -> str:
        """Return the server's name of *model*, loaded if need be."""
        public = f"{self._name}@{model.name}"
        listed = next((card for card in self._cards if card.id == public), None)
        if listed is not None and _is_it(listed, model):
            return public
        if self._no_adapters:
            raise NotServed(f"{self._no_adapters} and does not list {public}")
        if model.folder is None or not (model.folder / "adapter_config.json").is_file():
            return self._full(model)
        if several := several_adapters(model.name, model.folder):
            raise NotServed(
                f"{several}, and only the own engine chooses between them: set "
                'serving.engine = "own"'
            )
        self._check_base(model)
        await self._load(public, model, model.folder, in_place=listed is not None)
        return public

    def _full(self, model: HeldModel) -> str:
        """Return the name of a whole model: the server has it from its start, or not at all."""
        folder = model.folder or model.base
        started_with = self._first
        if _same_folder(started_with.root, folder):
            return started_with.id
        if model.name == "base" and not _is_folder(started_with.root):
            return started_with.id  # a name at a hub: it cannot be compared with our folder
        raise NotServed(
            f"{model.name} is a full model and no adapter, and the engine at "
            f"{self._connection.url} was started with {started_with.root or started_with.id}; "
            f"start it with {folder}"
        )

    def _check_base(self, model: HeldModel) -> None:
        root = self._first.root
        if _is_folder(root) and not _same_folder(root, model.base):
            raise NotServed(
                f"{model.name} is an adapter on {model.base}, and the engine at "
                f"{self._connection.url} was started with {root}; start it with the former"
            )

    async def _load(self, public: str, model: HeldModel, folder: Path, *, in_place: bool) -> None:
        """Have *folder* loaded, after its files were compared with their hashes."""
        at, why = self._refusals.get(model, (0.0, ""))
        if why and monotonic() - at < RETRY_SECONDS:
            raise NotServed(why)
        try:
            await asyncio.to_thread(verify_folder, folder, model.name)
            body: dict[str, object] = {"lora_name": public, "lora_path": str(folder)}
            if in_place:
                body["load_inplace"] = True
            await self._connection.post(LOAD, body, LOAD_SECONDS)
        except (Refused, FinetunedError, OSError) as error:
            self._refusals[model] = monotonic(), str(error)
            raise NotServed(str(error)) from None
        log.info("adapter_loaded", version=model.name, engine=self._connection.url)
        self._cards = [card for card in self._cards if card.id != public]
        self._cards.append(Card(id=public, root=str(folder), parent=self._first.id))

    async def _unload_others(self, wanted: Sequence[HeldModel], found: dict[str, str]) -> None:
        """Unload versions of this root that nothing needs any more."""
        homes = {model.folder.parent.resolve() for model in wanted if model.folder is not None}
        for card in list(self._cards):
            ours = card.parent and card.id.startswith(f"{self._name}@")
            if not ours or card.id in found.values() or not _within(card.root, homes):
                continue
            self._cards.remove(card)
            try:
                await self._connection.post(UNLOAD, {"lora_name": card.id}, LOAD_SECONDS)
            except Refused as refused:
                log.warning("adapter_not_unloaded", adapter=card.id, reason=refused.message)
            else:
                log.info("adapter_unloaded", adapter=card.id, engine=self._connection.url)


def _is_it(listed: Card, model: HeldModel) -> bool:
    """Whether the model that a server lists is ours; one that does not say its folder is."""
    folder = model.folder or model.base
    return not listed.root or _same_folder(listed.root, folder)


def _is_folder(root: str) -> bool:
    """Whether a server says where its model is, and it is a folder here too."""
    return Path(root).is_absolute() and Path(root).is_dir()


def _same_folder(root: str, folder: Path) -> bool:
    return Path(root).is_absolute() and Path(root).resolve() == folder.resolve()


def _within(root: str, homes: set[Path]) -> bool:
    return Path(root).is_absolute() and Path(root).resolve().parent in homes
