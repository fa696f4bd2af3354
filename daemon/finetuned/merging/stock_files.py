"""
What stock libraries read beside the weights of a version: tokenizer, template, stop tokens.

``generate()`` and ``apply_chat_template()`` of transformers then do what the evaluation
did: the same prompts, greedy answers, the same tokens that end an answer. Does not know
how the weights were made.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import orjson

from finetuned.data.chat_template import DEFAULT
from finetuned.data.examples import Example
from finetuned.data.render import Renderer
from finetuned.files.base_model import BaseName
from finetuned.files.run import read_json

_TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)

TEMPLATE: Final = "chat_template.jinja"
_MORE_TEMPLATES: Final = "additional_chat_templates"
GENERATION: Final = "generation_config.json"
ADAPTER_CONFIG: Final = "adapter_config.json"

_PROBE: Final = (
    "Don't stop at 12345 cafés: it's 3.14, isn't it?\n\n  Naïve Ünïcode \u2713 日本\ttab. "
)
"""A text on which tokenizers that split otherwise disagree."""


def write_stock_files(folder: Path, base: Path, renderer: Renderer) -> None:
    """
    Write the files beside the weights into *folder*, in place of those that are there.

    Args:
        folder: The candidate, its weights written.
        base: Directory of the base model, whose tokenizer it is.
        renderer: Of *base*; made the prompts of training and evaluation.

    Raises:
        OSError: The file system refused.
    """
    for name in _TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    _write_templates(folder, renderer)
    _write(folder / GENERATION, _generation(renderer))
    # The renderer cleans nothing up; a template stands in its own file only.
    _change_tokenizer(folder, chat_template=None, clean_up_tokenization_spaces=False)
    if not _reads_the_same(folder, renderer):
        # The class that the renderer uses, which takes tokenizer.json as it is.
        _change_tokenizer(folder, tokenizer_class="PreTrainedTokenizerFast", auto_map=None)


def name_base(folder: Path, name: BaseName) -> None:
    """
    Name the base model in the adapter_config.json of *folder*, if it is an adapter.

    Raises:
        OSError: The file system refused.
    """
    config = read_json(folder / ADAPTER_CONFIG)
    if config is not None:
        names = {"base_model_name_or_path": name.name, "revision": name.revision}
        _write(folder / ADAPTER_CONFIG, {**config, **names})


def _write_templates(folder: Path, renderer: Renderer) -> None:
    templates = renderer.template.published()
    for name, text in templates.items():
        path = folder / TEMPLATE
        if name != DEFAULT:
            path = folder / _MORE_TEMPLATES / f"{name}.jinja"
            path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")


def _generation(renderer: Renderer) -> dict[str, Any]:
    """Return generation settings: greedy as in the evaluation, without a publisher's penalties."""
    first = renderer.template.turn_end
    stops = sorted(renderer.stop_token_ids, key=lambda token: (token != first, token))
    found: dict[str, Any] = {"do_sample": False, "eos_token_id": stops}
    if renderer.bos_token_id is not None:
        found["bos_token_id"] = renderer.bos_token_id
    return {**found, "pad_token_id": renderer.pad_token_id}


def _change_tokenizer(folder: Path, **values: Any) -> None:
    """Set keys of tokenizer_config.json; None removes a key."""
    path = folder / "tokenizer_config.json"
    config = {**(read_json(path) or {}), **values}
    _write(
        path,
        {key: value for key, value in config.items() if key not in values or value is not None},
    )


def _reads_the_same(folder: Path, renderer: Renderer) -> bool:
    """Return whether the tokenizer that stock libraries load from *folder* gives the same ids."""
    from transformers import AutoTokenizer

    asked = [{"role": "user", "content": _PROBE}]
    example = Example(
        "conversation", "messages", messages=[*asked, {"role": "assistant", "content": "yes"}]
    )
    try:
        stock = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        prompt = stock.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
        text = stock(_PROBE)["input_ids"]
        return bool(prompt == renderer.prompt_ids(example) and text == renderer.text_ids(_PROBE))
    except Exception:  # a class that does not fit the file may raise anything
        return False


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
