"""
The models of one evaluation: loaded when an answer is needed, one at a time.

Base, incumbent and candidate usually differ in a few megabytes of adapter only; the rest
is not loaded again. Does not know questions.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from finetuned.config import ModelConfig
from finetuned.files.manifest import verify_manifest
from finetuned.files.run import read_json
from finetuned.files.spec import EvaluationSpec
from finetuned.layout import MANIFEST
from finetuned.model.torch_build import torch_build

if TYPE_CHECKING:
    from finetuned.model.types import LanguageModel

_NO_SHAPE: Final = ("base_model_name_or_path", "revision", "peft_version")
"""Keys of adapter_config.json that say where an adapter comes from, not what it computes."""

BASE: Final = "base"
INCUMBENT: Final = "incumbent"
HEAD: Final = "head"
CANDIDATE: Final = "candidate"
"""The subjects of an evaluation, in the order of a report; see asking_order."""


@dataclass(frozen=True, slots=True)
class Subject:
    """
    A model to be asked, by its folders.
    """

    name: str
    """BASE, INCUMBENT (the release), HEAD or CANDIDATE; any other name for people."""
    base: Path
    """Directory of the full model that its adapter sits on, or that it is itself."""
    folder: Path | None
    """The version or candidate; None is the base alone."""
    version: str | None = None
    """Name of the version; None for a candidate and for the configured base model."""

    def is_same(self, other: Subject) -> bool:
        """
        Return whether both are the same weights.
        """
        return (self.base, self.folder) == (other.base, other.folder)


def subjects_of(spec: EvaluationSpec) -> dict[str, Subject]:
    """
    Return the models to ask, by the part that they play, in the order of a report.
    """
    parts = {
        BASE: None if spec.job is None else spec.job.base,
        INCUMBENT: spec.incumbent,
        HEAD: spec.head,
        CANDIDATE: spec.candidate,
    }
    return {
        part: Subject(part, model.base, model.folder, model.version)
        for part, model in parts.items()
        if model is not None
    }


def is_base_alone(name: str, subjects: Mapping[str, Subject]) -> bool:
    """
    Return whether *name* is the base and no other of *subjects* is: no rule compares with it.
    """
    others = (s for n, s in subjects.items() if n != name)
    return name == BASE and not any(s.is_same(subjects[name]) for s in others)


def asking_order(subjects: Mapping[str, Subject]) -> list[str]:
    """
    Return the names of *subjects* in the order in which they are asked.

    The candidate is first: without its answers there is no verdict. The base is last if
    nothing depends on it.
    """
    return sorted(subjects, key=lambda name: (name != CANDIDATE, is_base_alone(name, subjects)))


def compared_with(subjects: Mapping[str, Subject]) -> list[Subject]:
    """
    Return the models that the candidate is compared with, each once.
    """
    others = {
        (subject.base, subject.folder): subject
        for name, subject in subjects.items()
        if name != CANDIDATE and not is_base_alone(name, subjects)
    }
    return list(others.values())


class Models:
    """
    At most one loaded model, which is reused for the next subject as far as possible.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._model: LanguageModel | None = None
        self._base: Path | None = None
        """The base under the loaded adapter; None after a full model."""
        self._shape: str | None = None
        """See adapter_shape(); None if no adapter is loaded."""
        self.used_device = False
        """Whether a model was on another device than the CPU."""
        self.seconds = 0.0
        """Wall time spent loading so far."""

    def get(self, subject: Subject) -> LanguageModel:
        """
        Return the model of *subject* in evaluation mode; the previous one must not be used.

        Raises:
            CorruptFile: The files differ from the manifest; no weight was read.
            ModelError: The model cannot be loaded.
        """
        began = time.monotonic()
        try:
            return self._get(subject)
        finally:
            self.seconds += time.monotonic() - began

    def _get(self, subject: Subject) -> LanguageModel:
        from peft import PeftModel

        from finetuned.model.load import load_adapter_weights, load_version

        folder = subject.folder
        for part in (folder, subject.base):  # a base may be a version of its own
            if part is not None and (part / MANIFEST).is_file():
                verify_manifest(part)
        shape = adapter_shape(folder)
        on_same_base = self._model is not None and self._base == subject.base
        if folder is not None and shape is not None and on_same_base:
            if shape == self._shape:
                load_adapter_weights(self._model, folder)
                return self._model
            if self._shape is None:
                self._model = PeftModel.from_pretrained(self._model, folder).eval()
                self._shape = shape
                return self._model
        self.release()
        self._model = load_version(subject.base, folder, self._config)
        is_full = folder is not None and shape is None
        self._base, self._shape = (None if is_full else subject.base), shape
        self.used_device = self.used_device or self._model.device.type != "cpu"
        return self._model

    def release(self) -> None:
        """
        Drop the loaded model.
        """
        self._model, self._base, self._shape = None, None, None


def compute_signature(config: ModelConfig) -> list[str]:
    """
    Return what else than weights decides what a model computes: precision, device, torch.

    Raises:
        ConfigError: This machine does not have the device.
    """
    build = torch_build()
    if config.device == "cpu" or (config.device == "auto" and not build.gpu):
        # What the lines below would return, without the seconds that torch takes.
        precision = "float32" if config.dtype == "auto" else config.dtype
        return [f"torch.{precision}", "cpu", build.version]

    import torch

    from finetuned.model.load import pick_device, pick_dtype

    device = pick_device(config.device)
    return [str(pick_dtype(config.dtype, device)), device.type, torch.__version__]


def adapter_shape(folder: Path | None) -> str | None:
    """
    Return the configuration of an adapter as canonical JSON, or None if there is no adapter.

    Lists are sorted, because they are written from sets.
    """
    config = None if folder is None else read_json(folder / "adapter_config.json")
    if config is None:
        return None
    known = {
        k: sorted(v, key=str) if isinstance(v, list) else v
        for k, v in config.items()
        if k not in _NO_SHAPE
    }
    return orjson.dumps(known, option=orjson.OPT_SORT_KEYS).decode()
