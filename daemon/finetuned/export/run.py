"""
One export from beginning to end: checked beforehand, written, compared, published.

Everything that can be known before work is asked first, so that a wish that cannot be granted
costs seconds. The manifest is written last and the folder renamed, so that an export is there
whole or not at all. Loads torch: it is no work for a process that must stay small.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

import structlog

from finetuned import __version__
from finetuned.config import Config
from finetuned.core.export.card import CardFile
from finetuned.core.export.parity import Asked, Parity, judge
from finetuned.core.export.request import (
    LLAMA_CPP,
    Quant,
    Target,
    default_name,
    needed_bytes,
    require_architecture,
)
from finetuned.core.record import to_json
from finetuned.data.render import Renderer
from finetuned.errors import ExportRefused
from finetuned.export.comparison import Exported, Reference, ask_export, ask_version
from finetuned.export.cutting import Cut, cut_of
from finetuned.export.folder import building, publish, refuse_families
from finetuned.export.gguf import convert, convert_adapter, quantise
from finetuned.export.items import Item, datasets_gone, items_of, trained_texts
from finetuned.export.ollama import MODELFILE, chat_marks, modelfile, stops_of
from finetuned.export.papers import write_card
from finetuned.export.tools import (
    CONVERTER,
    ENGINE,
    SENTENCES,
    converter_folder,
    installed_version,
    known_architectures,
    require,
)
from finetuned.export.whole_model import (
    architecture,
    has_adapter,
    stored_bytes,
    verify,
    write_adapter,
    write_whole,
)
from finetuned.export.wish import LeftOut, Result, Wish
from finetuned.files.base_model import position_limit
from finetuned.files.run import utc_now
from finetuned.layout import Layout

log = structlog.get_logger()

_SCRATCH: Final = ".scratch"


class Progress(Protocol):
    """
    Shows how far an export is.
    """

    def begin(self, what: str) -> None:
        """Name what is being done now."""

    def counted(self, what: str, items: int) -> AbstractContextManager[Callable[[int], object]]:
        """Show items that are counted, and the time that the rest will take."""


def export_model(layout: Layout, config: Config, wish: Wish, progress: Progress) -> Result:
    """
    Export one model.

    Raises:
        ExportRefused: It cannot be done as asked.
        ModelError, CorruptFile: The version is damaged, or its merge computes something else.
        Unavailable: The disk is full, or refused.
        LockHeld: Another process exports.
    """
    return _Export(layout, config, wish, progress).run()


class _Export:
    """
    One export on its way.
    """

    def __init__(self, layout: Layout, config: Config, wish: Wish, progress: Progress) -> None:
        self.layout, self.config, self.wish, self.progress = layout, config, wish, progress
        self.model, self.request = wish.model, wish.request
        base = self.model.weights.base
        self.renderer = Renderer.load(
            base,
            max_length=max(config.data.max_length, position_limit(base) or 0),
            enable_thinking=config.model.enable_thinking,
        )
        self.references: list[Reference] = []
        self.left_out = LeftOut()
        self.merge: dict[str, object] = {}

    def run(self) -> Result:
        """
        Check, write, compare and publish.
        """
        wish, request = self.wish, self.request
        final = wish.out or self.layout.exports / default_name(self.model.name, request)
        items = [] if wish.items == 0 else items_of(self.layout, self.model, wish.items)
        if items:
            self.left_out = LeftOut(datasets_gone=datasets_gone(self.layout, self.model))
        cut = self._check(items)
        size, bits = stored_bytes(self.model)
        self.progress.begin(f"{self.model.name}: reading and hashing its files")
        verify(self.model)
        with building(final, self.layout.export_lock, needed_bytes(size, bits, request)) as folder:
            if request.target is Target.ADAPTER:
                files = self._adapter(folder)
            elif request.target in LLAMA_CPP:
                files = self._llama_cpp(folder, items, cut)
            else:
                files = self._whole(folder, items)
            write_card(self.layout, self.config, wish, final, folder, files, self.references)
            manifest = publish(folder, final, self._facts(files))
        result = Result(folder=final, files=tuple(files), manifest=manifest, left_out=self.left_out)
        log.info(
            "version_exported",
            version=self.model.name,
            target=str(request.target),
            path=str(final),
            passed=result.passed,
        )
        return result

    def _check(self, items: Sequence[Item]) -> Cut | None:
        """Refuse what cannot be done, before any work; return how the tokenizer is written."""
        refuse_families(self.model.name, self.model.weights.folder)
        if self.request.target is Target.ADAPTER:
            if not has_adapter(self.model):
                raise ExportRefused(
                    f"{self.model.name} is a full model and has no adapter; export it with --to hf"
                )
            require(CONVERTER, SENTENCES)
            return None
        if self.request.target not in LLAMA_CPP:
            return None
        require(CONVERTER, SENTENCES)
        if items or self.request.quants != (Quant.NONE,):
            require(ENGINE)
        converter = converter_folder()
        require_architecture(architecture(self.model), known_architectures(converter))
        if self.request.target is Target.OLLAMA:
            chat_marks(self.renderer)
        texts = trained_texts(self.layout, self.model, self.renderer)
        return cut_of(self.model.weights.base, converter, texts)

    def _adapter(self, folder: Path) -> list[CardFile]:
        self.progress.begin("copying the adapter")
        place = folder / "peft"
        place.mkdir()
        write_adapter(self.model, place)
        scratch = folder / _SCRATCH
        scratch.mkdir()
        self.progress.begin("writing it as a GGUF LoRA")
        convert_adapter(place, self.model.weights.base, folder / "adapter.gguf", scratch)
        shutil.rmtree(scratch)
        return [
            _file(folder, "peft", Quant.NONE, None),
            _file(folder, "adapter.gguf", Quant.NONE, None),
        ]

    def _whole(self, folder: Path, items: Sequence[Item]) -> list[CardFile]:
        from finetuned.export.stock import StockModel
        from finetuned.export.transformers_bits import bits_config, quantise_folder
        from finetuned.merging.stock_files import write_stock_files
        from finetuned.model.load import load_causal_lm

        quant = self.request.quants[0]
        if len(self.request.quants) > 1:
            raise ExportRefused("--to hf writes one precision at a time; name one with --quant")
        self._write_whole(folder)
        if quant is not Quant.NONE:
            self.progress.begin(f"quantising to {quant}")
            quantise_folder(folder, quant, self.config.model)
            # transformers wrote settings of its own beside the weights.
            write_stock_files(folder, self.model.weights.base, self.renderer)
        parity = None
        if items:
            self._ask_version(items)
            with self.progress.counted("asking the export", len(self.references)) as on_item:
                model = load_causal_lm(folder, bits_config(quant, self.config.model))
                exported = StockModel(folder, model)
                parity = judge(self._ask(exported, on_item), quant)
        return [_file(folder, ".", quant, parity)]

    def _llama_cpp(self, folder: Path, items: Sequence[Item], cut: Cut | None) -> list[CardFile]:
        from finetuned.export.llama_cpp import running

        scratch = folder / _SCRATCH
        whole = scratch / "whole"
        whole.mkdir(parents=True)
        self._write_whole(whole)
        self.progress.begin("converting to GGUF")
        plain = scratch / "plain.gguf"
        convert(whole, plain, scratch, cut)
        names: dict[str, Quant] = {}
        for quant in self.request.quants:
            name = f"{self.model.name}{'' if quant is Quant.NONE else f'-{quant}'}.gguf"
            if quant is Quant.NONE:
                (folder / name).hardlink_to(plain)
            else:
                self.progress.begin(f"quantising to {quant}")
                quantise(plain, folder / name, quant)
            names[name] = quant
        shutil.rmtree(scratch)
        if items:
            self._ask_version(items)
        files = []
        for name, quant in names.items():
            parity = None
            if items:
                context = position_limit(self.model.weights.base) or 4096
                with (
                    self.progress.counted(f"asking {name}", len(self.references)) as on_item,
                    running(folder / name, context=min(context, 8192)) as server,
                ):
                    parity = judge(self._ask(server, on_item), quant)
            files.append(_file(folder, name, quant, parity))
        if self.request.target is Target.OLLAMA:
            self._modelfile(folder, files[0].name)
        return files

    def _write_whole(self, folder: Path) -> None:
        merges = has_adapter(self.model)
        self.progress.begin("merging the adapter in float32" if merges else "copying the model")
        self.merge = write_whole(self.model, folder, self.renderer, self.config.model)

    def _ask_version(self, items: Sequence[Item]) -> None:
        from finetuned.model.load import load_version

        with self.progress.counted(f"asking {self.model.name}", len(items)) as on_item:
            weights = self.model.weights
            model = load_version(weights.base, weights.folder, self.config.model)
            self.references = ask_version(
                model, self.renderer, items, self.config.evaluation, on_item
            )
        self.left_out = replace(self.left_out, items=len(items) - len(self.references))

    def _ask(self, exported: Exported, on_item: Callable[[int], object]) -> list[Asked]:
        return ask_export(exported, self.references, self.renderer.stop_token_ids, on_item)

    def _modelfile(self, folder: Path, file: str) -> None:
        bos = self.renderer.bos_token_id
        begins = self.renderer.decode([bos]) if bos is not None and self._adds_bos() else ""
        text = modelfile(file, chat_marks(self.renderer), stops_of(self.renderer), begins)
        (folder / MODELFILE).write_text(text, encoding="utf-8")

    def _adds_bos(self) -> bool:
        return self.renderer.text_ids("a")[:1] == [self.renderer.bos_token_id]

    def _facts(self, files: Sequence[CardFile]) -> dict[str, object]:
        passed = all(f.parity is not None and f.parity.passed for f in files)
        packages = {p.name: installed_version(p) for p in (CONVERTER, ENGINE)}
        return {
            "kind": "export",
            "target": str(self.request.target),
            "model": self.model.name,
            "created_at": utc_now(),
            "finetuned": __version__,
            "packages": packages,
            "merge": self.merge,
            "left_out": to_json(self.left_out),
            "parity": {f.name: to_json(f.parity) for f in files},
            "passed": passed,
        }


def _file(folder: Path, name: str, quant: Quant, parity: Parity | None) -> CardFile:
    place = folder / name
    paths = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
    return CardFile(name, str(quant), sum(p.stat().st_size for p in paths), parity)
