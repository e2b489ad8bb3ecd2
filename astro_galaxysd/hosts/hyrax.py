"""Augmented tables in Hyrax (https://hyrax.readthedocs.io).

Name the class in Hyrax's configuration and give it a table that `astro_galaxysd.read_table` reads::

    [data_request.train.data]
    dataset_class = "astro_galaxysd.hosts.hyrax.GalaxyTable"
    data_location = "galaxies.parquet"
    primary_id_field = "object_id"
    fields = ["image", "label"]
    augment = ["image"]

    [astro_galaxysd.GalaxyTable]
    label = "merger"

The settings and their defaults are in ``astro_galaxysd/default_config.toml``, where Hyrax finds them. The module can be
imported without Hyrax; the class can't be used without.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError, MissingDependencyError
from astro_galaxysd.hosts.galaxies import Galaxies
from astro_galaxysd.images.storage import read_table
from astro_galaxysd.survey.card import read_survey

if TYPE_CHECKING:
    from astropy.table import Table

try:
    from hyrax.datasets import HyraxDataset
except ModuleNotFoundError as error:
    _MISSING: ModuleNotFoundError | None = error
    HyraxDataset = object
else:
    _MISSING = None

__all__ = ["GalaxyTable"]

#: Hyrax looks for a library's defaults in its folder, by this name.
_DEFAULTS = Path(__file__).parents[1] / "default_config.toml"
#: Section of Hyrax's configuration.
_SECTION = ("astro_galaxysd", "GalaxyTable")


class GalaxyTable(HyraxDataset):  # type: ignore[misc]
    """A table of real and synthetic galaxies as a Hyrax dataset.

    Fields are ``object_id`` (str), ``image`` (float32, shape (3, H, W), display values in [0, 1], red first),
    ``synthetic`` (bool); ``label`` (int64) where the setting `label` names one; ``votes`` (float32, shape (37,), NaN
    where a question was not asked) where the table has vote columns; and every other column with one value a row.
    With ``augment``, ``image`` is turned, mirrored or replaced by a synthetic galaxy of the same label as the settings
    say; ``votes`` and ``synthetic`` are those of the galaxy shown if they are augmented too.

    Parameters
    ----------
    config : mapping
        Hyrax's configuration, with the section ``astro_galaxysd.GalaxyTable``.
    data_location : path
        A table that `astro_galaxysd.read_table` reads.

    Raises
    ------
    MissingDependencyError
        If Hyrax is not installed.
    ConditionError
        If no table is given, a setting is unknown, or as `astro_galaxysd.hosts.galaxies.Galaxies`.
    """

    def __init__(self, config: Mapping[str, Any], data_location: str | os.PathLike[str] | None = None) -> None:
        if _MISSING is not None:
            raise MissingDependencyError(
                f"GalaxyTable is a dataset of Hyrax: pip install 'astro-galaxysd[hyrax]' ({_MISSING})"
            ) from _MISSING
        if data_location is None:
            raise ConditionError("GalaxyTable needs a table: set data_location to a file that read_table reads")
        settings = read_settings(config)
        survey = settings.pop("survey")
        table = read_table(data_location)
        self.galaxies = Galaxies(table, survey=None if survey is None else read_survey(survey), **settings)
        if self.galaxies.has_label:
            self.get_label = self.galaxies.label
        if self.galaxies.has_votes:
            self.get_votes = self.galaxies.votes
            self.augment_votes = self._view_votes
        super().__init__(config, _metadata(table, self.galaxies.table_rows), "object_id")

    def __len__(self) -> int:
        """Number of galaxies."""
        return len(self.galaxies)

    def get_object_id(self, idx: int) -> str:
        """Id of a galaxy."""
        return self.galaxies.ids[idx]

    def get_image(self, idx: int) -> np.ndarray:
        """Image of a galaxy, shape (3, H, W), float32, in [0, 1]."""
        return self.galaxies.image(idx)

    def get_synthetic(self, idx: int) -> np.bool_:
        """Whether a galaxy was added by an augmentation."""
        return self.galaxies.synthetic(idx)

    def augment_image(self, data: np.ndarray, idx: int, rng_seed: int) -> np.ndarray:
        """Another view of galaxy `idx`, whose image is `data`; the same for the same `rng_seed`."""
        return self.galaxies.view_image(idx, rng_seed, data)

    def augment_synthetic(self, data: np.bool_, idx: int, rng_seed: int) -> np.bool_:
        """Whether the galaxy that `augment_image` shows is synthetic."""
        return self.galaxies.view_synthetic(idx, rng_seed)

    def _view_votes(self, data: np.ndarray, idx: int, rng_seed: int) -> np.ndarray:
        return self.galaxies.view_votes(idx, rng_seed)


def read_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `GalaxyTable` in a configuration, with the defaults; None for what is not set.

    Parameters
    ----------
    config : mapping
        With or without the section ``astro_galaxysd.GalaxyTable``.

    Raises
    ------
    ConditionError
        If a setting is unknown.
    """
    defaults = tomllib.loads(_DEFAULTS.read_text(encoding="utf-8"))
    settings, given = dict(_section(defaults)), _section(config)
    unknown = [name for name in given if name not in settings]
    if unknown:
        raise ConditionError(f"{'.'.join(_SECTION)} has no {', '.join(unknown)}; it has {', '.join(settings)}")
    settings |= {name: _plain(value) for name, value in given.items()}
    return {name: None if value is False and name != "turns" else value for name, value in settings.items()}


def _section(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in _SECTION:
        config = config.get(name) or {}
    return config


def _plain(value: Any) -> Any:
    """Python value of what tomlkit read."""
    return value.unwrap() if hasattr(value, "unwrap") else value


def _metadata(table: Table, rows: np.ndarray) -> Table:
    """Columns with one number or text a row, without masks, which Hyrax can't write; NaN and "" for what is missing."""
    from astropy.table import Table as PlainTable

    plain = PlainTable()
    for name in table.colnames:
        values = np.ma.asarray(getattr(table[name], "value", table[name]))
        if values.ndim == 1 and values.dtype.kind in "biufUS":
            values = values[rows]
            if np.any(np.ma.getmaskarray(values)):
                values = values.filled("") if values.dtype.kind in "US" else values.astype(float).filled(np.nan)
            plain[name] = np.asarray(values)
    return plain
