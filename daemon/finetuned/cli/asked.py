"""
Who answers: the service of a root if one runs and has the model, else the model loaded here.

Knows the names that people give models. Loads torch only if a model is loaded.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from finetuned.cli.answer_text import CLEAR, DIM, PLAIN
from finetuned.cli.session import REFUSED
from finetuned.core.question import Answerer
from finetuned.core.retention import version_number
from finetuned.errors import ConfigError, NoAnswer, RegistryError
from finetuned.layout import Layout
from finetuned.serving.client.find import RunningService, find_service

BASE = "base"
"""The configured base model, whatever it is called."""

_RUN = re.compile(r"r\d{6}")

NOBODY = (
    "no version is in use yet: drop rows into inbox/ and the daemon makes one, or ask the base "
    "model with --model base"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """
    A model that can be asked, and what a person is told of it.
    """

    answerer: Answerer
    label: str
    """Such as ``finetuned@v0007 (http://127.0.0.1:9000)`` or ``v0007 (loaded here)``."""
    is_loaded: bool
    """Whether its weights are in this process."""


def choose(layout: Layout, text: str, *, load: bool) -> Asked:
    """
    Return the model that *text* means.

    Args:
        layout: The root.
        text: current_model, a version, ``base``, the id of a run that has a candidate, a
            folder, or the name of a base model.
        load: Load it here even if a service has it.

    Raises:
        RegistryError: There is no such version, or none is in use.
        ModelError: There is no such model, or it cannot be loaded.
        ConfigError: config.toml is wrong.
    """
    served = None if load else service_name(layout, text)
    service = None if served is None else find_service(layout)
    if service is None or served is None:
        return _loaded(layout, text)
    return _of_service(service, served)


def service_name(layout: Layout, text: str) -> str | None:
    """
    Return what follows the name of a service's model for *text*, None if no service has it.

    That is ``""`` for the version in use, ``@v0007`` for a version, ``@base`` for the base.

    Raises:
        RegistryError: No version is in use.
    """
    plain = text.rstrip("/")
    if plain == BASE:
        return f"@{BASE}"
    if plain == layout.current_model.name or _is_same(plain, layout.current_model):
        if not layout.current_model.is_dir():
            raise RegistryError(NOBODY)
        return ""
    if version_number(plain) is not None:
        return f"@{plain}"
    folder = Path(plain)
    if folder.parent.name == layout.versions.name and _is_same(
        plain, layout.versions / folder.name
    ):
        return f"@{folder.name}"
    return None


def known_models(layout: Layout) -> list[str]:
    """
    Return names that choose() takes: the version in use, versions from the newest, ``base``.
    """
    try:
        names = [p.name for p in layout.versions.iterdir() if version_number(p.name) is not None]
    except OSError:
        names = []
    newest = sorted(names, key=lambda name: version_number(name) or 0, reverse=True)
    in_use = [layout.current_model.name] if layout.current_model.is_dir() else []
    return [*in_use, *newest, BASE]


def exit_status(error: Exception) -> int:
    """
    Return the exit status of a command that ends with *error*: its own, or 1 for a refusal.
    """
    return error.exit_status if isinstance(error, NoAnswer | ConfigError) else REFUSED


def _is_same(text: str, folder: Path) -> bool:
    return Path(text).absolute() == folder.absolute()


def _of_service(service: RunningService, suffix: str) -> Asked:
    from finetuned.serving.client.chat import ServiceModel

    name = service.name + suffix
    return Asked(ServiceModel(service, name), f"{name} ({service.url})", is_loaded=False)


def _loaded(layout: Layout, text: str) -> Asked:
    """Find the folders before the libraries are loaded, so that a wrong name is said at once."""
    from finetuned.config import load_sections
    from finetuned.core.generation import EngineSettings, HeldModel
    from finetuned.data.answer_formats import configured_format
    from finetuned.registry.named_model import find_model

    config, _ = load_sections(layout.config, ("model", "serving"))
    plain = text.rstrip("/")
    candidate = _candidate(layout, plain)
    name = text if candidate is None else str(candidate)
    if plain == BASE:
        name = config.model.base
    elif candidate is None and _RUN.fullmatch(plain) and (layout.runs / plain).is_dir():
        raise RegistryError(
            f"run {plain} has no candidate: it made none, or the candidate is a version by now; "
            "finetuned versions list shows the versions"
        )
    elif plain == layout.current_model.name and not layout.current_model.is_dir():
        raise RegistryError(NOBODY)
    found = find_model(layout, name, config.model.base)
    label = BASE if plain == BASE else found.name
    if candidate is not None:
        label = f"{candidate.resolve().parent.name}/{candidate.name}"
    answer_format = configured_format(config.model.answer_format, layout.root)
    _say(f"loading {label} ...")
    # Read by the libraries as they are imported; the last as in process/child.py.
    for variable, value in (("HF_HUB_OFFLINE", "1"), ("GOMP_SPINCOUNT", "1000")):
        os.environ.setdefault(variable, value)

    gc.disable()  # it would look through what is imported again and again, for half a second
    try:
        from finetuned.serving.engine.alone import LoadedModel

        with warnings.catch_warnings():
            # transformers warns of its own renaming if peft asks for the old name.
            warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
            model = LoadedModel(
                HeldModel(name=label, base=found.weights.base, folder=found.weights.folder),
                EngineSettings(
                    dtype=config.model.dtype,
                    device=config.model.device,
                    enable_thinking=config.model.enable_thinking,
                ),
                most_tokens=config.serving.max_tokens,
                answer_format=answer_format,
            )
    finally:
        gc.freeze()
        gc.enable()
    _say("")
    return Asked(model, f"{label} (loaded here)", is_loaded=True)


def _candidate(layout: Layout, plain: str) -> Path | None:
    """Return the candidate of the run with this id or in this folder, if it has one."""
    from finetuned.files.run import CANDIDATE

    for folder in (layout.runs / plain, Path(plain)):
        if (folder / CANDIDATE).is_dir():
            return folder / CANDIDATE
    return None


def _say(text: str) -> None:
    """Replace the last line of a terminal by a passing remark."""
    if sys.stderr.isatty():
        print(f"{CLEAR}\r{DIM}{text}{PLAIN}", end="\r", file=sys.stderr, flush=True)
