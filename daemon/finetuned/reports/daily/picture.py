"""
The loss curves of a day as a PNG: mail programs do not show SVG.

Knows matplotlib, which is imported late. Colours are fixed, on white: a picture cannot follow a
reader's dark mode.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

from finetuned.core.daily import JobFact
from finetuned.reports.wording import shorten

MOST_CURVES = 4
"""Jobs that are drawn, the last ones."""

_SETTINGS: dict[Any, Any] = {
    "text.parse_math": False,  # a dollar sign in a file name is not a formula
    "font.family": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#d9dee4",
    "grid.linewidth": 0.6,
}


def draw(jobs: Sequence[JobFact]) -> bytes | None:
    """
    Return a PNG with the loss of the last jobs, one field each; None if none has a curve.
    """
    drawn = [job for job in jobs if len(job.loss) > 1 or len(job.held_out) > 1][-MOST_CURVES:]
    if not drawn:
        return None
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(2, len(drawn))
    rows = -(-len(drawn) // columns)
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that no font has is drawn as a box
        figure = Figure(figsize=(7, 2.6 * rows), dpi=192, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        fields = figure.subplots(rows, columns, squeeze=False)
        for field, job in zip(fields.flat, drawn, strict=False):
            for curve, colour, label in (
                (job.loss, "#79838e", "training rows"),
                (job.held_out, "#0b62b8", "held-out rows"),
            ):
                if curve:
                    field.plot(*zip(*curve, strict=True), color=colour, label=label, linewidth=1.4)
            name = ", ".join(job.files) or job.id
            field.set_title(shorten(f"{job.version or job.id}: {name}", 44), loc="left", fontsize=9)
            field.set_xlabel("optimizer step")
            field.set_ylabel("loss, nats per token")
            field.legend(frameon=False)
        for field in list(fields.flat)[len(drawn) :]:
            field.set_axis_off()
        written = io.BytesIO()
        figure.savefig(written, format="png")
    return written.getvalue()
