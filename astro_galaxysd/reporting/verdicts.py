"""The page of a verdict: the table of `astro_galaxysd.augmentation_verdict` in, one HTML text out."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.reporting.figures import HELD, INK, SYNTHETIC, inline_svg
from astro_galaxysd.reporting.page import Section, assemble, facts, table

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["verdict_page"]

_METRIC = "average_precision"
_LINE = 0.32  # inches


def verdict_page(found: Table, conclusion: str, record: Mapping[str, Any]) -> str:
    """Put a verdict on a page.

    Parameters
    ----------
    found : Table
        Of `astro_galaxysd.verdict.Verdict`.
    conclusion : str
    record : mapping
        Of the run, as it is in the table's ``meta``.

    Returns
    -------
    str
        A whole HTML document that needs nothing from outside.
    """
    numbers = list(dict.fromkeys(found["positives"].tolist()))
    sections = [_section(found[found["positives"] == number], number, record) for number in numbers]
    return assemble(
        f"Does augmentation help? {record['target']}",
        f"<p>{escape(conclusion)}</p>",
        [*sections, Section("compared", "What was compared", facts(_facts(record)))],
    )


def _section(found: Table, number: int, record: Mapping[str, Any]) -> Section:
    main = found[found["metric"] == _METRIC]
    test = record["split"]["test"]
    chance = test["of the class"] / (test["of the class"] + test["others"])
    drawn = inline_svg(
        lambda panel: _bars(panel, main, chance),
        alt=f"average precision of {len(main)} ways to learn from {number} labelled galaxies",
        name=f"verdict-{number}",
        width=6.4,
        height=0.9 + _LINE * len(main),
    )
    caption = (
        "Average precision on real test galaxies, with 95 % intervals; dotted: real galaxies only, and chance. Bold: "
        "with synthetic galaxies."
    )
    figure = f"<figure>{drawn}<figcaption>{caption}</figcaption></figure>"
    return Section(f"labelled-{number}", f"{number} labelled galaxies", figure + _figures(found))


def _bars(panel: Any, main: Table, chance: float) -> None:
    places = np.arange(len(main))[::-1]
    for place, row in zip(places, main, strict=True):
        colour = SYNTHETIC if row["ratio"] else INK
        panel.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2 if row["ratio"] else 1.2)
        panel.plot(row["value"], place, "o", color=colour, markersize=4)
    real = float(main["value"][main["arm"] == "real"][0])
    for value in (real, chance):
        panel.axvline(value, color=HELD, linewidth=0.8, linestyle=":")
    panel.set_yticks(places, [_name(row) for row in main])
    panel.set_xlim(left=0)
    panel.set_xlabel("average precision")


def _figures(found: Table) -> str:
    metrics = list(dict.fromkeys(found["metric"].tolist()))
    rows = []
    for row in found[found["metric"] == _METRIC]:
        own = found[(found["arm"] == row["arm"]) & (found["ratio"] == row["ratio"])]
        cells = [f'<th scope="row">{escape(_name(row))}</th>']
        for metric in metrics:
            one = own[own["metric"] == metric][0]
            gain = f"{one['gain']:+.2f} ({one['gain_low']:+.2f} to {one['gain_high']:+.2f})"
            cells.append(f"<td>{one['value']:.2f}<br><small>{gain}</small></td>")
        rows.append(cells)
    header = ["way to learn", *(metric.replace("_", " ") for metric in metrics)]
    return table(header, rows, caption="Figures on test galaxies; below each the gain over real galaxies only, 95 %")


def _name(row: Any) -> str:
    arm = str(row["arm"]).replace("_", " ")
    return f"{arm}, ratio {row['ratio']:g}" if row["ratio"] else arm


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    def told(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{name} {told(item)}" for name, item in value.items()) or "none"
        if isinstance(value, list):
            return ", ".join(map(told, value)) or "none"
        return "not known" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)

    names = (
        "split",
        "compared by",
        "rows of one object",
        "seen",
        "galaxies of the class that the weights were trained on",
        "told apart",
    )
    left_out = {reason: rows["rows"] for reason, rows in record["excluded"].items()}
    return [*((name, told(record[name])) for name in names), ("rows left out", told(left_out))]
