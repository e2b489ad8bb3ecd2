"""A table of conditions of any length, stretch by stretch: each comes with prompts and seeds as if it were the whole.

Where the rows of a table decide together what is read from them (which of several dialects, which columns of votes), a
first reading of the votes settles it, so that a row asks for the same wherever the stretches are cut.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from astro_galaxysd.conditions.columns import find_id_column, row_names
from astro_galaxysd.conditions.seeds import RNG, row_seeds, run_seed
from astro_galaxysd.conditions.table import DialectChoice
from astro_galaxysd.errors import ConditionError, GalaxySDError
from astro_galaxysd.generation import check_seeds, with_prompts
from astro_galaxysd.images.provenance import SEED
from astro_galaxysd.images.storage_columns import IMAGE
from astro_galaxysd.images.streaming import read_pieces, table_columns

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import VoteDialect

__all__ = ["Stretch", "Stretches"]


class Stretch(NamedTuple):
    """Some rows of a table: the stretch's number from 0, names from which seeds follow, and rows ready to draw.

    There are no names where rows have seeds of their own.
    """

    number: int
    names: list[str]
    rows: Table


class Stretches:
    """The rows of a long run, stretch by stretch, as often as they are asked for.

    Parameters
    ----------
    source : Table or path-like
        As `read_pieces`. Its images are not read.
    length : int
        Rows of a stretch.
    schema, labels, label_column, id_column
        As `generate`.

    Raises
    ------
    ConditionError, UnknownNameError
        If there are no rows, or nothing to draw is read from the first of them.
    """

    def __init__(
        self,
        source: Table | str | os.PathLike[str],
        length: int,
        *,
        schema: str | None = None,
        labels: Mapping[str, str] | None = None,
        label_column: str | None = None,
        id_column: str | None = None,
    ) -> None:
        self._source, self._length, self.id_column = source, int(length), id_column
        self._options: dict[str, Any] = {"schema": schema, "labels": labels, "label_column": label_column}
        names = table_columns(source)
        self._columns = [name for name in names if name != IMAGE] or names
        first = next(read_pieces(source, self._columns, rows=1), None)
        if first is None:
            raise ConditionError("conditions have no row; give at least one")
        find_id_column(first, id_column)
        self._seeded = SEED in self._columns
        #: Seed of the run; None where rows have seeds of their own.
        self.seed: int | None = None
        #: What the conditions of the stretches were read from, for the run record.
        self.sources: set[str] = set()
        self._dialect = self._one_dialect(first)

    def choose_seed(self, rng: RNG, before: int | None) -> None:
        """Seed of the run: of `rng`, else the one from `before`, else new; none where rows have seeds of their own."""
        if rng is None and before is not None:
            self.seed = before
        elif rng is not None or not self._seeded:
            self.seed = run_seed(rng)

    def __iter__(self) -> Iterator[Stretch]:
        return self.some(None)

    def some(self, numbers: Collection[int] | None) -> Iterator[Stretch]:
        """Those stretches that have one of these numbers (None: all).

        Raises
        ------
        ConditionError, PromptError, UnknownNameError
            If a row says nothing of what to draw, or what can't be drawn, or has no id or seed where others have.
        """
        first = 0
        for number, piece in enumerate(read_pieces(self._source, self._columns, rows=self._length)):
            if numbers is None or number in numbers:
                with _counted_from(first):
                    stretch = self._planned(number, first, piece)
                yield stretch
            first += len(piece)

    def _planned(self, number: int, first: int, piece: Table) -> Stretch:
        planned, told = with_prompts(piece, **self._options, dialect=self._dialect)
        self.sources.add(told["conditions"])
        names = []
        if self.seed is None:
            check_seeds(piece)
        else:
            names = row_names(piece, self.id_column, first)
            planned[SEED] = row_seeds(self.seed, names)
        planned.meta.clear()
        _narrow(planned)
        return Stretch(number, names, planned)

    def _one_dialect(self, first: Table) -> VoteDialect | None:
        """What all votes are read with, where a stretch alone could choose otherwise."""
        if self._options["labels"] is not None or self._options["label_column"] is not None:
            return None
        choice, start = DialectChoice(first, self._options["schema"]), 0
        if choice.is_open:
            for piece in read_pieces(self._source, choice.columns, rows=self._length):
                with _counted_from(start):
                    choice.look_at(piece)
                start += len(piece)
        return choice.dialect


@contextmanager
def _counted_from(first: int) -> Iterator[None]:
    """Say in errors where the stretch begins whose rows they count."""
    try:
        yield
    except GalaxySDError as error:
        if first:
            error.add_note(f"rows are counted from row {first} of the conditions")
        raise


def _narrow(rows: Table) -> None:
    """Make columns of text as wide as their texts, so that it does not matter what else was read with them."""
    for name in rows.colnames:
        kind = getattr(getattr(rows[name], "dtype", None), "kind", "")
        if kind in ("S", "U") and rows[name].size:
            width = max(1, int(np.strings.str_len(np.ma.getdata(np.ma.asarray(rows[name].data))).max()))
            rows[name] = rows[name].astype(f"{kind}{width}")
