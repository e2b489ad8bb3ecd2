"""Figures of a report: numbers in, inline SVG out whose colours are the page's, in light and in dark.

matplotlib draws with placeholder colours that are replaced by CSS variables afterwards, so that one drawing serves
both. Colours are of Okabe and Ito's palette for all kinds of sight; lines differ in their dashes and width too.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.evaluation.calibration import CalibrationCurve

__all__ = [
    "HELD",
    "INK",
    "MUTED",
    "REAL",
    "SYNTHETIC",
    "bands",
    "calibration",
    "distribution",
    "inline_svg",
    "pareto",
]

#: Placeholder colours, and the CSS variable each becomes.
INK, MUTED, REAL, HELD, SYNTHETIC = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05"
_VARIABLES = {INK: "--ink", MUTED: "--muted", REAL: "--real", HELD: "--held", SYNTHETIC: "--synthetic"}
#: How the lines of the three sets look, besides their colour.
_STYLES: dict[str, dict[str, Any]] = {
    REAL: {"linewidth": 1.2},
    HELD: {"linewidth": 1.2, "linestyle": (0, (3, 2))},
    SYNTHETIC: {"linewidth": 2.0},
}
_TRIMMED = 0.5  # percent of the values beyond either end of a panel
_FEWEST_BINS, _MOST_BINS = 8, 40
_MOST_LABELS = 12


def inline_svg(
    draw: Callable[[Any], None], *, alt: str, name: str, width: float = 3.6, height: float = 2.6, css_class: str = ""
) -> str:
    """Draw on matplotlib axes and return an SVG element for an HTML page.

    Parameters
    ----------
    draw : callable
        Gets one ``matplotlib.axes.Axes``.
    alt : str
        What the figure shows, for those who can't see it.
    name : str
        Unique on the page: the ids inside are made of it.
    width, height : float
        Inches at 72 px; the page may scale it.
    css_class : str
        Of the element.

    Returns
    -------
    str
        No script, no reference to anything outside, no id that another figure has.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({**_THEME, "svg.hashsalt": name}):
        canvas = Figure(figsize=(width, height), layout="constrained")
        draw(canvas.add_subplot())
        stream = io.StringIO()
        canvas.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return _for_page(stream.getvalue(), alt, css_class)


_THEME: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": MUTED,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
}


def _for_page(svg: str, alt: str, css_class: str) -> str:
    """The element alone, with the page's colours and font."""
    body = svg[svg.index("<svg") :]
    size = re.search(r'width="([\d.]+)pt"', body)
    body = re.sub(r"<(metadata|style)\b.*?</\1>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[A-Za-z][\w.]*_\d+"', "<g", body)  # matplotlib's names of parts, the same in every figure
    body = re.sub(r"(font: [^;'\"]*?px)[^;\"]*", r"\1 var(--sans)", body).replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    opening, _, rest = body.partition(">")
    box = re.search(r'viewBox="[^"]*"', opening)
    wide = float(size.group(1)) * 4 / 3 if size else 0
    kept = box.group() if box else ""
    return (
        f'<svg class="figure {css_class}" role="img" aria-label="{escape(alt)}" {kept} '
        f'style="max-width:{wide:.0f}px">{rest.strip()}'
    )


def distribution(panel: Any, samples: Mapping[str, np.ndarray], *, label: str) -> None:
    """Draw one quantity of several sets of images as step histograms of equal area.

    Parameters
    ----------
    panel : matplotlib.axes.Axes
    samples : mapping of str to ndarray, shape (n,)
        Colour (`REAL`, `HELD` or `SYNTHETIC`) -> values; NaN and infinity are left out. The axis spans all but the
        lowest and highest 0.5 percent; what lies beyond is counted in the outermost bins.
    label : str
        Name and unit of the quantity.
    """
    finite = {colour: values[np.isfinite(values)] for colour, values in samples.items()}
    finite = {colour: values for colour, values in finite.items() if len(values)}
    panel.set_xlabel(label)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    if not finite:
        panel.text(0.5, 0.5, "not measurable", ha="center", va="center", transform=panel.transAxes, color=MUTED)
        panel.set_xticks([])
        return
    low, high = np.percentile(np.concatenate(list(finite.values())), (_TRIMMED, 100 - _TRIMMED))
    low, high = (low, high) if high > low else (low - 0.5, low + 0.5)
    count = int(np.clip(2 * min(map(len, finite.values())) ** 0.4, _FEWEST_BINS, _MOST_BINS))
    edges = np.linspace(low, high, count + 1)
    for colour, values in finite.items():
        heights = np.histogram(np.clip(values, low, high), edges)[0] / len(values)
        panel.stairs(heights, edges, color=colour, **_STYLES[colour])
    panel.set_ylim(bottom=0)
    panel.locator_params(axis="x", nbins=6)


def calibration(panel: Any, curves: Mapping[str, CalibrationCurve], *, title: str = "") -> None:
    """Draw read against asked vote fractions, with errors and the diagonal.

    Parameters
    ----------
    panel : matplotlib.axes.Axes
    curves : mapping of str to CalibrationCurve
        Colour -> curve.
    title : str
        Which answer.
    """
    panel.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
    for colour, curve in curves.items():
        style = _STYLES[colour] | {"marker": "o", "markersize": 3.5, "capsize": 2, "elinewidth": 1}
        panel.errorbar(curve.asked, curve.read, yerr=np.nan_to_num(curve.error), color=colour, **style)
    panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=title, xlabel="fraction asked for", ylabel="fraction read")
    panel.grid(True)


def bands(panel: Any, x: np.ndarray, curves: Mapping[str, np.ndarray], *, labels: tuple[str, str], log: bool) -> None:
    """Draw medians of curves, with the band from the 16th to the 84th percentile of the real ones.

    Parameters
    ----------
    panel : matplotlib.axes.Axes
    x : ndarray, shape (B,)
    curves : mapping of str to ndarray, shape (3, B)
        Colour -> 16th, 50th and 84th percentile.
    labels : tuple of str
        Of the axes.
    log : bool
        Whether both axes are logarithmic.
    """
    for colour, (low, middle, high) in curves.items():
        panel.plot(x, middle, color=colour, **_STYLES[colour])
        if colour == REAL:
            panel.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    if log:
        panel.set(xscale="log", yscale="log")
    panel.set(xlabel=labels[0], ylabel=labels[1])
    panel.grid(True)


def pareto(panel: Any, sweep: Table, x: str, y: str, *, labels: Sequence[str] = ()) -> None:
    """Draw two objectives of a sweep against each other; settings that nothing outdoes are filled and joined.

    Parameters
    ----------
    panel : matplotlib.axes.Axes
    sweep : Table
        With the columns `x`, `y`, ``front`` (see `astro_galaxysd.evaluation.pareto.pareto_front`) and, where there
        are errors, ``<x>_error`` and ``<y>_error``.
    x, y : str
        Columns.
    labels : sequence of str
        Text beside each row on the front; the longest fronts go without.
    """
    across, up, front = (np.asarray(sweep[name]) for name in (x, y, "front"))
    errors = [np.nan_to_num(np.asarray(sweep[f"{name}_error"])) if f"{name}_error" in sweep.colnames else None
              for name in (x, y)]  # fmt: skip
    panel.errorbar(across, up, xerr=errors[0], yerr=errors[1], fmt="none", ecolor=MUTED, elinewidth=0.7, alpha=0.6)
    panel.plot(across[~front], up[~front], "o", markersize=4, markerfacecolor="none", markeredgecolor=MUTED)
    order = np.flatnonzero(front)[np.argsort(across[front])]
    panel.plot(across[order], up[order], "o-", color=SYNTHETIC, markersize=5, linewidth=1.2)
    if labels and len(order) <= _MOST_LABELS:
        for row in order:
            place = (across[row], up[row])
            text = panel.annotate(labels[row], place, xytext=(5, 4), textcoords="offset points", fontsize=8)
            text.set_in_layout(False)  # else a long one leaves no room for the axes
    panel.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
    panel.margins(0.12)
    panel.grid(True)
