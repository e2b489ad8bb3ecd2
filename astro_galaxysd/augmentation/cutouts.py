"""The images of a table on their way through an augmentation: found and checked first, then new ones beside them.

New rows get images of the kind, size and codec that the real ones have. A table without images gets an object column,
so that 200 000 galaxies with votes only don't cost 200 000 blank pictures.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from astro_galaxysd.augmentation.result import append_rows
from astro_galaxysd.conditions.columns import is_synthetic
from astro_galaxysd.errors import ConditionError, OutputError
from astro_galaxysd.images.codec import ImageFormat, check_images, encode_images
from astro_galaxysd.images.planes import planes_of
from astro_galaxysd.images.provenance import RUN_RECORD, SYNTHETIC
from astro_galaxysd.images.sources import image_items, object_array, row_name
from astro_galaxysd.survey.cells import IMAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.table import Table

    from astro_galaxysd.survey.sizes import Frame

__all__ = ["IMAGE", "Cells", "Cutouts", "NewRowImages", "append_drawn", "find_cutouts", "rehearse_append"]


#: Cells of the new rows, by column: those of image columns, and those of columns the table may lack.
Cells = tuple[dict[str, Any], dict[str, Any]]


class NewRowImages(Protocol):
    """Where the real images of a table are, and how new rows get theirs."""

    @property
    def table(self) -> Table:
        """Real rows, with their images if there are any."""

    @property
    def joined(self) -> tuple[str, ...]:
        """Columns of `table` that the caller's table did not have."""

    def check(self, plan: Table) -> None:
        """Refuse what could not be written for the rows of `plan`."""

    def blank(self, plan: Table) -> Cells:
        """Cells with blank images, without a file being written."""

    def looked_at(self, *, seed: int, progress: bool) -> NewRowImages:
        """The same after all real images were looked at."""

    def measured(self, *, seeing: float, seed: int, anyway: bool, frame: Frame | None = None) -> NewRowImages:
        """The same after the real images were measured as far as new ones depend on them."""

    def cells(self, plan: Table, drawn: np.ndarray, provenance: Mapping[str, Any], record: Mapping[str, Any]) -> Cells:
        """What the rows of `plan` get for what was drawn, (n, H, W, 3); after an interrupt, fewer of them."""

    def record(self) -> dict[str, Any]:
        """What the run record says of them."""


@dataclass(frozen=True)
class Cutouts:
    """A table and how it keeps its display images.

    Parameters
    ----------
    table : Table
        With the images in a column, if there are any.
    column : str
        Name of the image column.
    format : ImageFormat or None
        How new rows' images are kept; None where the table has none.
    joined : tuple of str
        The column, where the images were given beside the table.
    """

    table: Table
    column: str = IMAGE
    format: ImageFormat | None = None
    joined: tuple[str, ...] = ()

    def check(self, plan: Table) -> None:
        """Nothing: such images stand in the table itself."""

    def blank(self, plan: Table) -> Cells:
        """Cells with black images."""
        size = self.format.size if self.format else (8, 8)
        return self.cells(plan, np.zeros((len(plan), *size, 3), np.uint8), {}, {})

    def looked_at(self, *, seed: int, progress: bool) -> Cutouts:
        """Unchanged: all images were looked at when they were found."""
        return self

    def measured(self, *, seeing: float, seed: int, anyway: bool, frame: Frame | None = None) -> Cutouts:
        """Unchanged: nothing of them is asked of new ones but kind, size and codec."""
        return self

    def cells(self, plan: Table, drawn: np.ndarray, provenance: Mapping[str, Any], record: Mapping[str, Any]) -> Cells:
        """Images in the kind, size and codec of the real ones; arrays in a column of objects where there are none."""
        if self.format is None:
            return {}, {self.column: object_array(list(drawn))}
        return {self.column: encode_images(drawn, self.format)}, {}

    def record(self) -> dict[str, Any]:
        """Nothing: such images need no description."""
        return {}


def find_cutouts(table: Table, images: Any = None) -> Cutouts:
    """Find the images of a table's rows and check every one of them.

    Parameters
    ----------
    table : Table
        Not changed.
    images : str, sequence or None
        Image column (by default ``"image"`` where it exists), or the images themselves, see
        `astro_galaxysd.images.codec`.

    Raises
    ------
    ConditionError
        If images were given and the table has a column ``image`` too.
    ImageError, UnknownNameError
        As `check_images`.
    """
    if images is None and IMAGE not in table.colnames:
        return Cutouts(table)
    if images is None or isinstance(images, str):
        column = images or IMAGE
        return Cutouts(table, column, _checked_column(table, column))
    if IMAGE in table.colnames:
        raise ConditionError("images were given twice: images= and the table's column 'image'; drop one of them")
    found = check_images(images, len(table))
    with_images = table.copy(copy_data=False)
    if found.kind == "hdu":
        # A Table can't keep HDUs: their pixels stand in it, the right way up.
        items = image_items(images, IMAGE)
        with_images[IMAGE] = np.stack([planes_of(item, row_name(row)) for row, item in enumerate(items)])
        found = dataclasses.replace(found, kind="array", container="stack", dtype=with_images[IMAGE].dtype.str)
    else:
        with_images[IMAGE] = images if found.container == "stack" else object_array(images)
    return Cutouts(with_images, IMAGE, found, joined=(IMAGE,))


def _checked_column(table: Table, column: str) -> ImageFormat:
    """All rows must have an image; only the synthetic ones where those were added to a table without images."""
    synthetic = is_synthetic(table)
    if synthetic.any() and not synthetic.all() and column in table.colnames:
        items = image_items(table, column)
        if all(items[row] is None for row in np.flatnonzero(~synthetic)):
            return check_images([items[row] for row in np.flatnonzero(synthetic)], int(synthetic.sum()))
    return check_images(table, len(table), column=column)


def append_drawn(
    cutouts: NewRowImages,
    plan: Table,
    drawn: np.ndarray,
    *,
    id_column: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
) -> Table:
    """The table with the drawn rows behind its own.

    Parameters
    ----------
    cutouts : NewRowImages
        Where the real images are, and how new ones are kept.
    plan : Table, length n
        The rows that were drawn.
    drawn : ndarray, shape (n, H, W, 3), uint8
    id_column, provenance, record
        As `append_rows`, which also says what is raised.

    Returns
    -------
    Table
        After an interrupt with the finished rows alone; the record says how many.

    Raises
    ------
    OutputError
        If a file can't be written; the error's attribute ``result`` is a table of the rows as they were drawn.
    """
    told = dict(record or {})
    try:
        images, extra = cutouts.cells(plan, drawn, provenance or {}, told)
    except OutputError as error:
        error.result = _drawn_alone(plan, drawn, provenance or {}, told)
        error.add_note("what was drawn is this error's attribute `result`, a table with the images as they were drawn")
        raise
    finished = plan[: len(next(iter((images or extra).values())))]
    if "parameters" in told:
        told["parameters"] = {**told["parameters"], "finished": len(finished)}
    result = append_rows(
        cutouts.table, finished, images, extra=extra, id_column=id_column, provenance=provenance, record=told
    )
    for column in cutouts.joined:
        # Not a column of the table that was given: drop_synthetic() takes it away again.
        result.meta[RUN_RECORD]["layout"]["columns"].pop(column, None)
    return result


def _drawn_alone(plan: Table, drawn: np.ndarray, provenance: Mapping[str, Any], record: Mapping[str, Any]) -> Table:
    """The planned rows with their images as they were drawn, where these could not be kept as the real ones are."""
    rows = plan.copy()
    rows[IMAGE] = drawn
    rows[SYNTHETIC] = np.ones(len(rows), dtype=bool)
    for name, value in provenance.items():
        rows[name] = [value] * len(rows)
    rows.meta[RUN_RECORD] = dict(record)
    return rows


def rehearse_append(cutouts: NewRowImages, plan: Table, *, id_column: str | None = None) -> Table:
    """One real row with a blank row of every target behind it; raises as `append_drawn` would after the drawing."""
    cutouts.check(plan)
    few = plan[np.unique(plan["target"], return_index=True)[1]]
    images, extra = cutouts.blank(few)
    return append_rows(cutouts.table[:1], few, images, extra=extra, id_column=id_column)
