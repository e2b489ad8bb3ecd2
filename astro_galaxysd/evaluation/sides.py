"""Which rows of the two tables of an evaluation take part, what they ask for, and which are set side by side."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from astro_galaxysd.conditions.columns import SYNTHETIC, SYNTHETIC_ID, find_id_column, is_synthetic, row_names
from astro_galaxysd.conditions.composition import ARTIFACT
from astro_galaxysd.conditions.grouping import EVERYTHING, Grouping, group_rows
from astro_galaxysd.conditions.matching import Matched, match_rows, pair_by_id
from astro_galaxysd.conditions.requests import Requests, read_requests
from astro_galaxysd.conditions.tree import INDEX
from astro_galaxysd.errors import ConditionError, ImageError, NoRealRowsError
from astro_galaxysd.evaluation.scoring import FEWEST_IN_GROUP
from astro_galaxysd.images.provenance import PROMPT_WEIGHTS
from astro_galaxysd.images.storage_parts import stack
from astro_galaxysd.images.streaming import read_pieces, table_columns, table_length

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["FEWEST", "Side", "id_source", "match_sides", "read_side", "refuse_repeated", "refuse_shared", "too_small"]

Rows = TypeVar("Rows", "Table", Requests)

#: Rows that each of the three sets needs.
FEWEST = 16
#: Rows of a file that are read at a time.
_PIECE = 1024


@dataclass(frozen=True)
class Side:
    """Rows of a table that take part.

    Parameters
    ----------
    table : Table or path
        All rows, with images.
    light : Table, length N
        The rows that take part, without images.
    rows : ndarray, shape (N,), int
        Where they are in `table`.
    requests : Requests, length N
    names : list of str, length N
        Ids, or numbers of rows where the table has no ids.
    id_source : str or None
        From `id_source`; None where `names` are numbers of rows.
    excluded : dict of str to int
        Rows that don't take part, by reason.
    """

    table: Table | str | os.PathLike[str]
    light: Table
    rows: np.ndarray
    requests: Requests
    names: list[str]
    id_source: str | None
    excluded: dict[str, int]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def identified(self) -> bool:
        """Whether `names` are ids."""
        return self.id_source is not None


def id_source(table: Table, id_column: str | None = None) -> str | None:
    """Column, in small letters, from which `row_names` takes ids; None where it numbers the rows.

    Raises
    ------
    UnknownNameError
        If the table has no column `id_column`.
    """
    others = (name for name in ("row_id", SYNTHETIC_ID) if name in table.colnames)
    name = find_id_column(table, id_column) or next(others, None)
    return name and name.lower()


def read_side(
    table: Table | str | os.PathLike[str],
    *,
    drawn: bool,
    what: str,
    images: str = "image",
    schema: str | None = None,
    id_column: str | None = None,
) -> Side:
    """Find the rows of a table that take part.

    Parameters
    ----------
    table : Table or path
        Of a file, or a folder of shards, all columns are read but the images, coordinates and times, and the weights of
        prompts, long texts of which the prompts tell already.
    drawn : bool
        True: synthetic rows; all of them, or those whose ``synthetic`` is True where there is such a column. False:
        real rows that are no artifact by their votes.
    what : str
        What they are, for messages: ``"synthetic"``.
    images : str
        Image column, which is not looked at here.
    schema, id_column : str, optional
        Dialect of the votes; column of the ids.

    Returns
    -------
    Side

    Raises
    ------
    ConditionError
        If no row takes part, conditions can't be read, an id is missing, or one of real rows occurs twice.
    UnknownNameError
        For a schema or column that is not there.
    """
    whole = _without_images(table, images, id_column)
    marked = is_synthetic(whole)
    wanted = marked if drawn and SYNTHETIC in whole.colnames else np.full(len(whole), drawn) | ~marked
    if not wanted.any():
        kind = f"all with {SYNTHETIC!r} {not drawn}" if len(whole) else "none"
        raise ConditionError(f"the {what} table has no {what} rows: {len(whole)} row(s), {kind}; give another table")
    rows = np.flatnonzero(wanted)
    light = _some(whole, rows)
    requests = read_requests(light, schema=schema, drawn=drawn)
    galaxy = drawn | ~(np.nan_to_num(requests.votes[:, INDEX["artifact"]]) >= ARTIFACT)
    kept = np.flatnonzero(galaxy)
    names = row_names(light, id_column)
    if not drawn:
        refuse_repeated(names, what)
    reasons = {"not " + what: len(whole) - len(rows), "star or artifact": len(rows) - len(kept)}
    return Side(
        table, _some(light, kept), rows[kept], _some(requests, kept), [names[row] for row in kept],
        id_source(light, id_column), {reason: number for reason, number in reasons.items() if number},
    )  # fmt: skip


def _some(all_of_them: Rows, rows: np.ndarray) -> Rows:
    """Rows in order; no copy where they are all there are."""
    return all_of_them if len(rows) == len(all_of_them) else all_of_them[rows]


def _without_images(table: Table | str | os.PathLike[str], images: str, id_column: str | None = None) -> Table:
    """All rows without their images; without any other column there is still one, for the number of rows."""
    from astropy.table import Table

    if isinstance(table, str | os.PathLike):
        left_out = {images, PROMPT_WEIGHTS} - {id_column}
        others = [name for name in table_columns(table) if name not in left_out]
        pieces = [_plain(piece) for piece in read_pieces(table, others, rows=_PIECE)] if others else []
        if not pieces or not pieces[0].colnames:
            return Table({images: np.full(table_length(table), None)})
        return stack(pieces)
    light = table.copy(copy_data=False)
    if images in light.colnames and len(light.colnames) > 1:
        light.remove_column(images)
    return light


def _plain(piece: Table) -> Table:
    """The piece without coordinates and times, which say nothing of what was asked for, with texts as Python's own.

    An array of texts has the width of the longest for each; so each is as long as it is, and equal ones are there once.
    """
    from astropy.table import Column

    for name in piece.colnames:
        values = piece[name]
        if not isinstance(values, Column):
            piece.remove_column(name)
        elif values.dtype.kind == "U" and values.ndim == 1:
            known: dict[str, str] = {}
            texts = np.array([known.setdefault(text, text) for text in np.asarray(values).tolist()], dtype=object)
            whole = np.ma.array(texts, mask=values.mask) if hasattr(values, "mask") else texts
            kept = {key: getattr(values, key) for key in ("description", "unit", "format", "meta")}
            piece.replace_column(name, type(values)(whole, name=name, **kept))
    return piece


def refuse_repeated(names: list[str], what: str) -> None:
    """Raise where an id occurs twice: one galaxy would be compared with itself.

    Raises
    ------
    ConditionError
        Names the first five of them.
    """
    repeated = [name for name, number in Counter(names).items() if number > 1]
    if repeated:
        shown = ", ".join(repr(name) for name in repeated[:5]) + (", ..." if len(repeated) > 5 else "")
        raise ConditionError(
            f"{len(repeated)} id(s) of the {what} rows occur more than once ({shown}): one galaxy would be compared "
            "with itself; keep one row of each, or name another id_column="
        )


def refuse_shared(training: Side, real: Side) -> None:
    """Raise where rows that the generator was trained on stand among the real rows.

    Raises
    ------
    ConditionError
        Says how many and names the first.
    """
    shared = sorted(set(training.names) & set(real.names)) if training.identified and real.identified else []
    if shared:
        raise ConditionError(
            f"{len(shared)} rows of training= are among the real rows (id {shared[0]!r}, ...): what was learnt by "
            "heart would count as realistic; compare with rows that were not trained on"
        )


def match_sides(
    synthetic: Side, real: Side, *, groups: str | None, n: int | None, rng: np.random.Generator
) -> tuple[Matched, dict[str, str]]:
    """Choose the rows of the three sets.

    Parameters
    ----------
    synthetic, real : Side
    groups : str or None
        As `group_rows`.
    n : int or None
        Rows of each set, at least `FEWEST`; None: as many as there are.
    rng : Generator

    Returns
    -------
    Matched
        Rows count in `rows` of each side.
    dict of str to str
        Why a group can't be answered by any real row, or rows are not grouped.

    Raises
    ------
    ImageError
        If a side has too few rows for any figure.
    ConditionError
        If `n` is too small, or larger than what there is.
    NoRealRowsError
        If too few real rows answer what the synthetic rows ask for.
    """
    if n is not None and n < FEWEST:
        raise ConditionError(f"n = {n} rows of each set; an evaluation needs at least {FEWEST}")
    if len(synthetic) < FEWEST:
        raise ImageError(f"{len(synthetic)} synthetic images; an evaluation needs at least {FEWEST}: draw more")
    if len(real) < 2 * FEWEST:
        raise ImageError(
            f"{len(real)} real images; an evaluation needs at least {2 * FEWEST}, as half of them stand in the "
            "synthetic ones' place: give more"
        )
    grouping = group_rows(
        groups, synthetic.requests, real.requests, synthetic_table=synthetic.light, real_table=real.light
    )
    same = real.identified and synthetic.id_source == real.id_source  # two columns may count rows from 0
    pairs = pair_by_id(synthetic.names, real.names, grouping) if same else None
    matched = match_rows(grouping, rng=rng, pairs=pairs, n=n)
    if len(matched) < FEWEST:
        raise _unmatched(grouping, matched)
    if n is not None and len(matched) < n:
        raise ConditionError(
            f"n = {n} rows of each set; the tables have rows for {len(matched)} at most: give n={len(matched)} or "
            "less, or None for all"
        )
    return matched, grouping.notes


def _unmatched(grouping: Grouping, matched: Matched) -> NoRealRowsError:
    told = []
    for name, count in matched.counts.items():
        rows = f"{_rows(count.real, 'real')} for {_rows(count.synthetic, 'synthetic')}"
        told.append(f"{name!r}: {grouping.notes.get(name, rows)}")
    shown = "; ".join(told[:4]) + ("; ..." if len(told) > 4 else "") or "no synthetic row is of a group"
    return NoRealRowsError(
        f"only {len(matched)} rows of each set have the same mixture of requests; at least {FEWEST} are needed "
        f"({shown}). Give real rows that answer them, or groups=None to compare all with all"
    )


def too_small(matched: Matched, notes: dict[str, str]) -> dict[str, str]:
    """Groups that can't be measured by themselves, and why; none where there is one group only.

    Parameters
    ----------
    matched : Matched
    notes : dict of str to str
        From `match_sides`.
    """
    reasons = {}
    for name, count in matched.counts.items():
        if count.used >= FEWEST_IN_GROUP or list(matched.counts) == [EVERYTHING]:
            continue
        if name in notes:
            reasons[name] = notes[name]
        elif count.real < 2 * FEWEST_IN_GROUP:
            reasons[name] = f"answered by {_rows(count.real, 'real')}; {2 * FEWEST_IN_GROUP} are needed, for two sets"
        elif count.synthetic < FEWEST_IN_GROUP:
            reasons[name] = f"asked for by {_rows(count.synthetic, 'synthetic')}; {FEWEST_IN_GROUP} are needed"
        else:
            reasons[name] = f"{count.used} of its rows came into each set; {FEWEST_IN_GROUP} are needed"
    return reasons


def _rows(number: int, kind: str) -> str:
    return f"{number} {kind} row{'' if number == 1 else 's'}"
