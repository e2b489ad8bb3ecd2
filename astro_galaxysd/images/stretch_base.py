"""What all stretches share: the base class, their parameters and how these are checked, planes as they take them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np

from astro_galaxysd.errors import ImageError, SurveyError

__all__ = ["Stretch", "is_number", "number", "numbers", "observed", "per_band", "set_checked"]


class Stretch(ABC):
    """Base of the stretches: `apply`, `invert`, `as_dict`.

    A subclass is a frozen dataclass with a `kind` of its own and the two methods `apply` and `invert`.
    """

    #: Name in cards and records.
    kind: ClassVar[str]

    @abstractmethod
    def apply(self, planes: np.ndarray) -> np.ndarray:
        """Bring planes to display values.

        Parameters
        ----------
        planes : ndarray, shape (B, H, W)
            Fluxes, red first. Pixels that are NaN or infinite were not observed.

        Returns
        -------
        ndarray, shape (B, H, W), float64
            In [0, 1]; NaN where not observed.

        Raises
        ------
        ImageError
            If `planes` has another number of axes.
        SurveyError
            If the stretch is for another number of bands.
        """

    @abstractmethod
    def invert(self, display: np.ndarray) -> np.ndarray:
        """Bring display values back to planes.

        Parameters
        ----------
        display : ndarray, shape (B, H, W)
            Values in [0, 1], red first; finite values beyond are taken as 0 or 1.

        Returns
        -------
        ndarray, shape (B, H, W), float64
            Fluxes that `apply` brings to `display` again; NaN for what is not finite.

        Raises
        ------
        ImageError
            If `display` has another number of axes.
        SurveyError
            If the stretch is for another number of bands.
        """

    def as_dict(self) -> dict[str, Any]:
        """Parameters with the key ``kind``: what `make_stretch`, a card or a run record takes.

        Returns
        -------
        dict
            Of texts, floats and lists of floats.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        lists = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {"kind": self.kind, **lists}


def number(value: Any, what: str, *, positive: bool = False) -> float:
    """Read one number.

    Parameters
    ----------
    value : object
        What was given.
    what : str
        Its name, for the message.
    positive : bool
        Whether it must be above 0.

    Returns
    -------
    float
        Finite.

    Raises
    ------
    SurveyError
        If it is no finite number, or not above 0.
    """
    if not is_number(value) or (positive and value <= 0):
        raise SurveyError(f"{what} is {value!r}; give a finite number{' above 0' * positive}")
    return float(value)


def numbers(value: Any, what: str, *, positive: bool = False) -> float | tuple[float, ...]:
    """Read one number for all bands, or one a band.

    Parameters
    ----------
    value : object
        What was given.
    what : str
        Its name, for the message.
    positive : bool
        Whether each must be above 0.

    Returns
    -------
    float or tuple of float
        Finite.

    Raises
    ------
    SurveyError
        If any is no finite number or not above 0, or there are none.
    """
    listed = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if not listed and not (isinstance(value, np.ndarray) and value.ndim):
        return number(value, what, positive=positive)
    if not len(value):
        raise SurveyError(f"{what} is {value!r}; give one number for all bands, or one a band")
    return tuple(number(part, f"{what} is {value!r}: one", positive=positive) for part in value)


def per_band(values: float | tuple[float, ...], what: str, n_bands: int) -> np.ndarray:
    """Bring numbers to the shape of planes.

    Parameters
    ----------
    values : float or tuple of float
        As `numbers` gives them.
    what : str
        Name of the parameter, for the message.
    n_bands : int
        Number of planes.

    Returns
    -------
    ndarray, shape (1, 1, 1) or (n_bands, 1, 1), float64

    Raises
    ------
    SurveyError
        If there are neither 1 nor `n_bands` numbers.
    """
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if len(array) not in (1, n_bands):
        bands = f"{n_bands} band{'s' * (n_bands != 1)}"
        raise SurveyError(f"{what} of the stretch has {len(array)} values for {bands}; give one for all, or one a band")
    return array[:, None, None]


def set_checked(instance: object, /, **values: Any) -> None:
    """Set checked values of a frozen dataclass.

    Parameters
    ----------
    instance : object
        Under construction.
    **values : object
        Fields by name.
    """
    for name, value in values.items():
        object.__setattr__(instance, name, value)


def observed(planes: Any) -> np.ndarray:
    """Check the shape of planes and mark what was not observed.

    Parameters
    ----------
    planes : array_like, shape (B, H, W)
        Numbers.

    Returns
    -------
    ndarray, shape (B, H, W), float64
        NaN for what is not finite.

    Raises
    ------
    ImageError
        For another number of axes.
    """
    values = np.asarray(planes, dtype=np.float64)
    if values.ndim != 3:
        raise ImageError(f"a stretch takes planes of shape (B, H, W), red first, not {values.shape}; bands come first")
    return np.where(np.isfinite(values), values, np.nan)


def is_number(value: Any) -> bool:
    """Whether it is a finite integer or float, of Python or numpy."""
    known = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return known and bool(np.isfinite(value))
