r"""Stretches: fluxes of one or three bands to display values in [0, 1], and back.

A generator draws display images, a survey has fluxes. The stretch that made the survey's display images says how the
one becomes the other, so it is declared, never guessed in silence. Forward the numbers are those of
`astropy.visualization`; backward what the stretch clipped is lost, and each class says what that is.

Planes have shape (B, H, W), red first. NaN means not observed and stays NaN.

Examples
--------
>>> stretch = LuptonStretch(stretch=0.5, Q=8.0)
>>> planes = np.full((3, 2, 2), [[[0.2]], [[0.1]], [[0.05]]])
>>> bool(np.allclose(stretch.invert(stretch.apply(planes)), planes))
True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from astro_galaxysd.errors import SurveyError
from astro_galaxysd.images.stretch_base import Stretch, number, numbers, observed, per_band, set_checked

__all__ = ["AsinhStretch", "LinearStretch", "LuptonStretch", "Stretch", "make_stretch"]

#: Values of Q that astropy takes as they are: it replaces smaller and larger ones.
Q_RANGE = (1e-6, 1e10)
#: Share of the Lupton slope of 10 % of full scale that fixes its height: `frac` of astropy's LuptonAsinhStretch.
LUPTON_FRACTION = 0.1


@dataclass(frozen=True)
class LuptonStretch(Stretch):
    r"""Colour-preserving asinh stretch of Lupton et al. (2004, PASP 116, 133).

    With :math:`x_b = s_b (p_b - m_b)` and the intensity :math:`I = \sum_b x_b / B`, a band's display value is

    .. math::

        d_b = x_b \frac{f(I)}{I}, \qquad f(I) = \frac{0.1}{\operatorname{asinh}(0.1 Q)}
        \operatorname{asinh}\left(\frac{Q I}{\mathrm{stretch}}\right),

    0 where it is negative or I is; pixels with a band above 1 are divided by that band. These are the numbers of
    `astropy.visualization.make_lupton_rgb` for the planes :math:`s_b (p_b - m_b)`. One band is :math:`f(I)`.

    Parameters
    ----------
    stretch : float
        Flux below which the stretch is linear, in the unit of the scaled planes; above 0.
    Q : float
        Strength of the asinh, 1e-6 to 1e10.
    minimum : float or tuple of float
        Flux that is shown black, one for all bands or one a band.
    scales : float or tuple of float
        Factor of each band after `minimum` is subtracted, above 0.

    Raises
    ------
    SurveyError
        For a parameter that is no number of its range.

    Notes
    -----
    `invert` is exact where every band is above 0 and below 1. Lost are fluxes below `minimum` (they come back as
    `minimum`, and the other bands of such a pixel change a little) and pixels that saturate in colour (their colour
    comes back, at a lower flux). A pixel that misses one band has no intensity and is NaN in all.
    """

    kind: ClassVar[str] = "lupton"
    stretch: float = 5.0
    Q: float = 8.0
    minimum: float | tuple[float, ...] = 0.0
    scales: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        set_checked(self, stretch=number(self.stretch, "stretch of a lupton stretch", positive=True))
        set_checked(self, Q=number(self.Q, "Q of a lupton stretch", positive=True))
        set_checked(self, minimum=numbers(self.minimum, "minimum of a lupton stretch"))
        set_checked(self, scales=numbers(self.scales, "scales of a lupton stretch", positive=True))
        if not Q_RANGE[0] <= self.Q <= Q_RANGE[1]:
            raise SurveyError(f"Q of a lupton stretch is {self.Q:g}; it goes from 1e-6 (nearly linear) to 1e10")

    def apply(self, planes: np.ndarray) -> np.ndarray:
        """Bring planes to display values; see `Stretch.apply`."""
        from astropy.visualization import make_lupton_rgb

        # Both ends given: astropy would look for the missing one, and an all-NaN plane has none.
        from astropy.visualization.interval import ManualInterval

        values = _lupton_bands(observed(planes))
        scaled = per_band(self.scales, "scales", len(values)) * (
            values - per_band(self.minimum, "minimum", len(values))
        )
        bands = scaled if len(scaled) == 3 else np.repeat(scaled, 3, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = make_lupton_rgb(
                *bands, interval=ManualInterval(0.0, 1.0), stretch=self.stretch, Q=self.Q, output_dtype=np.float64
            )
        return np.asarray(np.moveaxis(drawn, -1, 0)[: len(values)])

    def invert(self, display: np.ndarray) -> np.ndarray:
        """Bring display values back to planes; see `Stretch.invert`."""
        values = _lupton_bands(np.clip(observed(display), 0.0, 1.0))
        softening, slope = self.stretch / self.Q, LUPTON_FRACTION / np.arcsinh(LUPTON_FRACTION * self.Q)
        height = values.mean(axis=0)
        faint = height < 1e-12 * slope
        ratio = softening * np.sinh(height / slope) / np.where(faint, 1.0, height)
        scaled = values * np.where(faint, softening / slope, ratio)
        scales, minimum = per_band(self.scales, "scales", len(values)), per_band(self.minimum, "minimum", len(values))
        return np.asarray(scaled / scales + minimum)


@dataclass(frozen=True)
class LinearStretch(Stretch):
    r"""Linear stretch between two fluxes, each band by itself: :math:`d = (p - v_{min}) / (v_{max} - v_{min})`.

    Parameters
    ----------
    vmin, vmax : float or tuple of float
        Fluxes shown at 0 and at 1, one for all bands or one a band.

    Raises
    ------
    SurveyError
        For a parameter that is no number, or vmin not below vmax.

    Notes
    -----
    Fluxes outside [vmin, vmax] are lost: they come back as vmin or vmax.
    """

    kind: ClassVar[str] = "linear"
    vmin: float | tuple[float, ...]
    vmax: float | tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the parameters."""
        for name in ("vmin", "vmax"):
            set_checked(self, **{name: numbers(getattr(self, name), f"{name} of a {self.kind} stretch")})
        lowest, highest = np.atleast_1d(self.vmin), np.atleast_1d(self.vmax)
        if len({len(lowest), len(highest), 1}) > 2:
            raise SurveyError(f"vmin has {len(lowest)} values and vmax {len(highest)}; give one for all or one a band")
        if not np.all(lowest < highest):
            raise SurveyError(f"vmin {self.vmin} is not below vmax {self.vmax}; vmin is the flux shown black")

    def apply(self, planes: np.ndarray) -> np.ndarray:
        """Bring planes to display values; see `Stretch.apply`."""
        return np.asarray(np.clip(self._relative(observed(planes)), 0.0, 1.0))

    def invert(self, display: np.ndarray) -> np.ndarray:
        """Bring display values back to planes; see `Stretch.invert`."""
        return self._fluxes(np.clip(observed(display), 0.0, 1.0))

    def _relative(self, planes: np.ndarray) -> np.ndarray:
        """Fluxes with vmin at 0 and vmax at 1."""
        lowest, highest = per_band(self.vmin, "vmin", len(planes)), per_band(self.vmax, "vmax", len(planes))
        return np.asarray((planes - lowest) / (highest - lowest))

    def _fluxes(self, relative: np.ndarray) -> np.ndarray:
        """Undo `_relative`; both ends come back to the bit."""
        lowest, highest = per_band(self.vmin, "vmin", len(relative)), per_band(self.vmax, "vmax", len(relative))
        return np.asarray(lowest * (1.0 - relative) + highest * relative)


@dataclass(frozen=True)
class AsinhStretch(LinearStretch):
    r"""Asinh stretch between two fluxes, each band by itself.

    .. math::

        d = \frac{\operatorname{asinh}(x / a)}{\operatorname{asinh}(1 / a)}, \qquad
        x = \frac{p - v_{min}}{v_{max} - v_{min}},

    x clipped to [0, 1]: `astropy.visualization.AsinhStretch` on a `ManualInterval`.

    Parameters
    ----------
    vmin, vmax : float or tuple of float
        Fluxes shown at 0 and at 1, one for all bands or one a band.
    a : float
        Where the stretch turns from linear to logarithmic, as a part of vmax - vmin; above 0.

    Raises
    ------
    SurveyError
        For a parameter that is no number of its range, or vmin not below vmax.

    Notes
    -----
    Fluxes outside [vmin, vmax] are lost: they come back as vmin or vmax.
    """

    kind: ClassVar[str] = "asinh"
    a: float = 0.1

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        set_checked(self, a=number(self.a, "a of an asinh stretch", positive=True))

    def apply(self, planes: np.ndarray) -> np.ndarray:
        """Bring planes to display values; see `Stretch.apply`."""
        from astropy.visualization import AsinhStretch as Asinh

        return np.asarray(Asinh(self.a)(np.clip(self._relative(observed(planes)), 0.0, 1.0), clip=False))

    def invert(self, display: np.ndarray) -> np.ndarray:
        """Bring display values back to planes; see `Stretch.invert`."""
        values = np.clip(observed(display), 0.0, 1.0)
        return self._fluxes(self.a * np.sinh(values * np.arcsinh(1.0 / self.a)))


def make_stretch(source: Stretch | Mapping[str, Any]) -> Stretch:
    """Make a stretch from what a card or a run record says of it.

    Parameters
    ----------
    source : Stretch or mapping
        ``{"kind": "lupton", "stretch": 0.5, "Q": 8}``: the kind (lupton, asinh, linear) and its parameters. A
        stretch is returned as it is.

    Returns
    -------
    Stretch
        Equal to the one whose `Stretch.as_dict` was given.

    Raises
    ------
    SurveyError
        For a kind or a parameter that is not known, a missing parameter, or a value out of range.
    """
    if isinstance(source, Stretch):
        return source
    kinds: dict[str, type[Stretch]] = {kind.kind: kind for kind in (LuptonStretch, AsinhStretch, LinearStretch)}
    name = source.get("kind") if isinstance(source, Mapping) else None
    if not isinstance(name, str) or name not in kinds:
        seen = f"kind {name!r}" if isinstance(source, Mapping) else repr(source)
        raise SurveyError(f"a stretch needs a kind, one of {', '.join(kinds)}, and its parameters; not {seen}")
    kind = kinds[name]
    values = {name: value for name, value in source.items() if name != "kind"}
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise SurveyError(f"a stretch of kind {kind.kind} has no {', '.join(unknown)}; it has {', '.join(known)}")
    missing = [name for name in ("vmin", "vmax") if name in known and name not in values]
    if missing:
        raise SurveyError(f"a stretch of kind {kind.kind} needs {' and '.join(missing)}: the fluxes shown black, white")
    return kind(**values)


def _lupton_bands(values: np.ndarray) -> np.ndarray:
    """Refuse what the Lupton stretch has no intensity for."""
    if len(values) not in (1, 3):
        raise SurveyError(
            f"a lupton stretch is for one band or three, not {len(values)}; choose three bands, red first"
        )
    return values
