"""The augmented table: real rows, a plan and its images in, one table out.

The real rows keep order, dtypes, units, masks, meta and indices. New rows get what is known of them - votes in every
dialect of the table, the label or flag of their class, a unique id, their image, their provenance - and 'missing'
everywhere else: a synthetic galaxy has no position, no redshift and no number of voters.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.columns import SYNTHETIC_ID, find_id_column
from astro_galaxysd.conditions.table import VOTES, find_dialects
from astro_galaxysd.errors import ConditionError, ImageError, UnknownNameError
from astro_galaxysd.images.provenance import PROVENANCE_COLUMNS, RUN_RECORD, SEED, SYNTHETIC, table_layout
from astro_galaxysd.images.sources import object_array

if TYPE_CHECKING:
    from astropy.table import Column, Table

    from astro_galaxysd.augmentation.columns import NewValues
    from astro_galaxysd.plugins.protocols import VoteDialect

__all__ = ["append_rows", "check_columns"]

_KINDS = {SYNTHETIC: ("b", "bool"), SEED: ("iu", "64-bit integers")}
_TEXT = ("USO", "text")


def check_columns(table: Table) -> None:
    """Refuse a table to which rows can't be added, before any work is done.

    Raises
    ------
    ConditionError
        If a column has the name of a provenance column and holds something else, or has no value for 'missing'.
    """
    from astro_galaxysd.augmentation.columns import refuse_unknown_kind

    for name in table.colnames:
        refuse_unknown_kind(table[name], name)
    for name in (*PROVENANCE_COLUMNS, SYNTHETIC_ID):
        if name in table.colnames:
            kinds, words = _KINDS.get(name, _TEXT)
            dtype = getattr(table[name], "dtype", np.dtype("V"))
            if dtype.kind not in kinds or (name == SEED and dtype.itemsize < 8):
                raise ConditionError(
                    f"column {name!r} holds {dtype}, but synthetic rows keep their provenance under that name as "
                    f"{words}; rename the column"
                )


def append_rows(
    table: Table,
    plan: Table,
    images: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
    *,
    extra: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
    dialect: VoteDialect | None = None,
    id_column: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
) -> Table:
    """The table with the planned rows behind its own.

    An integer column whose new values are not all whole, such as votes of 0 and 1, is float64 in the result (real
    values stay equal), and `drop_synthetic` gives it its dtype back.

    Parameters
    ----------
    table : Table or QTable
        Real galaxies; not changed.
    plan : Table
        From `plan_augmentation`, or the finished part of it.
    images : mapping of str to sequence or ndarray, length n, optional
        What the new rows get in the image columns, by column.
    extra : mapping of str to sequence or ndarray, length n, optional
        Further facts of the new rows. A column the table lacks is added, masked on real rows (None among objects).
    dialect : VoteDialect, optional
        A dialect to write beside all that the table is found to have.
    id_column : str, optional
        Where ids are, see `find_id_column`.
    provenance : mapping, optional
        ``generator``, ``weights``, ``weights_revision``: one value for the run, or one a row. Masked where left out.
    record : mapping, optional
        The run record for ``meta``; the layout of `table`, from which `drop_synthetic` restores it, is added.

    Returns
    -------
    Table
        Of the class of `table`, with `PROVENANCE_COLUMNS` (masked on real rows, ``synthetic`` False there), and
        ``galaxysd_id`` where no id column can hold the new ids.

    Raises
    ------
    ConditionError
        If a column can't take the new rows.
    ImageError
        If number or shape of the images don't fit.
    UnknownNameError
        If an image column, `id_column` or a key of `provenance` is not known.
    """
    from astro_galaxysd.augmentation.columns import NewValues, extend_column

    check_columns(table)
    provenance_values = _provenance(plan, provenance or {})
    new: dict[str, NewValues] = {
        **_votes(table, plan, dialect),
        **_class_columns(plan),
        **_images(table, plan, images or {}),
        **{name: NewValues(values) for name, values in (extra or {}).items()},
        **provenance_values,
        **_ids(table, plan, id_column),
    }
    indexed = {column.info.name for index in table.indices for column in index.columns}
    columns = [extend_column(table[n], len(plan), new.get(n), indexed=n in indexed) for n in table.colnames]
    ours = (*PROVENANCE_COLUMNS, SYNTHETIC_ID, *(extra or {}))
    added = [name for name in ours if name in new and name not in table.colnames]
    columns += [_added_column(name, len(table), new[name]) for name in added]
    result = type(table)(columns, names=[*table.colnames, *added], masked=table.masked, copy=False)
    result.meta.update(copy.deepcopy(dict(table.meta)))
    result.meta[RUN_RECORD] = _record(table, record or {})
    _restore_indices(table, result)
    return result


def _votes(table: Table, plan: Table, dialect: VoteDialect | None) -> dict[str, NewValues]:
    from astro_galaxysd.augmentation.columns import NewValues

    if VOTES not in plan.colnames:
        return {}
    dialects = {found.name: found for found in [*find_dialects(table), *([dialect] if dialect else [])]}
    fractions = np.asarray(plan[VOTES], dtype=np.float64)
    written = (each.write(fractions, table.colnames) for each in dialects.values())
    return {name: NewValues(values) for columns in written for name, values in columns.items()}


def _class_columns(plan: Table) -> dict[str, NewValues]:
    """Labels and flags of the classes that the new rows were made for."""
    from astro_galaxysd.augmentation.columns import NewValues

    targets = plan.meta.get("galaxysd_plan", {}).get("targets", {})
    records = [targets.get(str(name), {}) for name in plan["target"]]
    columns = dict.fromkeys(record["column"] for record in records if record.get("column"))
    return {
        column: NewValues(
            [record.get("value") for record in records],
            np.array([record.get("column") != column for record in records], dtype=bool),
        )
        for column in columns
    }


def _images(table: Table, plan: Table, images: Mapping[str, Sequence[Any] | np.ndarray]) -> dict[str, NewValues]:
    from astro_galaxysd.augmentation.columns import NewValues

    for column, values in images.items():
        if column not in table.colnames:
            raise UnknownNameError("image column", column, table.colnames)
        if len(values) != len(plan):
            raise ImageError(
                f"column {column!r}: {len(values)} images for {len(plan)} planned rows; give one image a row, or cut "
                "the plan"
            )
    return {column: NewValues(values) for column, values in images.items()}


def _ids(table: Table, plan: Table, id_column: str | None) -> dict[str, NewValues]:
    """Ids where they fit: in the id column if it holds text, else in a column of our own."""
    from astro_galaxysd.augmentation.columns import NewValues

    column, ids = find_id_column(table, id_column), NewValues([str(identifier) for identifier in plan["row_id"]])
    if column is None:
        return {SYNTHETIC_ID: ids}
    kind = getattr(table[column], "dtype", np.dtype("V")).kind
    numbers = kind == "O" and any(isinstance(value, (int, np.integer)) for value in table[column])
    return {SYNTHETIC_ID: ids} if kind not in "USO" or numbers else {column: ids}


def _provenance(plan: Table, given: Mapping[str, Any]) -> dict[str, NewValues]:
    from astro_galaxysd.augmentation.columns import NewValues

    unknown = set(given) - set(PROVENANCE_COLUMNS)
    if unknown:
        raise UnknownNameError("provenance column", min(unknown), PROVENANCE_COLUMNS)
    number = len(plan)
    columns = {SYNTHETIC: NewValues(np.ones(number, dtype=bool))}
    for name in PROVENANCE_COLUMNS[1:]:
        if name in given:
            value = given[name]
            rows = [value] * number if isinstance(value, str) or np.ndim(value) == 0 else list(value)
            if len(rows) != number:
                raise ConditionError(f"provenance {name!r}: {len(rows)} values for {number} rows; give 1 or {number}")
            columns[name] = NewValues(rows)
        elif name in plan.colnames:
            columns[name] = NewValues(np.asarray(plan[name]))
        else:
            columns[name] = NewValues([""] * number, np.ones(number, dtype=bool))
    return columns


def _added_column(name: str, real: int, new: NewValues) -> Column:
    """A column that the table did not have: nothing is known of the real rows but that they are real."""
    from astropy.table import Column, MaskedColumn

    if name == SYNTHETIC:
        return Column(np.concatenate([np.zeros(real, dtype=bool), np.asarray(new.values)]), name=name)
    values = np.asarray(new.values)
    if values.dtype.kind == "O":
        return Column(object_array([*[None] * real, *values]), name=name)
    blank = np.zeros(real, dtype=values.dtype)
    gone = np.zeros(len(values), dtype=bool) if new.missing is None else new.missing
    mask = np.concatenate([np.ones(real, dtype=bool), gone])
    return MaskedColumn(np.concatenate([blank, values]), mask=mask, name=name)


def _record(table: Table, record: Mapping[str, Any]) -> dict[str, Any]:
    """The run record; after several augmentations the first layout counts and the earlier records are kept."""
    earlier = table.meta.get(RUN_RECORD)
    if not isinstance(earlier, Mapping):
        return {**copy.deepcopy(dict(record)), "layout": table_layout(table)}
    kept = copy.deepcopy(dict(earlier))
    layout = kept.pop("layout", None) or table_layout(table)
    return {**copy.deepcopy(dict(record)), "layout": layout, "previous": kept}


def _restore_indices(table: Table, result: Table) -> None:
    for index in table.indices:
        names = [column.info.name for column in index.columns]
        result.add_index(names, engine=type(index.data), unique=index.data.unique)
    result.primary_key = table.primary_key
