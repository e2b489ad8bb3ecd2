"""Cutouts of new rows, kept the way a survey keeps its own: the same kind, size, dtype, codec and layout of files.

A header of a new file claims no more than is known: no position, no calibration, and a unit only where the values come
back from a declared stretch. What the survey has beside the drawn bands (other planes, weight maps) is left empty.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from astro_galaxysd.errors import ImageError, OutputError, OutputExistsError
from astro_galaxysd.images.files import atomic_path, rehearse_folder, rehearse_path
from astro_galaxysd.images.sources import object_array
from astro_galaxysd.survey.layout import find_layouts
from astro_galaxysd.survey.newcells import as_array, as_dtype, as_picture, hdu_columns
from astro_galaxysd.survey.newfiles import fits_bytes, new_header
from astro_galaxysd.survey.values import band_names, chosen_planes

if TYPE_CHECKING:
    from astro_galaxysd.survey.rows import SurveyRows

__all__ = ["NewCutouts"]

#: Rows whose headers may say the pixel scale of new files.
_LOOK_AT = 8


class NewCutouts:
    """Makes the cells of new rows.

    Parameters
    ----------
    rows : SurveyRows
        The real rows.
    folder : path, optional
        Where files of new rows go; needed where the real cutouts are files.
    overwrite : bool
        Whether files of that name may be replaced; those of the real rows never are.

    Attributes
    ----------
    columns : tuple of str
        Columns that `encode` fills.
    layouts : tuple of Layout
        How each of them keeps its cutouts.

    Raises
    ------
    ImageError
        If no real row can be read.
    """

    def __init__(
        self, rows: SurveyRows, *, folder: str | os.PathLike[str] | None = None, overwrite: bool = False
    ) -> None:
        self.rows, self.survey = rows, rows.survey
        self.folder, self.overwrite = None if folder is None else Path(folder), overwrite
        self.layouts, self._files = find_layouts(rows)
        self.columns: tuple[str, ...] = tuple(column.name for column in rows.columns)

    @property
    def makes_files(self) -> bool:
        """Whether new cutouts are files."""
        return any(layout.kind in ("fits", "picture") for layout in self.layouts)

    def check(self, ids: Iterable[str] = ()) -> None:
        """Refuse what can't be written before anything is drawn.

        Parameters
        ----------
        ids : iterable of str
            Ids of the new rows, for the names of their files.

        Raises
        ------
        ImageError
            If planes that are not drawn would stay empty where whole numbers can't say so.
        OutputError
            If files need a folder and none was given, or it can't be written.
        OutputExistsError
            If files exist, and may not be overwritten or belong to real rows.
        """
        self._check_dtypes()
        if not self.makes_files:
            return
        if self.folder is None:
            raise OutputError(
                "the table's cutouts are files, and new ones need a folder: name it with cutouts=, or write the table "
                "with out="
            )
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputExistsError(f"{str(self.folder)!r} is a file; name a folder for the new cutouts")
        if self.folder.is_dir():
            rehearse_path(self.folder / "rehearsal", overwrite=True)
        else:
            rehearse_folder(self.folder)
        self._check_files([path for row_id in ids for path in self._paths(row_id) if path.exists()])

    def encode(
        self,
        ids: Sequence[str],
        planes: Iterable[np.ndarray],
        *,
        pixel_scale: float | Sequence[float | None] | None = None,
        cards: Sequence[Mapping[str, Any]] | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> dict[str, list[Any]]:
        """Make the cells of new rows, one row at a time; files are written as they come.

        Parameters
        ----------
        ids : sequence of str, length n
            Files are named by them.
        planes : iterable of n ndarrays, each shape (B, H, W)
            Of the survey's size, as `SurveyRows.planes` gives them.
        pixel_scale : float or sequence, optional
            Arcsec, for headers; that of the survey, or of the first real row, by default.
        cards : sequence of mappings, length n, optional
            Provenance of each row, column to value, as `astro_galaxysd.images.provenance.header_cards` takes it.
        record : mapping, optional
            The run record, for headers.

        Returns
        -------
        dict of str to list, length n
            Cells by column: paths relative to the survey's folder where the real ones are relative.

        Raises
        ------
        ImageError
            If planes are not of the survey's bands and size.
        OutputError, OutputExistsError
            If a file can't be written.
        """
        cells: dict[str, list[Any]] = {name: [] for name in self.columns}
        if self.makes_files and self.folder is not None:
            self._make_folder(self.folder)
        scales = self._scales(pixel_scale, len(ids))
        rows = [{}] * len(ids) if cards is None else cards
        for row_id, scale, row, values in zip(ids, scales, rows, self._checked(planes, ids), strict=True):
            header = new_header(self.survey, row_id, scale, self.layouts[0].shape[1:], row, record)
            stored = [self._stored(values, column) for column in range(len(self.layouts))]
            if self.makes_files:
                self._write(row_id, stored, header)
            for column, name in enumerate(self.columns):
                cells[name].append(self._cell(row_id, column, stored[column]))
        return cells

    def blank(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        """Cells of empty cutouts; no file is written. To see before the drawing that a table can take them."""
        height, width = self.layouts[0].shape[1:]
        stored = [self._stored(np.zeros((self.survey.n_bands, height, width)), n) for n in range(len(self.layouts))]
        return {
            name: [self._cell(row_id, column, stored[column]) for row_id in ids]
            for column, name in enumerate(self.columns)
        }

    def real_columns(self) -> dict[str, Any]:
        """Columns for the real rows where the cutouts were given beside the table; empty where they are in it.

        Returns
        -------
        dict of str to ndarray or MaskedColumn, length N
            Arrays (H, W, bands) of HDUs, and ``<column>_wcs``, the text of their WCS cards, where any has a WCS
            (`astro_galaxysd.images.hdu.to_hdus` writes it back); other cutouts as they were given.
        """
        columns: dict[str, Any] = {}
        for column, layout in zip(self.rows.columns, self.layouts, strict=True):
            if column.beside and layout.kind == "hdu":
                columns |= hdu_columns(column.name, column.items, layout)
            elif column.beside:
                plain = isinstance(column.items, np.ndarray) and column.items.dtype.kind not in "OUS"
                columns[column.name] = column.items if plain else object_array(list(column.items))
        return columns

    def _check_dtypes(self) -> None:
        """Refuse whole numbers where planes stay empty."""
        bands = band_names(self.survey)
        undrawn = [name for name in self.survey.planes or () if name not in bands]
        for layout in self.layouts:
            scaled = layout.hdus and layout.hdus[layout.number].scaling[-1:] not in ((), (None,))
            if undrawn and np.dtype(layout.dtype).kind in "iu" and not scaled:
                raise ImageError(
                    f"planes {', '.join(undrawn)} of new rows are not drawn and stay empty, which "
                    f"{np.dtype(layout.dtype).name} pixels can't say; convert the cutouts to float32, or keep the "
                    f"bands {', '.join(bands)} alone"
                )

    def _check_files(self, existing: Sequence[Path]) -> None:
        if not existing:
            return
        if not self.overwrite:
            raise OutputExistsError(
                f"{str(existing[0])!r} exists already ({len(existing)} such file{'s' * (len(existing) > 1)}); pass "
                "overwrite=True or choose another folder with cutouts="
            )
        targets = {path.resolve() for path in existing}
        for row in range(len(self.rows)):
            for path in self.rows.paths(row):
                if path.resolve() in targets:
                    raise OutputExistsError(
                        f"{str(path)!r} is the cutout of {self.rows.name(row)} and is not overwritten; choose another "
                        "folder with cutouts="
                    )

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"can't make the folder {str(folder)!r}: {error.strerror}; choose another") from error

    def _scales(self, given: float | Sequence[float | None] | None, number: int) -> list[float | None]:
        """Pixel scale of each new row, None where nothing says it."""
        if given is None and self.makes_files:
            given = self._real_scale()
        if given is None or isinstance(given, int | float):
            return [None if given is None else float(given)] * number
        return list(given)

    def _real_scale(self) -> float | None:
        """Pixel scale of the first real row that has one."""
        for row in self.rows.looked_at()[:_LOOK_AT]:
            try:
                scale = self.rows.pixel_scale(row)
            except ImageError:
                continue
            if scale is not None:
                return scale
        return None

    def _checked(self, planes: Iterable[np.ndarray], ids: Sequence[str]) -> Iterator[np.ndarray]:
        """Planes as float64 of the right shape."""
        shape = (self.survey.n_bands, *self.layouts[0].shape[1:])
        number = 0
        for number, values in enumerate(planes, start=1):
            if number > len(ids) or np.shape(values) != shape:
                raise ImageError(
                    f"new row {number - 1}: planes of shape {np.shape(values)} for {len(ids)} rows; the survey's "
                    f"cutouts have {shape}"
                )
            yield np.asarray(values, dtype=np.float64)
        if number < len(ids):
            raise ImageError(f"{number} cutouts for {len(ids)} new rows; give one for each")

    def _stored(self, values: np.ndarray, column: int) -> np.ndarray:
        """Planes of one column in the dtype of the real ones, shape (planes, H, W)."""
        layout = self.layouts[column]
        if len(self.layouts) > 1:
            return as_dtype(values[column : column + 1], layout, display=self.survey.stretch is None)
        if self.survey.luminance and self.survey.planes is None:
            planes = np.repeat(values, layout.shape[0], axis=0)
        else:
            planes = np.full((layout.shape[0], *values.shape[1:]), np.nan)
            planes[chosen_planes(self.survey)] = values
        return as_dtype(planes, layout, display=self.survey.stretch is None)

    def _paths(self, row_id: str) -> list[Path]:
        """Files of a new row, one for each column; columns may share one."""
        if self.folder is None:
            return []
        bands = self.survey.bands if len(set(self._files)) > 1 else ()
        ends = [f"_{quote(bands[column], safe='')}" if bands else "" for column in range(len(self.layouts))]
        # The first column of a shared file names it.
        return [
            self.folder / f"{quote(row_id, safe='+')}{ends[self._files.index(file)]}{layout.suffix}"
            for file, layout in zip(self._files, self.layouts, strict=True)
        ]

    def _write(self, row_id: str, stored: Sequence[np.ndarray], header: Sequence[Any]) -> None:
        """Write the files of a row."""
        paths = self._paths(row_id)
        for file, path in dict(zip(self._files, paths, strict=True)).items():
            columns = [column for column, number in enumerate(self._files) if number == file]
            layout = self.layouts[columns[0]]
            if layout.kind == "fits":
                data = fits_bytes([(self.layouts[column], stored[column]) for column in columns], header)
            else:
                data = as_picture(stored[columns[0]], layout)
            with atomic_path(path, self.overwrite) as partial:
                partial.write_bytes(data)

    def _cell(self, row_id: str, column: int, stored: np.ndarray) -> Any:
        """What stands in the table."""
        layout = self.layouts[column]
        if layout.kind in ("array", "hdu"):
            return as_array(stored, layout)
        if layout.kind == "encoded":
            data = as_picture(stored, layout)
            return data if layout.cell == "bytes" else np.frombuffer(data, np.uint8)
        paths = self._paths(row_id)
        path = paths[column] if paths else Path(f"{quote(row_id, safe='+')}{layout.suffix}")
        path = path.absolute() if layout.absolute else Path(os.path.relpath(path, self.survey.folder or "."))
        text = str(path) + (f"[{layout.extension}]" if layout.extension else "")
        return {"path": Path(text), "bytes": text.encode()}.get(layout.cell, text)
