"""
The JSON Schema of infrastructure commands as a file for other programs.
"""

from __future__ import annotations

import json


def intents() -> str:
    """
    Return the file.
    """
    from finetuned.data.intent_schema import intent_schema

    return json.dumps(intent_schema(), indent=2) + "\n"
