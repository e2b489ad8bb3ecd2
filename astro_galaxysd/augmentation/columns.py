"""One column longer: the real rows bit for bit, then new values or an honest 'missing'.

Missing is what the column can say already: masked in a masked column, NaN in floats, quantities and positions, NaT in
dates, None in objects. Integers, booleans and texts have no such value, so that their column becomes a masked one of
the same dtype. Integers that get fractions (votes of 0 and 1) become float64. Done by
hand because `astropy.table.vstack` cuts texts, drops indices and merges what it should keep.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Column, MaskedColumn
from astropy.time import Time, TimeDelta
from astropy.units import Quantity
from astropy.utils.masked import Masked

from astro_galaxysd.errors import ConditionError, ImageError

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord

__all__ = ["NewValues", "extend_column", "refuse_unknown_kind"]

_MISSING = {"f": np.nan, "c": np.nan, "M": np.datetime64("NaT"), "m": np.timedelta64("NaT"), "O": None}

#: Arithmetic may leave whole numbers this far from whole.
_WHOLE = 1e-9


@dataclass(frozen=True)
class NewValues:
    """Values of a column's new rows.

    Parameters
    ----------
    values : ndarray or sequence, length n
        NaN is missing in columns that can't hold it.
    missing : ndarray, shape (n,), bool, optional
        Rows without a value; by default none.
    """

    values: Sequence[Any] | np.ndarray
    missing: np.ndarray | None = None


def refuse_unknown_kind(column: Any, name: str) -> None:
    """Raise where a column has no value that says 'missing'.

    Raises
    ------
    ConditionError
        For mixin columns other than Quantity, Time, SkyCoord and masked ones.
    """
    if not (isinstance(column, (Column, Quantity, Time, TimeDelta, Masked)) or _is_position(column)):
        raise ConditionError(
            f"column {name!r} is a {type(column).__name__}, which has no value for 'missing' that new rows could get; "
            "remove it or convert it to a plain column"
        )


def extend_column(column: Any, number: int, new: NewValues | None = None, *, indexed: bool = False) -> Any:
    """A column with `number` more rows.

    Parameters
    ----------
    column : Column, MaskedColumn, Quantity, Time or SkyCoord, length N >= 1
        Not changed.
    number : int
        New rows.
    new : NewValues, optional
        Their values; missing by default.
    indexed : bool
        The column belongs to a table index, which sorts by what lies under the mask: put that last.

    Returns
    -------
    same type, or MaskedColumn, length N + number
        Name, unit, format, description and meta are kept; texts may grow wider, and integers become float64 (without
        a format, which may be one for integers only) where new values are not whole.

    Raises
    ------
    ConditionError
        If the values don't fit the column.
    """
    if isinstance(column, Column):
        return _extend_plain(column, number, new, indexed)
    rows = np.concatenate([np.arange(len(column)), np.zeros(number, dtype=np.int64)])
    longer = _blank_tail(column[rows], len(column), new)
    longer.info.meta = copy.deepcopy(column.info.meta)
    # a table that copies indices on slicing would bring a stale one; the caller adds them anew
    longer.info.indices = []
    return longer


def _blank_tail(longer: Any, start: int, new: NewValues | None) -> Any:
    """Make the rows from `start` on missing, or give them their values."""
    tail = slice(start, None)
    if isinstance(longer, (Masked, Time, TimeDelta)):
        longer[tail] = np.ma.masked
    elif _is_position(longer):
        longer[tail] = _nowhere(longer[tail])
    elif longer.dtype.kind in "fc":
        longer[tail] = np.nan
    else:
        longer = Masked(longer)
        longer[tail] = np.ma.masked
    if new is not None and isinstance(longer, Quantity):
        values = np.asarray(new.values, dtype=np.float64)
        known = np.flatnonzero(np.isfinite(values))
        longer[start + known] = Quantity(values[known], longer.unit)
    return longer


def _is_position(column: Any) -> bool:
    # imported for those few columns alone that are nothing else
    from astropy.coordinates import SkyCoord

    return isinstance(column, SkyCoord)


def _nowhere(coordinates: SkyCoord) -> SkyCoord:
    """The same frame with NaN for every position and motion (masking would leave the motions behind)."""

    def blank(part: Any, **extra: Any) -> Any:
        return type(part)(*(getattr(part, name) * np.nan for name in part.components), **extra)

    motions = {key: blank(motion) for key, motion in coordinates.data.differentials.items()}
    data = blank(coordinates.data, **({"differentials": motions} if motions else {}))
    return type(coordinates)(coordinates.frame.realize_frame(data))


def _extend_plain(column: Column, number: int, new: NewValues | None, indexed: bool) -> Column:
    old, name = np.ma.getdata(column.data), column.info.name
    if new is None:
        values, missing = np.zeros((number, *old.shape[1:]), old.dtype), np.ones(number, dtype=bool)
    else:
        values, missing = _fit(new, old, name)
    dtype = max(old.dtype, values.dtype, key=lambda d: d.itemsize) if old.dtype.kind in "US" else values.dtype
    masked = isinstance(column, MaskedColumn)
    kind = dtype.kind
    if kind in _MISSING:
        values[missing] = _MISSING[kind]
    elif missing.any() and indexed:
        values[missing] = _last(dtype)
    data = np.empty((len(old) + number, *old.shape[1:]), dtype)
    data[: len(old)], data[len(old) :] = old, values
    attributes = {key: getattr(column, key) for key in ("unit", "format", "description")}
    attributes.update(name=name, meta=copy.deepcopy(column.meta), copy=False)
    if kind != old.dtype.kind:
        attributes["format"] = None
    if not masked and (kind in _MISSING or not missing.any()):
        return type(column)(data, **attributes)
    hidden = np.ma.make_mask_none(data.shape, dtype)
    if masked:
        hidden[: len(old)] = np.ma.getmaskarray(column.data)
    hidden[len(old) :][missing] = np.ones((), hidden.dtype)
    # numpy fills masked booleans with True, which no new row has earned
    fill = column.fill_value if masked else False if kind == "b" else None
    return (type(column) if masked else MaskedColumn)(data, mask=hidden, fill_value=fill, **attributes)


def _last(dtype: np.dtype[Any]) -> Any:
    """A value that sorts behind all others."""
    if dtype.kind in "iu":
        return np.iinfo(dtype).max
    return {"U": chr(0x10FFFF), "S": b"\xff"}.get(dtype.kind, np.zeros((), dtype)[()])


def _fit(new: NewValues, old: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values in the column's dtype (texts as wide as they are, fractions as float64), and which are missing."""
    number, kind = len(new.values), old.dtype.kind
    missing = np.zeros(number, dtype=bool) if new.missing is None else new.missing.copy()
    if kind == "O":
        objects = np.empty((number, *old.shape[1:]), dtype=object)
        for row in range(number):
            objects[row] = new.values[row]
        return objects, missing
    if kind in "US":
        words = ["" if gone else str(value) for value, gone in zip(new.values, missing, strict=True)]
        text = np.array(words, dtype=str) if kind == "U" else np.array([word.encode() for word in words], dtype=bytes)
        return text.astype(text.dtype.newbyteorder(old.dtype.byteorder)), missing
    values = np.array([0 if gone else value for value, gone in zip(new.values, missing, strict=True)])
    if values.shape != (number, *old.shape[1:]):
        error = ImageError if old.ndim > 1 else ConditionError
        raise error(f"column {name!r} holds {old.shape[1:]} a row and got {values.shape[1:]}; give new rows that shape")
    if kind in "iub" and values.dtype.kind == "f":
        unknown = np.isnan(values).reshape(number, -1).any(axis=1)
        missing |= unknown
        values[unknown] = 0
    if kind in "iu" and values.dtype.kind == "f":
        whole = np.rint(values)
        if np.any(np.abs(values - whole) > _WHOLE):
            return values.astype(np.dtype(np.float64).newbyteorder(old.dtype.byteorder)), missing
        values = whole
    try:
        return values.astype(old.dtype), missing
    except (TypeError, ValueError) as error:
        raise ConditionError(f"column {name!r} of dtype {old.dtype} can't hold {values.flat[0]!r} ({error})") from error
