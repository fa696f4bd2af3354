"""
The type of a loaded model, for signatures.
"""

from __future__ import annotations

from peft import PeftModel
from transformers import PreTrainedModel

LanguageModel = PreTrainedModel | PeftModel
"""A causal language model of transformers, alone or with an adapter of peft around it."""
