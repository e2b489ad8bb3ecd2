"""Cutouts of new rows, kept the way a survey keeps its own: the same kind, size, dtype, codec and layout of files.

A header of a new file claims no more than is known: no position, no calibration, and a unit only where the values come
back from a declared stretch. What the survey has beside the drawn bands (other planes, weight maps) is left empty.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from astro_galaxysd.errors import ImageError, OutputError, OutputExistsError
from astro_galaxysd.images.sources import object_array
from astro_galaxysd.survey.layout import check_undrawn, find_layouts
from astro_galaxysd.survey.newcells import as_array, as_dtype, as_picture, fits_bytes, hdu_columns, new_header
from astro_galaxysd.survey.newfolder import NewFolder, check_name
from astro_galaxysd.survey.values import chosen_planes

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
    folder : NewFolder or None

    Raises
    ------
    ImageError
        If no real row can be read.
    """

    def __init__(
        self, rows: SurveyRows, *, folder: str | os.PathLike[str] | None = None, overwrite: bool = False
    ) -> None:
        self.rows, self.survey = rows, rows.survey
        self.folder = None if folder is None else NewFolder(Path(folder), overwrite=overwrite)
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
            If files need a folder and none was given, it can't be written, or an id is too long for a file's name.
        OutputExistsError
            If files exist, and may not be overwritten or belong to real rows.
        """
        check_undrawn(self.survey, self.layouts)
        if not self.makes_files:
            return
        self._needed_folder().check()
        files = [(row_id, path) for row_id in ids for path in self._paths(row_id)]
        for row_id, path in files:
            check_name(path.name, row_id)
        self._check_files([path for _, path in files if path.exists()])

    def encode(
        self,
        ids: Sequence[str],
        planes: Iterable[np.ndarray],
        *,
        cards: Sequence[Mapping[str, Any]] | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> dict[str, list[Any]]:
        """Make the cells of new rows, one row at a time.

        Files get their names when the last is written: a call that does not finish leaves none, and what they would
        have replaced stays. After an interrupt (KeyboardInterrupt) the rows that were finished are kept, and only
        those are returned; it is raised if there are none.

        Parameters
        ----------
        ids : sequence of str, length n
            Files are named by them.
        planes : iterable of n ndarrays, each shape (B, H, W)
            Of the survey's size, as `SurveyRows.planes` gives them.
        cards : sequence of mappings, length n, optional
            Provenance of each row, column to value, as `astro_galaxysd.images.provenance.header_cards` takes it.
        record : mapping, optional
            The run record, for headers.

        Returns
        -------
        dict of str to list, length n
            Cells by column: paths relative to the survey's folder where the real ones are relative. Shorter after an
            interrupt: the first rows.

        Raises
        ------
        ImageError
            If planes are not of the survey's bands and size.
        OutputError, OutputExistsError
            If a file can't be written.
        """
        told = [{}] * len(ids) if cards is None else cards
        finished: list[list[Any]] = []
        with self._staged() as stage:
            scale, unit = self._real_header() if stage is not None else (None, None)
            try:
                for row_id, row, values in zip(ids, told, self._checked(planes, ids), strict=True):
                    stored = [self._stored(values, column) for column in range(len(self.layouts))]
                    if stage is not None:
                        size = self.layouts[0].shape[1:]
                        self._write(
                            stage, row_id, stored, new_header(self.survey, row_id, scale, size, row, record, unit)
                        )
                    finished.append([self._cell(row_id, column, kept) for column, kept in enumerate(stored)])
            except KeyboardInterrupt:
                if not finished:
                    raise
            if stage is not None and self.folder is not None:
                self.folder.place(stage, self._names(ids[: len(finished)]))
        return {name: [cells[column] for cells in finished] for column, name in enumerate(self.columns)}

    def remove(self, ids: Iterable[str]) -> None:
        """Remove the files that `encode` wrote for new rows, where their table can't be written; no others.

        Files that they replaced don't come back.
        """
        if self.folder is not None:
            self.folder.remove(self._names(ids))

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
            (`astro_galaxysd.survey.hdus.to_hdus` writes it back); other cutouts as they were given.
        """
        columns: dict[str, Any] = {}
        for column, layout in zip(self.rows.columns, self.layouts, strict=True):
            if column.beside and layout.kind == "hdu":
                columns |= hdu_columns(column.name, column.items)
            elif column.beside:
                plain = isinstance(column.items, np.ndarray) and column.items.dtype.kind not in "OUS"
                # a path object can't be written with the table, its text can
                items = [os.fspath(item) if isinstance(item, os.PathLike) else item for item in column.items]
                columns[column.name] = column.items if plain else object_array(items)
        return columns

    def _check_files(self, existing: Sequence[Path]) -> None:
        if not existing:
            return
        if self.folder is None or not self.folder.overwrite:
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

    def _needed_folder(self) -> NewFolder:
        if self.folder is None:
            raise OutputError(
                "the table's cutouts are files, and new ones need a folder: name it with cutouts=, or write the table "
                "with out="
            )
        return self.folder

    def _staged(self) -> AbstractContextManager[Path | None]:
        """Where files go until they are complete; None where there are none."""
        return self._needed_folder().staged() if self.makes_files else nullcontext()

    def _real_header(self) -> tuple[float | None, str | None]:
        """Pixel scale and unit that the first readable real rows have."""
        scale, unit = None, None
        for row in self.rows.looked_at()[:_LOOK_AT]:
            with suppress(ImageError):
                header = self.rows.header(row)
                unit = unit or (str(header.get("BUNIT", "")).strip() or None if header is not None else None)
                scale = self.rows.pixel_scale(row) if scale is None else scale
        return scale, unit

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
            self.folder.path / f"{quote(row_id, safe='+')}{ends[self._files.index(file)]}{layout.suffix}"
            for file, layout in zip(self._files, self.layouts, strict=True)
        ]

    def _names(self, ids: Iterable[str]) -> list[str]:
        """Names of the files of new rows, each once."""
        return list(dict.fromkeys(path.name for row_id in ids for path in self._paths(row_id)))

    def _write(self, stage: Path, row_id: str, stored: Sequence[np.ndarray], header: Sequence[Any]) -> None:
        """Write the files of a row."""
        paths = self._paths(row_id)
        for file, path in dict(zip(self._files, paths, strict=True)).items():
            columns = [column for column, number in enumerate(self._files) if number == file]
            layout = self.layouts[columns[0]]
            if layout.kind == "fits":
                data = fits_bytes([(self.layouts[column], stored[column]) for column in columns], header)
            else:
                data = as_picture(stored[columns[0]], layout)
            self._needed_folder().write(stage, path.name, data)

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
        # Both resolved: where the survey's folder is a link, ".." leads up from what it points to.
        start = Path(self.survey.folder or ".").resolve()
        path = path.absolute() if layout.absolute else Path(os.path.relpath(path.resolve(), start))
        text = str(path) + (f"[{layout.extension}]" if layout.extension else "")
        return {"path": Path(text), "bytes": text.encode()}.get(layout.cell, text)
