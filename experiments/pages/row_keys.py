"""
What the readers do with each key of a row and of a turn, as tables, read from their key sets.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from experiments.pages.table import table

if TYPE_CHECKING:
    from finetuned.data.formats.keys import Keys, KeyUse, Refused

_MARK: Final = (
    "0 or false: carries no loss; 1 or true: carries loss; another value is refused. Of a row: "
    "the row is left out, and does not count against its file"
)
_INVERTED: Final = "as `train`, with true meaning that nothing is trained"
USES: Final = {
    "messages": "the turns",
    "conversations": "the turns",
    "prompt": "the question, or the turns before the answer, which carry no loss",
    "completion": "the answer, or turns that end with it",
    "instruction": "the question; if it is empty, `input` is",
    "input": "the question, or what stands below the instruction",
    "output": "the answer; an object is trained as JSON text (input + output)",
    "history": "earlier turns: a list of `[question, answer]`, trained as well",
    "text": "learned whole",
    "system": "the system turn; an empty one is left out",
    "system_prompt": "as `system`",
    "system_message": "as `system`",
    "tools": "function schemas: a list, or JSON text of one",
    "functions": "read as `tools`",
    "metadata": "kept with the row, whatever it is",
    "role": "who speaks",
    "from": "who speaks",
    "content": "what is said: a text or text parts",
    "value": "what is said: a text or text parts",
    "tool_calls": 'calls of an assistant turn; no arguments, `""` and null are `{}`',
    "function_call": "read as one of `tool_calls`",
    "name": "given to the chat template; counted as unused if that shows no names",
    "tool_call_id": "given to the chat template",
    "reasoning_content": "rendered before the answer; refused if the base's template drops it, or "
    "closes the think block in the prompt (`model.enable_thinking`)",
    "reasoning": "as `reasoning_content`",
    "thinking": "as `reasoning_content`",
    "weight": _MARK,
    "loss": _MARK,
    "train": _MARK,
    "training": _MARK,
    "trainable": _MARK,
    "loss_mask": _MARK,
    "masked": _INVERTED,
    "never_train": _INVERTED,
    "is_eval": _INVERTED,
}
"""A key that readers use -> what it is used for."""

_KEPT: Final = "kept with the row; not trained, not counted"


def row_keys() -> str:
    """
    Return the table of the keys of a row.

    Raises:
        KeyError: A key that a reader uses is not described in USES.
    """
    from finetuned.data.reader import FORMATS

    return _table({found.name: found.keys for found in FORMATS}, "formats")


def turn_keys() -> str:
    """
    Return the table of the keys of a turn.

    Raises:
        KeyError: As ``row_keys``.
    """
    from finetuned.data.formats.turns import TURN_KEYS

    return _table({"turn": TURN_KEYS}, "")


def _table(readers: dict[str, Keys], second: str) -> str:
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key in dict.fromkeys(key for keys in readers.values() for key in keys):
        formats: dict[str, list[str]] = defaultdict(list)
        for name, keys in readers.items():
            if key in keys:
                formats[_done(key, keys[key])].append(name)
        for done, those in formats.items():
            every = "all" if len(those) == len(readers) else ", ".join(those)
            names[every, done].append(f"`{key}`")
    rows = [(", ".join(keys), every, done) for (every, done), keys in names.items()]
    rows.sort(key=lambda row: (row[2] == _KEPT, row[2].startswith("refused")))
    if not second:
        return table(("keys", "what is done"), ((keys, done) for keys, _, done in rows))
    return table(("keys", second, "what is done"), rows)


def _done(key: str, use: KeyUse | Refused) -> str:
    from finetuned.data.formats.keys import KeyUse

    if use is KeyUse.USED:
        return USES[key]
    if use is KeyUse.KEPT:
        return _KEPT
    allowed = dict.fromkeys(str(v).lower() for v in use.allowed if isinstance(v, bool | str))
    except_for = f" (unless {', '.join(allowed)})" if allowed else ""
    return f"refused{except_for}, `{use.code}`: it {use.meaning}. {use.remedy}"
