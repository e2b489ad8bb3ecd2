r"""The figures of an evaluation as tables of a page: each with its error and its ceiling, and how far it is from it.

The distance of a value v from its ceiling c, in units of their common error, is

.. math:: z = \pm (c - v) / \sqrt{\sigma_v^2 + \sigma_c^2}

with the sign for which a positive z is worse than real images are. It says how sure a difference is, not how large:
with many images a small difference is sure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from astro_galaxysd.reporting.page import table

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Reading", "counted", "metric_tables", "readings", "rounded"]

#: Beyond so many errors a figure counts as away from the ceiling, and as far away.
AWAY, FAR = 2.0, 5.0
_OVER_ALL = "all"
_MOST_PLACES = 5
#: What is stated for comparison and is neither good nor bad.
_BASELINES = ("chance",)


class Reading(NamedTuple):
    """One row of an evaluation.

    Parameters
    ----------
    evaluator, metric, group : str
    value, error, ceiling, ceiling_error : float
        NaN where not computed.
    n_real, n_synthetic : int
    higher_is_better : bool
    note : str
    reconstruction, reconstruction_error : float
        Of images that went through the autoencoder alone; NaN without them.
    """

    evaluator: str
    metric: str
    group: str
    value: float
    error: float
    ceiling: float
    ceiling_error: float
    n_real: int
    n_synthetic: int
    higher_is_better: bool
    note: str
    reconstruction: float = math.nan
    reconstruction_error: float = math.nan

    @property
    def behind(self) -> float:
        """Distance z from the ceiling, positive where real images are better; NaN where it is not known."""
        error = math.hypot(self.error, self.ceiling_error)
        if self.metric in _BASELINES or not error > 0:
            return math.nan
        return (self.ceiling - self.value) / error * (1 if self.higher_is_better else -1)

    @property
    def standing(self) -> str:
        """``near``, ``away``, ``far`` or ``beyond`` the ceiling; ``unknown`` where there is no distance."""
        z = self.behind
        if math.isnan(z):
            return "unknown"
        return "beyond" if z < -AWAY else "near" if z <= AWAY else "away" if z <= FAR else "far"


def readings(evaluation: Table) -> list[Reading]:
    """Rows of the table that `astro_galaxysd.evaluate` gives."""
    names = [name for name in Reading._fields if name in evaluation.colnames]
    rows = zip(*(evaluation[name].tolist() for name in names), strict=True)
    return [Reading(**dict(zip(names, row, strict=True))) for row in rows]


def counted(found: Iterable[Reading]) -> str:
    """In one sentence: how many figures over all are where."""
    over_all = [reading for reading in found if reading.group == _OVER_ALL]
    missing = sum(math.isnan(reading.value) for reading in over_all)
    known = [reading for reading in over_all if reading.standing != "unknown"]
    near = sum(reading.standing == "near" for reading in known)
    beyond = sum(reading.standing == "beyond" for reading in known)
    text = (
        f"Of {len(known)} figures over all with a ceiling, {near} lie within {AWAY:g} standard errors of it, "
        f"{len(known) - near - beyond} fall short of it and {beyond} exceed it."
    )
    return text + (f" {missing} could not be computed; the tables say why." if missing else "")


def metric_tables(found: Iterable[Reading]) -> str:
    """All figures as HTML: of each evaluator those over all, then, folded, group by group."""
    by_evaluator: dict[str, list[Reading]] = {}
    for reading in found:
        by_evaluator.setdefault(reading.evaluator, []).append(reading)
    return "".join(f"<h3>{escape(name)}</h3>" + _of_evaluator(name, rows) for name, rows in by_evaluator.items())


def _of_evaluator(name: str, rows: list[Reading]) -> str:
    over_all = [row for row in rows if row.group == _OVER_ALL]
    groups = list(dict.fromkeys(row.group for row in rows if row.group != _OVER_ALL))
    shown = _over_all(f"{name}, over all", over_all) if over_all else ""
    if not groups:
        return shown
    grouped = _by_group(f"{name}, by group", [row for row in rows if row.group != _OVER_ALL], groups)
    opened = "" if over_all else " open"
    kinds = f"{len(groups)} group{'s' if len(groups) > 1 else ''}"
    return f"{shown}<details{opened}><summary>{escape(name)} by group ({kinds})</summary>{grouped}</details>"


def _over_all(caption: str, rows: list[Reading]) -> str:
    with_reconstruction = any(not math.isnan(row.reconstruction) for row in rows)
    with_note = any(row.note for row in rows)
    header = ["metric", "value", "real against real", *(["reconstructed"] if with_reconstruction else []),
              "distance from ceiling", "images", *(["note"] if with_note else [])]  # fmt: skip
    return table(
        header, (_row(row, with_reconstruction, with_note) for row in rows), caption=caption, css_class="metrics"
    )


def _row(row: Reading, with_reconstruction: bool, with_note: bool) -> list[str]:
    images = f"{row.n_synthetic}" if row.n_real == row.n_synthetic else f"{row.n_synthetic} | {row.n_real} real"
    reconstructed = f"<td>{rounded(row.reconstruction, row.reconstruction_error)}</td>"
    return [
        f'<th scope="row">{_name(row)}</th>',
        f'<td class="value {row.standing}">{rounded(row.value, row.error)}</td>',
        f"<td>{rounded(row.ceiling, row.ceiling_error)}</td>",
        *([reconstructed] if with_reconstruction else []),
        f"<td>{_distance(row)}</td><td>{images}</td>",
        *([f'<td class="note">{escape(row.note)}</td>'] if with_note else []),
    ]


def _name(row: Reading) -> str:
    name = escape(row.metric.replace("_", " "))
    words = "higher is better" if row.higher_is_better else "lower is better"
    return f'{name} <abbr title="{words}">{_arrow(row)}</abbr>' if _arrow(row) else name


def _arrow(row: Reading) -> str:
    """Which way is better; empty for what is stated for comparison."""
    return "" if row.metric in _BASELINES else "↑" if row.higher_is_better else "↓"


def _distance(row: Reading) -> str:
    z = row.behind
    if math.isnan(z):
        return "&ndash;"
    size = "&gt; 99" if abs(z) >= 99.5 else f"{abs(z):.1f}"
    return {"near": f"{size} &sigma;", "beyond": f"{size} &sigma; better"}.get(row.standing, f"{size} &sigma; worse")


def _by_group(caption: str, rows: list[Reading], groups: list[str]) -> str:
    """One row a group, one column a metric: value above, ceiling below."""
    metrics = list(dict.fromkeys(row.metric for row in rows))
    first = {metric: next(row for row in rows if row.metric == metric) for metric in metrics}
    cells = {(row.group, row.metric): row for row in rows}
    header = [
        "group",
        "images",
        *(f"{m.replace('_', ' ')} {_arrow(first[m])}".strip() for m in metrics),
    ]
    body = [
        [
            f'<th scope="row">{escape(group)}</th>',
            f"<td>{max(row.n_synthetic for row in rows if row.group == group)}</td>",
            *(_cell_of(cells.get((group, metric))) for metric in metrics),
        ]
        for group in groups
    ]
    return table(header, body, caption=caption, css_class="metrics groups")


def _cell_of(row: Reading | None) -> str:
    if row is None:
        return "<td></td>"
    if math.isnan(row.value):
        return f'<td class="note">{escape(row.note) or "&ndash;"}</td>'
    ceiling = f'<span class="ceiling">real {rounded(row.ceiling, row.ceiling_error)}</span>'
    title = f"{_distance(row)} than the ceiling" if row.standing in ("away", "far", "beyond") else _distance(row)
    return f'<td class="value {row.standing}" title="{title}">{rounded(row.value, row.error)}{ceiling}</td>'


def rounded(value: float, error: float) -> str:
    """A value with its error to two digits of the error, as HTML.

    Examples
    --------
    >>> rounded(0.123456, 0.0123)
    '0.123 &plusmn; 0.012'
    >>> rounded(0.5, float("nan"))
    '0.5'
    """
    if math.isnan(value):
        return "&ndash;"
    if not (math.isfinite(error) and error > 0):
        return f"{value:.4g}".replace("-", "&minus;")
    digits = 1 - math.floor(math.log10(error))
    power = math.floor(math.log10(max(abs(value), error)))
    if digits > _MOST_PLACES or power >= _MOST_PLACES:  # in units of a power of ten
        places = max(digits + power, 0)
        scaled = f"{value / 10**power:.{places}f} &plusmn; {error / 10**power:.{places}f}"
        return f"({scaled}) &times; 10<sup>{power}</sup>".replace("-", "&minus;")
    places = max(digits, 0)
    return f"{round(value, digits):.{places}f} &plusmn; {round(error, digits):.{places}f}".replace("-", "&minus;")
