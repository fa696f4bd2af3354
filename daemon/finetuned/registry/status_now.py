"""
The status of a daemon that does not run, with the versions that the links name now.

A person may have put another version in use since the daemon wrote its status for the last time.
"""

from __future__ import annotations

from finetuned.errors import FinetunedError
from finetuned.files.status_file import StatusDocument
from finetuned.layout import Layout
from finetuned.registry.link import linked


def with_links(layout: Layout, status: StatusDocument) -> StatusDocument:
    """
    Return *status* with the versions that the links name, as it is if one cannot be read.
    """
    try:
        release = linked(layout, layout.current_model, mend="")
        head = linked(layout, layout.head, mend="")
    except FinetunedError:
        return status
    if (release, head) == (status.get("version"), status.get("head")):
        return status
    now = {"version": release, "head": head, "beyond_release": None}
    return StatusDocument({**status, **now})
