"""Galaxies for the partitions of a Dask DataFrame or of an LSDB catalogue of HATS files.

A partition in, the same rows with an image and its provenance out. A row's pixels follow from its prompt, its id and
the run's seed, so it does not matter how the rows are cut, nor who draws which of them; what would follow from the
other rows of a partition is refused. The function is handed to ``map_partitions``::

    drawn = catalogue.map_partitions(draw_partition, rng=1)

It needs neither Dask nor LSDB itself.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.columns import (
    ID_COLUMNS,
    SYNTHETIC_ID,
    find_id_column,
    prompt_column,
    row_names,
    texts,
)
from astro_galaxysd.conditions.seeds import row_seeds, run_seed
from astro_galaxysd.conditions.table import describe, find_dialects
from astro_galaxysd.drawing import Drawing
from astro_galaxysd.errors import ConditionError
from astro_galaxysd.generation import add_provenance, check_seeds, with_prompts
from astro_galaxysd.images.encoded import quick_png
from astro_galaxysd.images.provenance import (
    GENERATOR,
    PROMPT,
    PROMPT_WEIGHTS,
    SEED,
    SYNTHETIC,
    WEIGHTS,
    WEIGHTS_REVISION,
)
from astro_galaxysd.weightcards import DEFAULT_WEIGHTS, weight_card
from astro_galaxysd.workers import kept_drawing, token_of

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import VoteDialect

__all__ = ["draw_partition", "partition_meta"]

#: Texts that every drawn row has.
_TEXTS = (PROMPT, PROMPT_WEIGHTS, GENERATOR, WEIGHTS, WEIGHTS_REVISION)
#: Columns whose bytes and Python integers are read as text.
_NAMES = (*ID_COLUMNS, "row_id", SYNTHETIC_ID, PROMPT)


def draw_partition(
    partition: pd.DataFrame,
    *,
    rng: int | None = None,
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    generator: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    batch_size: int | None = None,
    references: Table | np.ndarray | None = None,
    schema: str | None = None,
    labels: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    image_column: str = "image",
) -> pd.DataFrame:
    """Draw one image for every row of a partition.

    What draws is loaded when the first row comes, once for a process.

    Parameters
    ----------
    partition : DataFrame
        With ids, and with prompts, vote columns or labels as `generate` reads them. Without rows, what comes back says
        which columns there are, and nothing is loaded. Columns of lists, frames or bytes are passed on unread, but for
        bytes of ids, prompts and labels.
    rng : int, optional
        Seed of the run, the same for all partitions. None where a column ``seed`` has a seed for each row.
    weights, steps, guidance, batch_size, references
        As `generate`. Weights of the Hub are named with a commit where they may change meanwhile, folders by their
        whole path; references are read once, and stay as they are.
    generator : str, optional
        Name of a generator; by default the one the weights belong to.
    schema, labels, label_column, id_column
        As `generate`. Where votes can be read in several ways, which `generate` compares in all rows, the `schema` has
        to name one: ``"kaggle"``, ``"hart16 _weighted_fraction"``.
    image_column : str
        Name of the new column.

    Returns
    -------
    DataFrame
        Of the same type and index. Its images are PNG files in a binary column of Arrow; ``prompt``,
        ``prompt_weights``, ``seed``, ``synthetic``, ``generator``, ``weights`` and ``weights_revision`` are those of
        `generate`.

    Raises
    ------
    ConditionError
        Without ids or a seed, from which the same galaxies would follow in each partition; where the rows of a
        partition would decide how votes are read; and as `generate`.
    PromptError, UnknownNameError, WeightsError, PluginError
        As `generate`.

    Examples
    --------
    >>> import pandas as pd
    >>> drawn = draw_partition(pd.DataFrame({"id": ["a"], "prompt": ["sdss, merger"]}), rng=1, steps=2)
    >>> drawn["image"][0][1:4], drawn["weights"][0]
    (b'PNG', 'mini')
    """
    if not len(partition):
        return partition_meta(partition, image_column=image_column)
    rows = _plain(partition, [*_NAMES, id_column, label_column])
    left_out = [str(name) for name in partition.columns if str(name) not in rows.colnames]
    _refuse_numbered(rows, left_out, rng, id_column)
    dialect = None
    if labels is None and label_column is None:
        schema, dialect = _one_dialect(rows, [*rows.colnames, *left_out], schema)
    planned, _ = with_prompts(rows, schema=schema, labels=labels, label_column=label_column, dialect=dialect)
    if rng is None:
        check_seeds(planned)
    else:
        planned[SEED] = row_seeds(run_seed(rng), row_names(rows, id_column))
    settings: dict[str, Any] = {
        "weights": os.fspath(weights), "generator": generator, "steps": steps, "guidance": guidance,
        "batch_size": batch_size, "references": references,
    }  # fmt: skip
    with kept_drawing(token_of(settings), lambda: _load(planned, **settings)) as kept:
        kept.check(planned)
        own = kept.of(planned)
        images = [quick_png(image) for piece in own.pieces() for image in piece]
    add_provenance(planned, own.told)
    return _joined(partition, planned, images, image_column)


def partition_meta(frame: Any, *, image_column: str = "image") -> pd.DataFrame:
    """What `draw_partition` makes of a frame, without rows: ``meta=`` of Dask, which would try it with invented ones.

    Parameters
    ----------
    frame : DataFrame
        Of pandas, Dask or LSDB.
    image_column : str
        As `draw_partition`.

    Returns
    -------
    DataFrame
        Of pandas.

    Examples
    --------
    >>> import pandas as pd
    >>> partition_meta(pd.DataFrame({"id": ["a"], "ra": [1.5]})).columns[:5].tolist()
    ['id', 'ra', 'prompt', 'prompt_weights', 'generator']
    """
    from astropy.table import Table

    empty = getattr(frame, "_meta", frame).iloc[:0]
    planned = Table({name: np.zeros(0, dtype=str) for name in _TEXTS})
    planned[SEED], planned[SYNTHETIC] = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
    return _joined(empty, planned, [], image_column)


def _joined(partition: pd.DataFrame, planned: Table, images: list[bytes], image_column: str) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    def text(name: str) -> Any:
        column = planned[name]
        mask = np.broadcast_to(np.asarray(getattr(column, "mask", False)), len(column))
        return [None if hidden else str(value) for value, hidden in zip(column, mask, strict=True)]

    new: dict[str, Any] = {name: pd.Series(text(name), index=partition.index, dtype="str") for name in _TEXTS}
    new[SEED] = np.asarray(planned[SEED], dtype=np.int64)
    new[SYNTHETIC] = np.asarray(planned[SYNTHETIC], dtype=bool)
    new[image_column] = pd.Series(images, index=partition.index, dtype=pd.ArrowDtype(pa.binary()))
    return partition.assign(**new)


def _load(planned: Table, *, weights: str, generator: str | None, **settings: Any) -> Drawing:
    """What draws all partitions: no plug-in chooses another generator for some of them."""
    card = weight_card(weights)
    return Drawing(planned, generator or card.generator, weights=card, progress=False, **settings)


def _refuse_numbered(rows: Table, left_out: list[str], rng: object, id_column: str | None) -> None:
    """Raise where seeds would follow from what each partition has anew."""
    if rng is None and SEED in rows.colnames:
        return
    if not isinstance(rng, (int, np.integer)) or isinstance(rng, bool):
        raise ConditionError(f"rng={rng!r}: give a whole number, which is the same for every partition")
    if id_column in left_out:
        raise ConditionError(f"id column {id_column!r} holds neither numbers nor texts; name another id_column=")
    if find_id_column(rows, id_column) is None and "row_id" not in rows.colnames:
        unread = f" ({', '.join(left_out)}: neither numbers nor texts)" if left_out else ""
        raise ConditionError(
            f"the partition has no column of ids, only {', '.join(rows.colnames) or 'none'}{unread}, and the numbers "
            "of its rows are those of every partition; name id_column="
        )


def _one_dialect(rows: Table, names: list[str], schema: str | None) -> tuple[str | None, VoteDialect | None]:
    """What reads the votes of all partitions, and the schema that it is of.

    Raises
    ------
    ConditionError
        If the rows of each partition would decide.
    """
    ways = _ways(names)
    if schema is not None:
        ways = {way: dialect for way, dialect in ways.items() if schema in (way, dialect.name)}
        schema = ways[schema].name if schema in ways else schema
    if len(ways) == 1:
        return schema, next(iter(ways.values()))
    if len(ways) > 1 and (schema is not None or not all(prompt_column(rows) or [""])):
        told = "; ".join(_with_column(way, dialect, names) for way, dialect in ways.items())
        raise ConditionError(
            f"votes can be read in several ways, {told}, and the rows of each partition would decide otherwise; name "
            f"one, schema={next(iter(ways))!r}, or drop the columns of the others"
        )
    return schema, None


def _ways(names: list[str]) -> dict[str, VoteDialect]:
    """What columns can be read with, by what `generate` calls it: dialects, or each way of one that would choose."""
    from astropy.table import Table

    table = Table({name: np.zeros(0) for name in names})
    ways: dict[str, VoteDialect] = {}
    for dialect in find_dialects(table):
        readings = getattr(dialect, "readings", None)
        ways.update({describe(way, table): way for way in readings(names)} if readings else {dialect.name: dialect})
    return ways


def _with_column(way: str, dialect: VoteDialect, names: list[str]) -> str:
    """A way to read votes, with the first column that it reads."""
    return f"{way} ({next(name for name in dialect.columns(names) if way in _ways([name]))}, ...)"


def _plain(partition: pd.DataFrame, named: Collection[str | None]) -> Table:
    """Columns of numbers, truth values and texts, masked where they are missing; `named` ones as text."""
    from astropy.table import Column, MaskedColumn, Table

    rows = Table()
    for name in partition.columns:
        values, is_named = partition[name], str(name) in named or str(name).lower() in named
        missing = np.asarray(values.isna(), dtype=bool)
        if missing.all() and values.dtype.kind not in "biuf" and not is_named:
            continue
        known = _known(np.asarray(values[~missing]), is_named)
        if known.dtype.kind in "biufU":
            whole = np.zeros(len(values), dtype=known.dtype)
            whole[~missing] = known
            rows[str(name)] = MaskedColumn(whole, mask=missing) if missing.any() else Column(whole)
    return rows


def _known(values: np.ndarray, is_named: bool) -> np.ndarray:
    """Values of a column that may be objects of one kind; objects still where nothing reads them."""
    if values.dtype.kind != "O":
        return values
    if all(isinstance(value, str | bytes | int | np.integer if is_named else str) for value in values):
        return np.array(texts(values), dtype=str)
    if all(isinstance(value, int | np.integer) for value in values):
        return np.array(values.tolist())
    return values
