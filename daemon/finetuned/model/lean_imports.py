"""
The libraries of models without the parts that answering never uses: import it before them.

transformers imports torch's compiler, torch's distributed tensors and scipy as it is imported:
1,250 modules and a third of the time that a process needs before it can load a model. Here the
compiler, torch.export and the distributed tensors are imported when something of them is first
used, as peft does. transformers is told that it has neither the last nor scipy, as it is told on
machines without them.

For processes that answer on one device. Not for training: Trainer and accelerate need the
distributed parts. Nothing is compiled in such a process, so that the compiler's marks on
functions, which change nothing else, are left out until it is imported.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any, Final

_COMPILER: Final = "torch._dynamo"
_PUT_OFF: Final = (_COMPILER, "torch.export", "torch.distributed.tensor")
_ALONE: Final = (f"{_COMPILER}._trace_wrapped_higher_order_op",)
"""The part of the compiler that transformers' attention masks need."""
_MISSING: Final = ("is_scipy_available", "is_torch_distributed_available")
_MARKS: Final = ("disable", "allow_in_graph", "assume_constant_result")


def _mark(function: Callable[..., object] | None = None, *_: object, **__: object) -> object:
    """Stand for a decorator that tells the compiler something: return what it was given."""
    return _mark if function is None else function


class _Later(types.ModuleType):
    """
    A package whose code runs when something of it is used that is not there yet.
    """

    def __getattr__(self, name: str) -> Any:
        """Run the package's code, then look again."""
        if name.startswith("__"):
            raise AttributeError(name)
        self.run()
        return getattr(self, name)

    def run(self) -> None:
        """
        Run the package's code; from then on it is a module like any other.
        """
        loader: importlib.abc.Loader = self.__dict__.pop("_loader")
        for mark in _MARKS:
            self.__dict__.pop(mark, None)
        self.__class__ = types.ModuleType  # type: ignore[assignment]
        loader.exec_module(self)


class _LaterLoader(importlib.abc.Loader):
    def __init__(self, real: importlib.abc.Loader) -> None:
        self._real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Return the package without its code."""
        module = _Later(spec.name)
        module.__dict__["_loader"] = self._real
        if spec.name == _COMPILER:
            module.__dict__.update(dict.fromkeys(_MARKS, _mark))
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Run nothing yet."""


class _Loaded(importlib.abc.Loader):
    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Return the module that the code of its package has imported."""
        return sys.modules[spec.name]

    def exec_module(self, module: types.ModuleType) -> None:
        """It has run."""


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """
        Return a package with its code put off.

        A part of it is imported after the package's code has run, as without this finder; but
        for the one that needs nothing of it.
        """
        if fullname in _PUT_OFF:
            spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _LaterLoader(spec.loader)
            return spec
        package = sys.modules.get(fullname.rpartition(".")[0])
        if isinstance(package, _Later) and fullname not in _ALONE:
            package.run()
            if fullname in sys.modules:
                return importlib.machinery.ModuleSpec(fullname, _Loaded())
        return None


def _no(*_: object, **__: object) -> bool:
    return False


def be_lean() -> None:
    """
    Prepare this process; does nothing if transformers' models are imported already.
    """
    if "transformers.modeling_utils" in sys.modules or _COMPILER in sys.modules:
        return
    sys.meta_path.insert(0, _Finder())
    import torch.compiler
    import torch.distributed.tensor
    import transformers.utils
    import transformers.utils.import_utils

    marks = {name: getattr(torch.compiler, name) for name in ("disable", "allow_in_graph")}
    for name in _MISSING:
        setattr(transformers.utils, name, _no)
        setattr(transformers.utils.import_utils, name, _no)
    for name in marks:
        setattr(torch.compiler, name, _mark)
    try:
        import transformers.modeling_utils
    finally:
        for name, real in marks.items():
            setattr(torch.compiler, name, real)


be_lean()
