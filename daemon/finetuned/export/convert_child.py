"""
llama.cpp's converter, run with another way of cutting words: a process of its own.

    python -m finetuned.export.convert_child SETTINGS.json

The settings: ``folder`` (the converter's), ``script``, ``arguments``, and ``cut`` (see
export/cutting.py) or null. The converter names the way in which a tokenizer cuts text by the
ids that it gives for one text, so it knows no tokenizer with a vocabulary of its own; ``cut``
names it instead. It is told here, before the script is run, and nothing of it is changed on disk.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import orjson


def main() -> None:
    """
    Run the script that the settings name.
    """
    settings = orjson.loads(Path(sys.argv[1]).read_bytes())
    folder = settings["folder"]
    sys.path[:0] = [f"{folder}/gguf-py", folder]
    if settings["cut"] is not None:
        _tell(settings["cut"])
    sys.argv = [f"{folder}/{settings['script']}", *settings["arguments"]]
    runpy.run_path(sys.argv[0], run_name="__main__")


def _tell(cut: dict[str, Any]) -> None:
    import gguf  # type: ignore[import-untyped, unused-ignore]
    from conversion import base  # type: ignore[import-not-found, unused-ignore]

    base.TextModel.get_vocab_base_pre = lambda self, tokenizer: cut["pre"]
    merges, whole = cut["merges"], {int(at): text for at, text in cut["whole"].items()}
    writer = gguf.GGUFWriter
    add_list, add_types = writer.add_token_list, writer.add_token_types
    add_bos = writer.add_add_bos_token

    def _token_list(self: Any, tokens: Any) -> None:
        add_list(self, [whole.get(i, token) for i, token in enumerate(tokens)])

    def _token_types(self: Any, types: Any) -> None:
        user = int(gguf.TokenType.USER_DEFINED)
        add_types(self, [user if i in whole else kind for i, kind in enumerate(types)])
        # Some ways begin every text with a token unless the file says otherwise.
        add_bos(self, cut["adds_bos"])
        if merges is not None:
            self.add_token_merges(merges)

    setattr(writer, "add_token_list", _token_list)  # noqa: B010 - a method, put in another's place
    setattr(writer, "add_token_types", _token_types)  # noqa: B010
    setattr(writer, "add_add_bos_token", lambda self, value: None)  # noqa: B010


if __name__ == "__main__":
    main()
