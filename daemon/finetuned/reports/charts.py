"""
Charts as inline SVG that takes its colours from the page.

Knows matplotlib and numbers; does not know reports. matplotlib is imported late, inside
the functions. Each colour is drawn as a stand-in and then replaced by a variable of the
style sheet, so that one drawing serves the light and the dark page.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from finetuned.reports.wording import finite, percent, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float]

WIDTH_INCHES = 5.0
"""A phone shows it at three quarters of this, with letters that can still be read."""
MAX_POINTS = 500
"""Of one curve; a longer one is drawn as the means of equal stretches."""

# Stand-ins: no chart uses these colours for anything else.
_ROLES = {
    role: f"#{i:02x}{i:02x}{i:02x}"
    for i, role in enumerate(
        ("ink", "muted", "line", "heat", "paper", "base", "incumbent", "candidate"), start=1
    )
}
_MARKERS = {"base": "s", "incumbent": "D", "candidate": "o"}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be selected, searched and read aloud
    "text.parse_math": False,  # a dollar sign in a file name is not a formula
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same layout on every machine
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _ROLES["line"],
    "axes.labelcolor": _ROLES["muted"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _ROLES["line"],
    "grid.linewidth": 0.6,
    "xtick.color": _ROLES["muted"],
    "ytick.color": _ROLES["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": _ROLES["ink"],
    "legend.frameon": False,
    "legend.borderaxespad": 0.2,
}
_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def _draw(
    name: str, height: float, what: str, draw: Callable[[Axes], None], *, width: float = 0
) -> Markup:
    """
    Return the SVG of one chart.

    *name* must be the chart's own on its page: the ids in it are hashed with it.
    """
    import matplotlib
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name}), warnings.catch_warnings():
        # The browser has a font for what DejaVu Sans lacks; only the width is guessed.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure: Figure = Figure(figsize=(width or WIDTH_INCHES, height), layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(buffer, format="svg", metadata=_METADATA, transparent=True)
    return _inline(buffer.getvalue(), what)


def _inline(svg: str, what: str) -> Markup:
    """Return *svg* as part of a page: no prolog, no own style sheet, no fixed size or colour."""
    svg = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="([^"]+)"', svg)
    size = box[1] if box else "0 0 1 1"
    # Letters between three quarters and one and a half times the size they were drawn in.
    points = float(size.split()[2])
    least = 0.65 if points <= 72 * WIDTH_INCHES else 0.9  # a wide one is scrolled
    limits = f"min-width: {least * points:.0f}px; max-width: {1.5 * points:.0f}px"
    opening = f'<svg viewBox="{size}" role="img" aria-label="{escape(what)}" style="{limits}">'
    svg = re.sub(r"^<svg[^>]*>", lambda _: opening, svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<defs>\s*<style type="text/css">[^<]*</style>\s*</defs>', "", svg)
    # Only what is referred to keeps its id: markers, clips, collections.
    svg = re.sub(r'\sid="(?![mpC][0-9a-f]{10})[^"]*"', "", svg)
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    for role, colour in _ROLES.items():
        svg = svg.replace(f": {colour}", f": var(--{role})")
    return Markup(re.sub(r"\s*\n\s*", " ", svg).strip())  # noqa: S704  matplotlib has escaped it


def _thin(points: Sequence[Point]) -> list[Point]:
    """Return at most MAX_POINTS: the means of equal stretches, the first and last step kept."""
    size = -(-len(points) // MAX_POINTS)
    if size <= 1:
        return list(points)
    stretches = [points[i : i + size] for i in range(0, len(points), size)]
    means = [
        (sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part))
        for part in stretches
    ]
    return [points[0], *means[1:-1], points[-1]]


def known_points(curve: object) -> list[Point]:
    """
    Return the points of a curve that are two finite numbers; an empty list if there is no curve.
    """
    points = curve if isinstance(curve, list) else []
    pairs = [(finite(p[0]), finite(p[1])) for p in points if isinstance(p, list) and len(p) == 2]
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def curves(
    name: str,
    what: str,
    lines: Mapping[str, Sequence[Point]],
    *,
    unit: str,
    marks: Mapping[str, float] | None = None,
    x: str = "optimizer step",
) -> Markup:
    """
    Return a chart of up to two curves over optimizer steps.

    Args:
        name: The chart's own name on its page.
        what: Description for readers who cannot see the chart.
        lines: Label -> points (step, value); at least one line has points. The last line
            is the most important and gets the strong colour.
        unit: Unit of the values.
        marks: Label -> step at which an upright line is drawn.
        x: What the points are counted in.
    """

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        drawn = [(label, _thin(points)) for label, points in lines.items() if points]
        for label, points in drawn:
            strong = label == list(lines)[-1]
            axes.plot(
                *zip(*points, strict=True),
                color=_ROLES["candidate" if strong else "base"],
                linewidth=1.8 if strong else 1.1,
                marker="o" if len(points) <= 30 else "",
                markersize=3.5,
                label=label,
            )
        axes.set_xlabel(x)
        axes.set_ylabel(unit)
        axes.margins(x=0.02)
        axes.set_ylim(bottom=min(0, *(y for _, points in drawn for _, y in points)))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        for label, step in (marks or {}).items():
            axes.axvline(step, color=_ROLES["incumbent"], linestyle="--", linewidth=1, label=label)
        if len(lines) > 1 or marks:
            axes.legend()

    return _draw(name, 2.6, what, draw)


def accuracies(
    name: str,
    suites: Sequence[tuple[str, Mapping[str, tuple[float, float, float]]]],
    *,
    labels: Mapping[str, str] | None = None,
) -> Markup:
    """
    Return a chart of accuracies with their 95% intervals, one band per suite.

    Args:
        name: The chart's own name on its page.
        suites: Title, and subject (base, incumbent, candidate) -> accuracy, low, high
            (each 0 to 1); at least one.
        labels: Subject -> what the legend calls it; default its own name.
    """
    called = {s: shorten((labels or {}).get(s, s), 24) for s in _MARKERS}
    subjects = [s for s in _MARKERS if any(s in scores for _, scores in suites)]
    step = len(subjects) + 1.6

    def draw(axes: Axes) -> None:
        for i, (title, scores) in enumerate(suites):
            top = -i * step
            axes.text(0, top, shorten(title, 56), va="center", fontsize=10)
            for j, subject in enumerate(subjects):
                if subject in scores:
                    _interval(axes, subject, scores[subject], top - 0.9 - j)
        for subject in subjects:
            axes.plot([], [], _MARKERS[subject], color=_ROLES[subject], label=called[subject])
        axes.set_xlim(-1.5, 103)
        axes.set_ylim(-len(suites) * step + 0.6, 0.7)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_formatter("{x:.0f}%")
        axes.figure.legend(
            *axes.get_legend_handles_labels(), loc="outside upper left", ncols=len(subjects)
        )

    words = "; ".join(
        f"{shorten(title, 56)}: "
        + ", ".join(f"{called[s]} {percent(v[0])}" for s, v in scores.items())
        for title, scores in suites
    )
    return _draw(name, 0.8 + 0.17 * step * len(suites), f"accuracy by suite. {words}", draw)


def _interval(axes: Axes, subject: str, score: tuple[float, float, float], y: float) -> None:
    value, low, high = (100 * part for part in score)
    axes.errorbar(
        [value],
        [y],
        # Rounding may put a bound on the wrong side of the value.
        xerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
        fmt=_MARKERS[subject],
        color=_ROLES[subject],
        markersize=5,
        elinewidth=1.6,
        capsize=2.5,
    )


def matrix(
    name: str, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float | None]]
) -> Markup:
    """
    Return a heat map of accuracies.

    Args:
        name: The chart's own name on its page.
        rows: Versions, oldest first; at least one.
        columns: Suites, in the order they appeared; at least one.
        values: Per row one share of 0 to 1 per column; None is not measured and stays empty.
    """

    def draw(axes: Axes) -> None:
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                if value is not None:
                    _cell(axes, j, i, value)
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(rows), 0)
        axes.xaxis.tick_top()
        axes.set_xticks(
            [j + 0.5 for j in range(len(columns))],
            [shorten(title, 26) for title in columns],
            rotation=40,
            ha="left",
            rotation_mode="anchor",
        )
        axes.set_yticks([i + 0.5 for i in range(len(rows))], [shorten(row, 26) for row in rows])
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)

    width = max(WIDTH_INCHES, 2.2 + 0.55 * len(columns))
    return _draw(
        name,
        1.6 + 0.34 * len(rows),
        "accuracy in percent of each version (rows) on each suite (columns)",
        draw,
        width=width,
    )


def _cell(axes: Axes, x: int, y: int, value: float) -> None:
    """Draw one cell of a heat map, a share of 0 to 1, with its percentage on top."""
    from matplotlib.patches import Rectangle

    # At most 0.85: the number on top must stand out from the darkest cell.
    shade = 0.06 + 0.79 * value
    axes.add_patch(Rectangle((x, y), 1, 1, color=_ROLES["heat"], alpha=shade, linewidth=0))
    text = percent(value).rstrip("%")
    axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=9.5)


def scatter(
    name: str,
    what: str,
    groups: Mapping[str, Sequence[Point]],
    *,
    x: str,
    y: str,
    logarithmic: bool = False,
    labels: Sequence[str] | None = None,
) -> Markup:
    """
    Return a chart of points.

    Args:
        name, what: As curves.
        groups: Label -> points; the last group is the most important and gets the strong colour.
        x, y: What the axes show.
        logarithmic: Whether x is drawn by its logarithm; then each x is above 0.
        labels: Names of the places 0, 1, 2 ... on the x axis; None for numbers.
    """

    def draw(axes: Axes) -> None:
        for label, points in groups.items():
            strong = label == list(groups)[-1]
            colour = _ROLES["candidate" if strong else "base"]
            if points:
                xs, ys = zip(*points, strict=True)
                axes.scatter(xs, ys, s=22, color=colour, label=label)
        if logarithmic:
            axes.set_xscale("log")
        if labels is not None:
            axes.set_xticks(range(len(labels)), [shorten(text, 16) for text in labels])
            axes.set_xlim(-0.5, len(labels) - 0.5)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if sum(map(bool, groups.values())) > 1:
            axes.legend()

    return _draw(name, 2.6, what, draw)


def bars(name: str, what: str, lengths: Mapping[str, float], *, unit: str) -> Markup:
    """
    Return a chart of horizontal bars, the first on top.

    Args:
        name, what: As curves.
        lengths: Label -> length, >= 0; at least one.
        unit: Of the lengths.
    """

    def draw(axes: Axes) -> None:
        labels = [shorten(label, 32) for label in lengths]
        axes.barh(labels, list(lengths.values()), color=_ROLES["candidate"], height=0.6)
        axes.invert_yaxis()
        axes.set_xlabel(unit)

    return _draw(name, 0.7 + 0.3 * len(lengths), what, draw)
