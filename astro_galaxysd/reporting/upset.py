"""Which answers occur together: votes of real and of synthetic rows in, an UpSet plot out.

Lex et al. 2014, IEEE TVCG 20, 1983. Each column is a combination of answers, filled dots say which; bars above give
the share of rows that have exactly this combination, bars at the left the share that has the answer at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from astro_galaxysd.conditions.tree import ANSWERS
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.reporting.figures import INK, MUTED, REAL, SYNTHETIC

__all__ = ["Combinations", "combinations", "described", "draw_upset"]


_NAMED = [place for place, answer in enumerate(ANSWERS) if answer.words]


@dataclass(frozen=True)
class Combinations:
    """Exact combinations of answers, commonest first.

    Parameters
    ----------
    answers : tuple of str
        Words of the answers, commonest first.
    members : ndarray, shape (C, A), bool
        Which answers a combination has.
    counts : dict of str to ndarray, shape (C,), int
        Set of rows -> how many rows have exactly this combination.
    totals : dict of str to ndarray, shape (A,), int
        Set of rows -> how many rows have the answer.
    rows : dict of str to int
        Set of rows -> how many rows there are.
    """

    answers: tuple[str, ...]
    members: np.ndarray
    counts: dict[str, np.ndarray]
    totals: dict[str, np.ndarray]
    rows: dict[str, int]

    def shares(self, counts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Percent of each set's rows."""
        return {name: 100 * rows / max(self.rows[name], 1) for name, rows in counts.items()}

    def left_out(self, name: str) -> int:
        """Rows of a set whose combination is not among those kept."""
        return self.rows[name] - int(self.counts[name].sum())


def combinations(members: Mapping[str, np.ndarray], *, most_answers: int = 14, most: int = 24) -> Combinations:
    """Count the combinations of answers.

    Parameters
    ----------
    members : mapping of str to ndarray, shape (N, 37), bool
        Name of a set of rows -> which answers each row has, in the order of
        `astro_galaxysd.conditions.tree.ANSWERS` (see `astro_galaxysd.conditions.requests.answers_asked`).
    most_answers, most : int
        Commonest answers and combinations that are kept; each set counts by its share of rows. Only answers with
        prompt words count.

    Returns
    -------
    Combinations

    Raises
    ------
    ConditionError
        If no row has any answer.
    """
    has = {name: member[:, _NAMED] for name, member in members.items() if len(member)}
    share = sum((member.mean(axis=0) for member in has.values()), start=np.zeros(len(_NAMED)))
    kept = [place for place in np.argsort(-share, kind="stable") if share[place] > 0][:most_answers]
    if not kept:
        raise ConditionError("no row asks for any answer; there is nothing to combine")
    patterns = {name: Counter(map(tuple, member[:, kept].tolist())) for name, member in has.items()}
    weight: Counter[tuple[bool, ...]] = Counter()
    for name, counted in patterns.items():
        for pattern, rows in counted.items():
            weight[pattern] += rows / len(has[name]) * any(pattern)  # type: ignore[assignment]
    common = [pattern for pattern, part in weight.most_common(most) if part]
    return Combinations(
        tuple(ANSWERS[_NAMED[place]].words for place in kept),
        np.array(common, dtype=bool),
        {name: np.array([counted[pattern] for pattern in common]) for name, counted in patterns.items()},
        {name: member[:, kept].sum(axis=0) for name, member in has.items()},
        {name: len(member) for name, member in has.items()},
    )


def draw_upset(panel: Any, found: Combinations, colours: Mapping[str, str] | None = None) -> None:
    """Draw combinations in place of a panel.

    Parameters
    ----------
    panel : matplotlib.axes.Axes
        Replaced by three panels in its figure.
    found : Combinations
    colours : mapping of str to str, optional
        Set of rows -> colour; by default ``real`` and ``synthetic`` as everywhere in the report.
    """
    colours = colours or {"real": REAL, "synthetic": SYNTHETIC}
    figure = panel.figure
    panel.remove()
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 0.28 * len(found.members)), height_ratios=(1, 1.35))
    dots = figure.add_subplot(grid[1, 1])
    above = figure.add_subplot(grid[0, 1], sharex=dots)
    left = figure.add_subplot(grid[1, 0], sharey=dots)
    _draw_dots(dots, found)
    _draw_bars(above.bar, found.shares(found.counts), colours)
    _draw_bars(left.barh, found.shares(found.totals), colours)
    above.tick_params(bottom=False, labelbottom=False)
    above.set_ylabel("% of rows with\nexactly this")
    left.invert_xaxis()
    left.xaxis.get_major_locator().set_params(nbins=3)
    left.spines["left"].set_visible(False)
    left.tick_params(left=False, labelleft=False)
    left.set_xlabel("% of rows\nwith it")


def _draw_dots(panel: Any, found: Combinations) -> None:
    """The matrix of dots: filled where a combination has the answer."""
    column, row = np.nonzero(found.members)
    empty_column, empty_row = np.nonzero(~found.members)
    panel.scatter(empty_column, empty_row, s=14, color=MUTED, alpha=0.25, linewidth=0)
    for place, member in enumerate(found.members):
        rows = np.flatnonzero(member)
        panel.plot([place, place], [rows.min(), rows.max()], color=INK, linewidth=1.2)
    panel.scatter(column, row, s=26, color=INK, linewidth=0)
    panel.set_yticks(range(len(found.answers)), found.answers)
    panel.set_ylim(len(found.answers) - 0.5, -0.5)
    panel.set_xlim(-0.7, len(found.members) - 0.3)
    panel.set_xticks([])
    panel.tick_params(left=False)
    for spine in panel.spines.values():
        spine.set_visible(False)


def _draw_bars(bars: Any, values: Mapping[str, np.ndarray], colours: Mapping[str, str]) -> None:
    """Bars of the sets side by side."""
    thick = 0.8 / len(values)
    for place, (name, counts) in enumerate(values.items()):
        offset = (place - (len(values) - 1) / 2) * thick
        bars(np.arange(len(counts)) + offset, counts, thick, color=colours[name])


def described(found: Combinations, names: Sequence[str]) -> str:
    """The commonest combinations in words, for those who can't see the figure."""
    lines = []
    for place, member in enumerate(found.members[:5]):
        words = " and ".join(np.array(found.answers)[member])
        lines.append(f"{words}: " + ", ".join(f"{found.counts[name][place]} {name}" for name in names))
    return "UpSet plot of answers that occur together. " + "; ".join(lines)
