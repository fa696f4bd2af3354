"""
How the process that sends ends, as its caller reads it.
"""

from __future__ import annotations

from typing import Final

NOT_SENT: Final = 1
"""Exit status if all else worked and a message did not arrive: the journal knows when it is due."""
