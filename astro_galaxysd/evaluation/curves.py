"""How figures went while weights were trained: the rows of ``metrics.csv`` in, a picture out."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from astro_galaxysd.errors import TrainingError
from astro_galaxysd.evaluation.progress import HIGHER_IS_BETTER, Figure
from astro_galaxysd.images.files import atomic_path

__all__ = ["COLUMNS", "append_metrics", "draw_metric", "plot_metrics", "read_metrics"]

#: Columns of ``metrics.csv``: one row a metric and step.
COLUMNS = ("step", "images", "metric", "value", "error", "ceiling", "n")
_ACROSS = 4


def append_metrics(
    path: str | os.PathLike[str],
    figures: Mapping[str, Figure],
    ceiling: Mapping[str, Figure],
    *,
    step: int,
    images: int,
    n: int,
) -> None:
    """Add the figures of one step to a CSV file, which begins with its header.

    Parameters
    ----------
    path : path
    figures, ceiling : mapping of str to Figure
        What `Progress.measure` and `Progress.ceiling` say.
    step, images : int
        Steps taken and training images seen.
    n : int
        Images drawn.
    """
    new = not Path(path).exists() or not Path(path).stat().st_size
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(COLUMNS)
        for name, figure in figures.items():
            numbers = (f"{number:.6g}" for number in (figure.value, figure.error, ceiling[name].value))
            writer.writerow([step, images, name, *numbers, n])


def plot_metrics(
    csv_path: str | os.PathLike[str],
    png_path: str | os.PathLike[str],
    *,
    old: Mapping[str, Figure] | None = None,
) -> None:
    """Draw every metric against the step, with errors, the ceiling and, dashed, the weights they should outdo.

    Parameters
    ----------
    csv_path : path
        With the columns `COLUMNS`. Of rows for one step and metric, as a run that went on from an earlier checkpoint
        leaves them, the last counts.
    png_path : path
        Replaced where it exists.
    old : mapping of str to Figure, optional
        Figures of the weights there are.

    Raises
    ------
    TrainingError
        As `read_metrics`.
    """
    from matplotlib.figure import Figure as Canvas

    curves = read_metrics(csv_path)
    down = math.ceil(len(curves) / _ACROSS)
    canvas = Canvas(figsize=(3.6 * min(_ACROSS, len(curves)), 2.9 * down), layout="constrained")
    panels = canvas.subplots(down, min(_ACROSS, len(curves)), squeeze=False).ravel()
    for panel, (name, rows) in zip(panels, curves.items(), strict=False):
        draw_metric(panel, name, rows, (old or {}).get(name))
    for panel in panels[len(curves) :]:
        panel.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    with atomic_path(png_path, overwrite=True) as partial:
        canvas.savefig(partial, format="png", dpi=110)


def read_metrics(csv_path: str | os.PathLike[str]) -> dict[str, dict[int, tuple[float, float, float]]]:
    """Figures of a run by metric and step.

    Parameters
    ----------
    csv_path : path
        With the columns `COLUMNS`; of rows for one step and metric the last counts.

    Returns
    -------
    dict
        Metric -> step -> value, error, ceiling; metrics in the order of the file, steps sorted.

    Raises
    ------
    TrainingError
        If the file is missing, has no rows, other columns, or something else than numbers.
    """
    path = Path(csv_path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if missing := set(COLUMNS) - set(reader.fieldnames or ()):
                raise TrainingError(f"{path} has no column {', '.join(sorted(missing))}; give a run's metrics.csv")
            curves: dict[str, dict[int, tuple[float, float, float]]] = {}
            for row in reader:
                values = (float(row["value"]), float(row["error"]), float(row["ceiling"]))
                curves.setdefault(row["metric"], {})[int(row["step"])] = values
    except (TypeError, ValueError) as error:  # a line cut short, or text for a number
        raise TrainingError(f"{path} is damaged: {error}; remove the line or give another run's metrics.csv") from error
    except FileNotFoundError:
        raise TrainingError(f"{path} is not there; a run writes it when it is given validation rows") from None
    if not curves:
        raise TrainingError(f"{path} has no figures yet; wait for the first of them")
    return {name: dict(sorted(rows.items())) for name, rows in curves.items()}


def draw_metric(
    panel: Any,
    name: str,
    rows: Mapping[int, tuple[float, float, float]],
    old: Figure | None = None,
    *,
    ceiling_colour: str = "0.4",
) -> None:
    """Draw one metric against the step on matplotlib axes: value with error, ceiling, and the old weights' figure.

    Parameters
    ----------
    panel : matplotlib.axes.Axes
    name : str
        Of the metric.
    rows : mapping of int to (float, float, float)
        Step -> value, error, ceiling, as `read_metrics` gives them; at least one.
    old : Figure, optional
        Of the weights there are.
    ceiling_colour : str
        Of the line of real images; the other colours come from the panel's cycle.
    """
    steps = list(rows)
    values, errors, ceilings = zip(*rows.values(), strict=True)
    panel.errorbar(steps, values, yerr=errors, marker="o", markersize=3, linewidth=1.2, capsize=2, label="trained")
    panel.plot(steps, ceilings, color=ceiling_colour, linewidth=1, label="real images")
    if len(steps) == 1:  # a line of one point is invisible
        panel.axhline(ceilings[0], color=ceiling_colour, linewidth=1)
    if old is not None:
        panel.axhline(old.value, color="C1", linestyle="--", linewidth=1, label="old weights")
        panel.axhspan(old.value - old.error, old.value + old.error, color="C1", alpha=0.12, linewidth=0)
    better = HIGHER_IS_BETTER.get(name)
    arrow = "" if better is None else " (higher is better)" if better else " (lower is better)"
    panel.set_title(f"{name.replace('_ks', ', KS distance')}{arrow}", fontsize=9)
    panel.set_xlabel("step", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.25)
