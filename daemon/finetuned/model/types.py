"""
The type of a loaded model, for signatures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

LanguageModel: TypeAlias = "PreTrainedModel | PeftModel"
"""
A causal language model of transformers, alone or with an adapter of peft around it.

A name for type checkers only: a process that needs no adapter does not import peft.
"""
