"""An augmented table as a program that trains networks wants it: row by row, ids, planes, labels, votes and views.

In: a table, and which of its rows take part. Out: one row at a time, its image as float32 planes, and the same galaxy
seen differently: turned, mirrored, or a synthetic galaxy of its class in its place. What is seen depends on the row and
a seed alone, so that image, votes and the mark of synthetic rows agree when a program asks for them one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.conditions.columns import SYNTHETIC_ID, find_id_column, is_synthetic, texts
from astro_galaxysd.conditions.table import choose_dialect, find_dialects
from astro_galaxysd.errors import ConditionError, ImageError
from astro_galaxysd.hosts.labels import read_labels
from astro_galaxysd.survey.card import Survey
from astro_galaxysd.survey.rows import SurveyRows

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Galaxies", "View"]

#: Which rows take part.
ROWS = ("all", "real")
_NAMED = 5


@dataclass(frozen=True)
class View:
    """How a row is shown.

    Parameters
    ----------
    row : int
        The row whose galaxy is shown.
    quarter_turns : int
        0 to 3, against the clock.
    mirrored : bool
        Left and right swapped, before turning.
    """

    row: int
    quarter_turns: int = 0
    mirrored: bool = False

    def of(self, planes: np.ndarray) -> np.ndarray:
        """Turn and mirror planes (..., H, W); a new array. Those that are not square are turned by halves only."""
        turns = self.quarter_turns if planes.shape[-2] == planes.shape[-1] else self.quarter_turns // 2 * 2
        mirrored = planes[..., ::-1] if self.mirrored else planes
        return np.array(np.rot90(mirrored, turns, axes=(-2, -1)), order="C")


class Galaxies:
    """Rows of a table, one at a time.

    Parameters
    ----------
    table : Table
        Galaxies with images; rows that an augmentation added have ``synthetic`` True. Not changed.
    images : str, optional
        Column of the images; by default the survey's columns, else ``image``.
    survey : Survey, optional
        What the images are, where they are a survey's own cutouts.
    id_column : str, optional
        By default a column called ``id``, ``objid`` or the like; row numbers where there is none.
    label : str, optional
        See `astro_galaxysd.hosts.labels.read_labels`.
    classes : sequence of str
        See `astro_galaxysd.hosts.labels.read_labels`.
    threshold : float
        Vote fraction that makes a row a member of the class `label`, in (0, 1].
    rows : {"all", "real"}
        Whether synthetic galaxies are rows too. They can stand in for real ones either way.
    turns : bool
        Whether views are turned and mirrored.
    stand_ins : float
        Share of the views of real rows, from 0 to 1, in which a synthetic galaxy of the same label is shown.

    Attributes
    ----------
    table_rows : ndarray of int
        Row of the table for each row here.
    ids : list of str
    has_label, has_votes : bool

    Raises
    ------
    ConditionError, ImageError, UnknownNameError
        If an argument is wrong, the table lacks what was asked for, ids occur twice, or images have several sizes.
    """

    def __init__(
        self,
        table: Table,
        *,
        images: str | None = None,
        survey: Survey | None = None,
        id_column: str | None = None,
        label: str | None = None,
        classes: Sequence[str] = (),
        threshold: float = 0.5,
        rows: str = "all",
        turns: bool = True,
        stand_ins: float = 0.0,
    ) -> None:
        self._marks = is_synthetic(table)
        self.table_rows = self._chosen(rows)
        self.survey = Survey() if survey is None else survey
        self.cutouts = SurveyRows(table, images, self.survey)
        self.ids = _ids(table, id_column, self.table_rows)
        self._labels = None if label is None else read_labels(table, label, classes=classes, threshold=threshold)
        self._votes = choose_dialect(table).read(table).astype(np.float32) if find_dialects(table) else None
        self.has_label, self.has_votes = self._labels is not None, self._votes is not None
        self._turns, self._share = turns, stand_ins
        self._pools = self._stand_ins() if stand_ins != 0 else {}

    def __len__(self) -> int:
        """Number of rows that take part."""
        return len(self.table_rows)

    def image(self, row: int) -> np.ndarray:
        """Image of a row.

        Returns
        -------
        ndarray, shape (3, H, W), float32
            Display values in [0, 1], red first, row 0 at the top; 0 where nothing was observed. The three planes of a
            survey in luminance are equal.

        Raises
        ------
        ImageError
            If it can't be read or has another size than most images; names the row.
        """
        return self._shown(int(self.table_rows[row]))

    def label(self, row: int) -> np.int64:
        """Label of a row, a whole number.

        Raises
        ------
        ConditionError
            If no label was named.
        """
        if self._labels is None:
            raise ConditionError("no label was named; give label='merger', or a column of the table")
        return np.int64(self._labels[self.table_rows[row]])

    def votes(self, row: int) -> np.ndarray:
        """Conditional vote fractions of a row, shape (37,), float32; NaN where a question was not asked.

        Raises
        ------
        ConditionError
            If the table has no vote columns.
        """
        return self._voted(int(self.table_rows[row]))

    def synthetic(self, row: int) -> np.bool_:
        """Whether a row was added by an augmentation."""
        return np.bool_(self._marks[self.table_rows[row]])

    def view(self, row: int, seed: int) -> View:
        """Choose how a row is seen.

        Parameters
        ----------
        row : int
        seed : int
            Any whole number; the same row and seed give the same view.

        Returns
        -------
        View
            Its `row` is one of the table's.
        """
        # Hosts draw seeds from all of int64; numpy takes none below 0.
        rng = np.random.default_rng([int(seed) % 2**64, int(row)])
        at = int(self.table_rows[row])
        chance, choice, turns, mirrored = rng.random(), rng.random(), int(rng.integers(4)), bool(rng.integers(2))
        if chance < self._share and not self._marks[at] and self._labels is not None:
            # A class without synthetic galaxies keeps its own.
            pool = self._pools.get(int(self._labels[at]), np.array([at]))
            at = int(pool[int(choice * len(pool))])
        return View(at, turns, mirrored) if self._turns else View(at)

    def view_image(self, row: int, seed: int, planes: np.ndarray | None = None) -> np.ndarray:
        """Image of a view, shape (3, H, W), float32; `planes` are those of the row itself, if they are at hand."""
        view = self.view(row, seed)
        own = view.row == int(self.table_rows[row])
        return view.of(planes if planes is not None and own else self._shown(view.row))

    def view_votes(self, row: int, seed: int) -> np.ndarray:
        """Votes of the galaxy that a view shows, as `votes`."""
        return self._voted(self.view(row, seed).row)

    def view_synthetic(self, row: int, seed: int) -> np.bool_:
        """Whether the galaxy that a view shows is synthetic."""
        return np.bool_(self._marks[self.view(row, seed).row])

    def _chosen(self, rows: str) -> np.ndarray:
        if rows not in ROWS:
            raise ConditionError(f"rows={rows!r}: give 'all' or 'real'")
        chosen = np.flatnonzero(~self._marks) if rows == "real" else np.arange(len(self._marks))
        if len(chosen) == 0:
            raise ConditionError(
                f"rows={rows!r}, but of the table's {len(self._marks)} row(s) none is left; give another table"
            )
        return chosen

    def _stand_ins(self) -> dict[int, np.ndarray]:
        """Synthetic rows by label, for labels that have any."""
        share = self._share
        if not 0 <= share <= 1:
            raise ConditionError(f"stand_ins={share}: it is a share of views, from 0 to 1")
        if self._labels is None:
            raise ConditionError(f"stand_ins={share} without a label: name one, so that galaxies of its class stand in")
        if not self._marks.any():
            raise ConditionError(f"stand_ins={share}, but the table has no synthetic rows; add some with augment_table")
        numbers = np.unique(self._labels[self._marks])
        return {int(number): np.flatnonzero(self._marks & (self._labels == number)) for number in numbers}

    def _shown(self, at: int) -> np.ndarray:
        planes = self.cutouts.planes(at)
        if planes.shape[1:] != self.cutouts.size:
            height, width = self.cutouts.size
            raise ImageError(
                f"{self.cutouts.name(at)} is {planes.shape[1]}x{planes.shape[2]} pixels where most are "
                f"{height}x{width}; bring all to one size with read_cutouts"
            )
        shown = self.survey.display(planes)
        return np.ascontiguousarray(np.moveaxis(shown, -1, 0), dtype=np.float32) / np.float32(255)

    def _voted(self, at: int) -> np.ndarray:
        if self._votes is None:
            raise ConditionError("the table has no vote columns, so its rows have no votes")
        return np.array(self._votes[at])


def _ids(table: Table, id_column: str | None, rows: np.ndarray) -> list[str]:
    """Ids of rows: of the id column, of the column that augmentation adds, or the row's number."""
    columns = [find_id_column(table, id_column), SYNTHETIC_ID if SYNTHETIC_ID in table.colnames else None]
    known = [texts(table[name]) for name in columns if name]
    ids = [next((values[row] for values in known if values[row]), None) or str(row) for row in rows.tolist()]
    again = [name for name, number in Counter(ids).items() if number > 1]
    if again:
        shown = ", ".join(map(repr, again[:_NAMED])) + (", ..." if len(again) > _NAMED else "")
        raise ConditionError(f"{len(again)} id(s) occur twice ({shown}); name another id_column")
    return ids
