"""Which sampling serves best: settings in, every one drawn and judged on the same rows, a table with its front out.

A sweep chooses, so the reader it asks is the one for choosing; figures of what was chosen come from `evaluate`, on
other rows.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.assessment import evaluate
from astro_galaxysd.conditions.columns import row_names
from astro_galaxysd.conditions.prompts import prompt_from_tags, tags_from_fractions
from astro_galaxysd.conditions.seeds import RNG, run_seed, stream
from astro_galaxysd.conditions.table import choose_dialect
from astro_galaxysd.errors import ConditionError, UnknownNameError
from astro_galaxysd.evaluation.pareto import OBJECTIVES, pareto_front, sweep_table
from astro_galaxysd.evaluation.sides import FEWEST
from astro_galaxysd.generation import generate
from astro_galaxysd.images.files import atomic_path, rehearse_path
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.seen import weights_content
from astro_galaxysd.weightcards import DEFAULT_WEIGHTS, refuse_references, weight_card

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["SETTINGS", "read_sweep", "sweep"]

#: What can be swept over.
SETTINGS = ("weights", "steps", "guidance", "sampler", "feature_weight")
_EVALUATORS = ("realism", "diversity", "consistency", "photometry")
_METRICS = (*OBJECTIVES, "frechet", "precision", "recall", "flux_ks", "background_ks", "sky_rms_ks", "power")
_RECORD, _LINES = "galaxysd_sweep", "lines"


def sweep(
    real: Table,
    over: Mapping[str, Sequence[Any]],
    *,
    n: int = 128,
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    objectives: Mapping[str, bool] | None = None,
    reader: str | os.PathLike[str] = "choosing",
    rng: RNG = None,
    schema: str | None = None,
    images: str = "image",
    id_column: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Table:
    """Draw and judge the same rows with every combination of settings.

    Parameters
    ----------
    real : Table
        Galaxies with votes and images that the weights were not trained on, nor will be reported on; at least 2 n.
    over : mapping of str to sequence
        Setting -> values. ``"weights"``: names or folders, such as those of several training steps; ``"steps"``,
        ``"guidance"``, ``"sampler"`` of the drawing; ``"feature_weight"``: weight of every feature of the prompts, or
        None for the weights that the votes have.
    n : int
        Rows to draw with each combination, 16 or more; the same rows and seeds for all.
    weights : str or path
        Where `over` has none.
    objectives : mapping of str to bool, optional
        Metric -> whether higher is better; by default `astro_galaxysd.evaluation.pareto.OBJECTIVES`.
    reader : str or path
        As `evaluate`; the one that chooses.
    rng : None, int, SeedSequence or Generator
        Chooses the rows and seeds.
    schema, images, id_column, cache
        As `evaluate`.
    out : path, optional
        An ECSV file, written after each combination; those it has already are not drawn again, as long as rows,
        reader and the content of the weights are the same.
    progress : bool
        Whether to show bars.

    Returns
    -------
    Table
        One row a combination: its settings, metrics with their errors, and ``front``: whether nothing outdoes it.

    Raises
    ------
    UnknownNameError
        If a setting is none of `SETTINGS`.
    ConditionError
        If there is nothing to sweep over, rows are too few, or `out` is damaged or belongs to another sweep.
    WeightsError, ImageError, OutputError
        As `generate` and `evaluate`.

    Examples
    --------
    >>> table = sweep(validation, {"guidance": [1, 2, 4]}, n=128, rng=1)  # doctest: +SKIP
    >>> table["guidance", "nearest_real", "consistency", "front"]  # doctest: +SKIP
    """
    objectives = dict(OBJECTIVES if objectives is None else objectives)
    settings = list(_combinations(over, weights))
    seed = run_seed(rng)
    if not FEWEST <= n <= len(real) // 2:
        raise ConditionError(
            f"n = {n} rows to draw, of {len(real)}; give {FEWEST} to {len(real) // 2}, the others are compared with"
        )
    rows = np.sort(stream(seed, "sweep").permutation(len(real))[:n])
    columns: dict[str, Any] = {"schema": schema, "images": images, "id_column": id_column}
    identity = {"seed": seed, "n": n, "rows": _digest(real, rows, id_column), "reader": _revision(reader), **columns}
    known = _read_log(out, identity)
    for name in dict.fromkeys(setting["weights"] for setting in settings):
        refuse_references(name, "a sweep")
    contents = {name: weights_content(name) for name in dict.fromkeys(setting["weights"] for setting in settings)}
    found: list[tuple[dict[str, Any], Table]] = []
    for setting in settings:
        key = json.dumps({**setting, "content": contents[setting["weights"]]}, sort_keys=True)
        if key not in known:
            drawn = _draw(real[rows], setting, seed, schema, id_column, progress)
            known[key] = evaluate(
                real, drawn, evaluators=_EVALUATORS, reader=reader, groups=None, cache=cache, rng=seed,
                progress=progress, **columns,
            )  # fmt: skip
            _write_log(out, known, identity)
        found.append((setting, known[key]))
    metrics = list(dict.fromkeys([*objectives, *_METRICS]))
    table = sweep_table(found, metrics)
    return pareto_front(table[table["group"] == "all"], objectives)


def _combinations(over: Mapping[str, Sequence[Any]], weights: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Every combination of values, with the weights always named."""
    for name in over:
        if name not in SETTINGS:
            raise UnknownNameError("setting", name, SETTINGS)
    whole = {"weights": [os.fspath(weights)], **{name: _values(name, values) for name, values in over.items()}}
    if not over or not all(whole.values()):
        raise ConditionError(f"nothing to sweep over; give values for some of {', '.join(SETTINGS)}")
    for values in itertools.product(*whole.values()):
        yield dict(zip(whole, values, strict=True))


def _values(name: str, values: object) -> list[Any]:
    """Values of a setting as numbers and texts of Python, each once."""
    values = values.tolist() if isinstance(values, np.ndarray) else values
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise ConditionError(f"setting {name!r} is {values!r}; give a list of values, as in {{{name!r}: [{values!r}]}}")
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    plain = [os.fspath(value) if isinstance(value, os.PathLike) else value for value in plain]
    for value in plain:
        if not isinstance(value, str | int | float | None):
            raise ConditionError(f"setting {name!r} has the value {value!r}; give numbers or texts")
    return list(dict.fromkeys(plain))


def _draw(
    rows: Table, setting: Mapping[str, Any], seed: int, schema: str | None, id_column: str | None, progress: bool
) -> Table:
    card = weight_card(setting["weights"])
    if "sampler" in setting:
        card = replace(card, sampler=setting["sampler"])
    generator = get_registry().create(
        "generator", card.generator, card, steps=setting.get("steps"), guidance=setting.get("guidance")
    )
    weight = setting.get("feature_weight")
    if weight is not None:
        rows = rows.copy(copy_data=False)
        tags = tags_from_fractions(choose_dialect(rows, schema).read(rows), minimum=0.5)
        rows["prompt"] = np.array([prompt_from_tags((words, float(weight)) for words, _ in row) for row in tags])
        schema = None  # what was written is drawn, not the votes
    return generate(rows, generator=generator, rng=seed, schema=schema, id_column=id_column, progress=progress)


def _digest(real: Table, drawn: np.ndarray, id_column: str | None) -> str:
    """Hash of the ids of the rows that are drawn, and of the others, which they are compared with."""
    names = np.array(row_names(real, id_column))
    parts = [names[drawn], np.delete(names, drawn)]
    return hashlib.sha256(json.dumps([part.tolist() for part in parts]).encode()).hexdigest()


def _revision(reader: str | os.PathLike[str]) -> str:
    from astro_galaxysd.evaluation.reading import ImageReader

    return ImageReader.load(reader).revision


def read_sweep(path: str | os.PathLike[str]) -> Table:
    """Read the table of a sweep from a file.

    Parameters
    ----------
    path : path
        An ECSV file that ``galaxysd sweep`` wrote, or the `out` of `sweep`.

    Returns
    -------
    Table

    Raises
    ------
    ConditionError
        If it is missing or damaged.
    """
    from astropy.table import Table

    try:
        return Table.read(path, format="ascii.ecsv")
    except Exception as error:  # what the parsers of YAML and of columns raise differs from fault to fault
        raise ConditionError(
            f"{os.fspath(path)}: no sweep can be read ({type(error).__name__}: {error}); give a file that `galaxysd "
            "sweep` wrote, or remove one that is damaged"
        ) from error


def _read_log(out: str | os.PathLike[str] | None, identity: Mapping[str, Any]) -> dict[str, Table]:
    """Evaluations that a file has, by their settings."""
    if out is None:
        return {}
    rehearse_path(out, overwrite=True)
    if not Path(out).exists():
        return {}
    table = read_sweep(out)
    record = table.meta.get(_RECORD)
    if not isinstance(record, dict) or "setting" not in table.colnames:
        raise ConditionError(f"{os.fspath(out)} does not hold what a sweep has finished; remove it or name another")
    names = [name for name, value in identity.items() if record.get(name) != value]
    if names:
        raise ConditionError(
            f"{os.fspath(out)} belongs to another sweep, which differs in {' and '.join(names)}; name another"
        )
    lines = Counter(table["setting"].tolist())
    if list(lines.values()) != record.get(_LINES):
        raise ConditionError(f"{os.fspath(out)} is cut short or was changed; remove it or name another")
    return {key: table[table["setting"] == key] for key in lines}


def _write_log(out: str | os.PathLike[str] | None, known: Mapping[str, Table], identity: Mapping[str, Any]) -> None:
    from astropy.table import vstack

    if out is None:
        return
    parts = []
    for key, table in known.items():
        part = table.copy()
        part["setting"] = [key] * len(part)
        part.meta.clear()
        parts.append(part)
    whole = vstack(parts)
    whole.meta[_RECORD] = {**identity, _LINES: [len(table) for table in known.values()]}
    with atomic_path(out, overwrite=True) as partial:
        whole.write(partial, format="ascii.ecsv", overwrite=True)
