"""A survey's cutouts, row by row: what `astro_galaxysd.survey.card.Survey` says, applied to a table.

Nothing is held: a cutout is read when it is asked for, so that a table of 200 000 paths costs no memory. Planes come
red first with row 0 at the top, NaN where nothing was observed. With a stretch they are the survey's own values;
without one they are display values in [0, 1].
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.columns import find_id_column, texts
from astro_galaxysd.errors import ImageError, SurveyError
from astro_galaxysd.images.hdu import ID_COLUMNS
from astro_galaxysd.images.sources import row_name
from astro_galaxysd.images.wcs import header_of_text, header_scale, positive_card, wcs_column
from astro_galaxysd.survey.card import Survey
from astro_galaxysd.survey.cells import Cell, CutoutColumn, find_columns, open_cell, path_text
from astro_galaxysd.survey.files import locate
from astro_galaxysd.survey.values import check_pixels, check_sizes, differ, pixel_values, unit_of

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.survey.pixels import Pixels

__all__ = ["SurveyRows"]

#: Rows, evenly spaced, that show what kind and size most are.
_LOOK_AT = 200
#: Reasons that a message names.
_NAMED = 3


class SurveyRows:
    """Cutouts of a table's rows, read one at a time.

    Parameters
    ----------
    table : Table
        Not changed.
    images : str, sequence, mapping or None
        Column of the cutouts, the names of one column a band, the cutouts themselves (one a row), or band -> column or
        cutouts. None: the survey's `columns`, else ``image``. A cell is a path of a FITS file (``"a.fits[SCI]"``
        chooses an extension), JPEG or PNG, an array (H, W) or (H, W, bands), JPEG or PNG bytes, or an HDU.
    survey : Survey, optional
        What the cutouts are; by default display images of bands i, r, g.
    rows : sequence of int, optional
        Rows of the table that take part, in this order; all by default. Row numbers below count these.
    id_column : str, optional
        Of the names of rows; by default one called ``id``, ``objid`` or the like.

    Attributes
    ----------
    survey : Survey
    columns : tuple of CutoutColumn
        One, or one for each band.
    table_rows : ndarray of int
        Row of the table for each row here.

    Raises
    ------
    ConditionError, ImageError, UnknownNameError
        As `astro_galaxysd.survey.cells.find_columns`; `ImageError` if there are no rows.
    SurveyError
        If the survey has planes to choose from but a column for each band.
    """

    def __init__(
        self,
        table: Table,
        images: Any = None,
        survey: Survey | None = None,
        *,
        rows: Sequence[int] | None = None,
        id_column: str | None = None,
    ) -> None:
        self.survey = Survey() if survey is None else survey
        self.columns: tuple[CutoutColumn, ...] = find_columns(table, images, self.survey)
        self.table_rows = np.arange(len(table)) if rows is None else np.asarray(rows, dtype=np.int64)
        if len(self.table_rows) == 0:
            raise ImageError("there are no cutouts: the table has no rows; give at least one")
        if len(self.columns) > 1 and self.survey.planes is not None:
            raise SurveyError(
                f"planes={self.survey.planes} are chosen from a cutout with all of them, but there is a column for "
                "each band; drop planes="
            )
        self._table = table
        known = find_id_column(table, id_column)
        self._id_column = known or next((name for name in ID_COLUMNS if name in table.colnames), None)
        self._most: tuple[str, tuple[int, int], str] | None = None

    def __len__(self) -> int:
        """Number of rows that take part."""
        return len(self.table_rows)

    def only(self, rows: Sequence[int]) -> SurveyRows:
        """The same cutouts, of these rows alone; `kind` and `size` stay what most of all have.

        Raises
        ------
        ImageError
            If there are no rows.
        """
        if len(rows) == 0:
            raise ImageError("there are no cutouts: no row is left; give at least one")
        part = copy.copy(self)
        part.table_rows = self.table_rows[np.asarray(rows, dtype=np.int64)]
        return part

    @property
    def kind(self) -> str:
        """Kind of cell that most rows have: ``array``, ``encoded``, ``hdu``, ``fits`` or ``picture``.

        Raises
        ------
        ImageError
            If none of the rows looked at (up to 200, evenly spaced) is readable.
        """
        return self._majority()[0]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels of most rows; looks at the same rows as `kind` and raises as it does."""
        return self._majority()[1]

    @property
    def unit(self) -> str:
        """BUNIT of most rows, empty where they have none; looks at the same rows as `kind` and raises as it does."""
        return self._majority()[2]

    def row_id(self, row: int) -> str | None:
        """Id of a row; None where the table has no ids or it is masked."""
        if self._id_column is None:
            return None
        at = int(self.table_rows[row])
        return texts(self._table[self._id_column][at : at + 1])[0]

    def identifier(self, row: int) -> str:
        """Id of a row, or its number in the table where it has none."""
        return self.row_id(row) or str(int(self.table_rows[row]))

    def name(self, row: int) -> str:
        """Name of a row in messages: ``row 12 (J1234+56)``; rows of the table are counted from 0."""
        identifier = self.row_id(row)
        return row_name(int(self.table_rows[row])) + (f" ({identifier})" if identifier else "")

    def planes(self, row: int) -> np.ndarray:
        """Planes of a row in the order of the survey's bands.

        Parameters
        ----------
        row : int

        Returns
        -------
        ndarray, shape (B, H, W), float64
            Row 0 is the top. With a stretch the survey's own values, without one display values in [0, 1]; NaN where
            nothing was observed.

        Raises
        ------
        ImageError
            If the cutout can't be read, has another number of bands or another unit, no finite or an infinite pixel,
            or values outside [0, 1] without a stretch. The message names the row.
        """
        where = self.name(row)
        several = len(self.columns) > 1
        parts = [self._pixels(cell, read=True) for cell in self.cells(row)]
        check_sizes(parts, self.columns, where)
        values = np.concatenate([pixel_values(pixels, self.survey, where, one_band=several) for pixels in parts])
        if not np.isfinite(values).any():
            raise ImageError(f"{where} has no finite pixel (all are NaN or masked); remove the row")
        return values

    def pixel_scale(self, row: int) -> float | None:
        """Angular size of a row's pixels, arcsec: of the survey, else by the header's WCS or PIXSCALE; None if unknown.

        Raises
        ------
        ImageError
            If the cutout can't be read, the WCS can't be understood, or the pixels are not square.
        """
        if self.survey.pixel_scale is not None:
            return float(self.survey.pixel_scale)
        header = self.header(row)
        return None if header is None else header_scale(header, self.name(row))

    def header(self, row: int) -> Any:
        """Header of a row's first band; of an array, that of the column ``<column>_wcs``. None where there is none."""
        header = self.cells(row)[0].read(pixels=False).header
        name = wcs_column(self.columns[0].name)
        if header is not None or name not in self._table.colnames:
            return header
        at = int(self.table_rows[row])
        text = texts(self._table[name][at : at + 1])[0]
        return header_of_text(text) if text else None

    def saturation(self, row: int) -> float | None:
        """Value of a row's planes at and above which pixels are saturated.

        Returns
        -------
        float or None
            Of the survey, else the lowest SATURATE of the headers of its bands; None if unknown. Without a stretch
            planes are display values, of which a header says nothing.

        Raises
        ------
        ImageError
            If a header is needed and the cutout can't be read.
        """
        if self.survey.saturation is not None or self.survey.stretch is None:
            return self.survey.saturation
        headers = [cell.read(pixels=False).header for cell in self.cells(row) if cell.kind in ("fits", "hdu")]
        levels = [positive_card(header, "SATURATE") for header in headers if header is not None]
        return min((level for level in levels if level is not None), default=None)

    def unusable(
        self, rows: Iterable[int] | None = None, *, full: bool = False, same_size: bool = True
    ) -> dict[int, str]:
        """Find rows whose cutouts can't be used.

        Parameters
        ----------
        rows : iterable of int, optional
            All by default.
        full : bool
            Whether to read the pixels too (truncated files, no finite pixel, values outside [0, 1] without a stretch).
            Otherwise headers only: missing and unreadable files, number of bands, dtype, unit, size.
        same_size : bool
            Whether another size than that of most rows is a fault.

        Returns
        -------
        dict of int to str
            Reason by row; empty if all is well.
        """
        reasons: dict[int, str] = {}
        size = self._majority()[1] if same_size else None
        for row in range(len(self)) if rows is None else rows:
            try:
                found = self.planes(row).shape[1:] if full else self._described(row, check_unit=True)[1]
                if size is not None and found != size:
                    raise ImageError(
                        f"{found[0]}x{found[1]} pixels where most are {size[0]}x{size[1]}; cut all to one size"
                    )
            except ImageError as error:
                reasons[row] = self.reason(row, error)
        return reasons

    def reason(self, row: int, error: Exception) -> str:
        """Message of an error about a row, without its name."""
        return str(error).removeprefix(self.name(row)).removeprefix(":").strip()

    def cells(self, row: int) -> list[Cell]:
        """Cells of a row, one for each of `columns`, before they are read; raises `ImageError` as `planes` does."""
        where, at = self.name(row), int(self.table_rows[row])
        return [open_cell(column.items[at], where, self.survey.folder) for column in self.columns]

    def paths(self, row: int) -> list[Path]:
        """Files of a row's cutout, which need not exist; empty where it is no file."""
        texts_of_row = (path_text(column.items[int(self.table_rows[row])]) for column in self.columns)
        return [locate(text, self.survey.folder).path for text in texts_of_row if text]

    def looked_at(self) -> list[int]:
        """Up to 200 rows, evenly spaced, from which is told what most rows are."""
        return [int(row) for row in np.unique(np.linspace(0, len(self) - 1, _LOOK_AT).astype(int))]

    def _pixels(self, cell: Cell, *, read: bool) -> Pixels:
        """Pixels or header of a cell, checked as far as that goes."""
        pixels = cell.read(pixels=read)
        several, last = len(self.columns) > 1, cell.kind == "array"
        check_pixels(pixels, self.survey, cell.where, one_band=several, planes_last=last)
        return pixels

    def _described(self, row: int, *, check_unit: bool = False) -> tuple[str, tuple[int, int], str]:
        """Kind, size and unit of a row, by its headers; another unit than most rows have is a fault if asked."""
        cells = self.cells(row)
        parts = [self._pixels(cell, read=False) for cell in cells]
        check_sizes(parts, self.columns, self.name(row))
        unit = unit_of(parts[0])
        most = self._majority()[2] if check_unit else ""
        if unit and most and differ(unit, most):
            raise ImageError(
                f"{self.name(row)}: unit {unit!r} (BUNIT) where most have {most!r}; bring all cutouts to one unit"
            )
        return cells[0].kind, parts[0].shape[1:], unit

    def _majority(self) -> tuple[str, tuple[int, int], str]:
        if self._most is None:
            found, reasons = [], []
            for row in self.looked_at():
                try:
                    found.append(self._described(row))
                except ImageError as error:
                    reasons.append(str(error))
            if not found:
                more = f" ... and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
                raise ImageError(f"no cutout can be used: {'; '.join(reasons[:_NAMED])}{more}")
            kind, size, unit = (Counter(part).most_common(1)[0][0] for part in zip(*found, strict=True))
            self._most = (kind, size, unit)
        return self._most
