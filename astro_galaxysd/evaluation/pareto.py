r"""Fronts of what can't be had at once: figures of many settings in, the settings that nothing outdoes out.

A setting a outdoes b if a is at least as good in every objective and better in one. The front are the settings that no
other outdoes; realism against diversity and consistency is the choice that guidance, steps and training make (Astolfi
et al. 2024, arXiv 2406.10429).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError, UnknownNameError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["OBJECTIVES", "pareto_front", "sweep_table"]

#: Metrics that are traded against each other, of which each is better when higher.
OBJECTIVES = {"nearest_real": True, "pairwise_distance": True, "consistency": True}


def pareto_front(table: Table, objectives: Mapping[str, bool]) -> Table:
    """Mark the rows that no other row outdoes.

    Parameters
    ----------
    table : Table
        One row a setting; left as it is.
    objectives : mapping of str to bool
        Column of numbers -> whether higher is better; at least one.

    Returns
    -------
    Table
        A copy with the bool column ``front``. Rows that are equal in every objective are on it together; a row with an
        objective that is NaN or masked is not on it and outdoes nothing.

    Raises
    ------
    ConditionError
        If there is no objective, or a column is not one number a row.
    UnknownNameError
        If the table lacks a column.

    Examples
    --------
    >>> from astropy.table import Table
    >>> sweep = Table({"realism": [0.9, 0.8, 0.7], "frechet": [3.0, 1.0, 2.0]})
    >>> pareto_front(sweep, {"realism": True, "frechet": False})["front"].tolist()
    [True, True, False]
    """
    if not objectives:
        raise ConditionError("a Pareto front needs at least one objective; give {'column': True if higher is better}")
    columns = [_goodness(table, name, higher) for name, higher in objectives.items()]
    points = np.stack(columns, axis=1)
    whole = np.isfinite(points).all(axis=1)
    front = np.zeros(len(table), dtype=bool)
    for row in np.flatnonzero(whole):
        others = points[whole]
        front[row] = not ((others >= points[row]).all(axis=1) & (others > points[row]).any(axis=1)).any()
    result = table.copy()
    result["front"] = front
    return result


def _goodness(table: Table, name: str, higher: bool) -> np.ndarray:
    """Values of a column, turned so that more is better; NaN where there is none."""
    if name not in table.colnames:
        raise UnknownNameError("objective", name, table.colnames, "Objectives are columns of the table.")
    column = np.ma.asarray(table[name])
    if column.ndim != 1 or column.dtype.kind not in "iufb":
        raise ConditionError(
            f"column {name!r} holds {column.dtype} of shape {column.shape}; an objective is one number a row"
        )
    values = np.asarray(np.ma.filled(column.astype(float), np.nan))
    return values if higher else -values


def sweep_table(
    evaluations: Iterable[tuple[Mapping[str, Any], Table]], metrics: Iterable[str] = tuple(OBJECTIVES)
) -> Table:
    """Evaluations of several settings as one table, for `pareto_front`.

    Parameters
    ----------
    evaluations : iterable of (mapping, Table)
        A setting, name -> number or text, the same names in each: ``{"guidance": 2.0, "step": 1000}``; and the table
        that `astro_galaxysd.evaluate` gave for it.
    metrics : iterable of str
        What becomes a column.

    Returns
    -------
    Table
        One row a setting and group: the names of the setting, ``group``, and of each metric its value and
        ``<metric>_error``, float64, NaN where it was not computed. Groups without any of the metrics are left out.

    Raises
    ------
    ConditionError
        If there is no evaluation, a table has none of the metrics, or settings have different names.
    """
    from astropy.table import Table

    metrics = list(metrics)
    rows: list[dict[str, Any]] = []
    for setting, table in evaluations:
        if rows and set(rows[0]) - {"group", *_columns(metrics)} != set(setting):
            raise ConditionError(f"settings differ in their names: {sorted(setting)} and those before; name the same")
        found = [row for row in table if row["metric"] in metrics]
        if not found:
            raise ConditionError(f"the evaluation of {dict(setting)} has no metric {' or '.join(metrics)}")
        groups = dict.fromkeys(str(row["group"]) for row in found)
        rows += [{**setting, "group": group, **_figures(found, group, metrics)} for group in groups]
    if not rows:
        raise ConditionError("no evaluations; give (setting, table) pairs")
    return Table(rows=rows)


def _columns(metrics: Iterable[str]) -> list[str]:
    return [name for metric in metrics for name in (metric, f"{metric}_error")]


def _figures(found: list[Any], group: str, metrics: Iterable[str]) -> dict[str, float]:
    """Values and errors of one group, by column."""
    figures = dict.fromkeys(_columns(metrics), float("nan"))
    for row in found:
        if str(row["group"]) == group:
            figures[str(row["metric"])], figures[f"{row['metric']}_error"] = float(row["value"]), float(row["error"])
    return figures
