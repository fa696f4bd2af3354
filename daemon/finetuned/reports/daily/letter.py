"""
A daily report as HTML that mail programs show.

Mail programs run no script, drop style sheets and show neither SVG nor data: addresses, so
every style stands at its element, and the picture is a PNG that is named by its Content-ID. A
page for a browser is the same with the picture inside. Pure.
"""

from __future__ import annotations

import base64

from finetuned.reports import html
from finetuned.reports.daily.sections import CALM, DailyReport

PICTURE = "curves.png"
"""File name of the picture, which is its Content-ID as well."""


def letter(report: DailyReport, *, picture: str | None) -> str:
    """
    Return the report as one HTML document.

    Args:
        report: In words.
        picture: Address of the picture: ``cid:`` in a mail, ``data:`` in a page; None has none.
    """
    return html.served("daily.html", {"report": report, "picture": picture, "calm": CALM})


def by_content_id() -> str:
    """
    Return the address of the picture in a mail.
    """
    return f"cid:{PICTURE}"


def inside(picture: bytes) -> str:
    """
    Return an address that holds the picture itself, for a page in a browser.

    Args:
        picture: PNG.
    """
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
