"""
The one schema of infrastructure commands, and every older spelling of it.

An intent is the JSON answer to a command such as "point api.local at 10.0.0.5":

    {"action":"dns_add","zone":"api.local","record_type":"A","ip":"10.0.0.5"}

``table.py`` lists all actions with their values; everything else follows from it.
"""

from finetuned.data.intents.canonical import canonical, dumps, is_intent, reference_for
from finetuned.data.intents.kinds import REFERENCE_SCHEME, IntentError
from finetuned.data.intents.table import ACTIONS, DOMAINS, FIRST, MISSING, REASONS

__all__ = [
    "ACTIONS",
    "DOMAINS",
    "FIRST",
    "MISSING",
    "REASONS",
    "REFERENCE_SCHEME",
    "IntentError",
    "canonical",
    "dumps",
    "is_intent",
    "reference_for",
]
