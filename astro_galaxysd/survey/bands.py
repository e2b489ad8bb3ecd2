"""Bands of a survey: their names, the columns and planes they are in, and what weights make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro_galaxysd.errors import SurveyError
from astro_galaxysd.survey.card_values import make_names

if TYPE_CHECKING:
    from astro_galaxysd.survey.card import Survey

__all__ = ["LUMINANCE", "check_bands", "check_planes", "make_bands", "make_columns", "say_bands"]

#: Bands of a survey whose cutouts have one band that stands for brightness.
LUMINANCE = "luminance"


def make_bands(bands: Any) -> tuple[str, ...] | str:
    """Check the bands.

    Parameters
    ----------
    bands : str or iterable of str
        Names; a text is one name.

    Returns
    -------
    tuple of str or "luminance"

    Raises
    ------
    SurveyError
        If they are no names, one is there twice, or luminance is one of several.
    """
    names = make_names("bands", (bands,) if isinstance(bands, str) else bands)
    if LUMINANCE in names and len(names) > 1:
        raise SurveyError(f'bands {names}: "luminance" stands alone; name the three bands, red first, or it alone')
    return LUMINANCE if names == (LUMINANCE,) else names


def make_columns(columns: Any) -> str | tuple[str, ...] | None:
    """Check the columns.

    Parameters
    ----------
    columns : str or iterable of str, optional
        One for the whole cutout, or one a band.

    Returns
    -------
    str, tuple of str or None

    Raises
    ------
    SurveyError
        If they are no names, or one is there twice.
    """
    if columns is None or (isinstance(columns, str) and columns.strip()):
        return columns
    return make_names("columns", columns)


def check_planes(
    bands: tuple[str, ...] | str, columns: str | tuple[str, ...] | None, planes: tuple[str, ...] | None
) -> None:
    """Check columns and planes against the bands.

    Parameters
    ----------
    bands, columns, planes : tuple of str, str or None
        As `make_bands`, `make_columns` and `make_names` give them.

    Raises
    ------
    SurveyError
        If there are not as many columns as bands, a band is none of the planes, or columns of single bands are said
        to have planes.
    """
    names = (bands,) if isinstance(bands, str) else bands
    if isinstance(columns, tuple) and len(columns) != len(names):
        raise SurveyError(
            f"{len(columns)} columns, {', '.join(columns)}, for {len(names)} bands, {', '.join(names)}; name one "
            "column with the whole cutout, or one for each band in the same order"
        )
    if planes is None:
        return
    if isinstance(columns, tuple) and len(columns) > 1:
        raise SurveyError(f"planes {planes} with one column a band; name one column with the whole cutout")
    missing = [band for band in names if band not in planes]
    if missing:
        raise SurveyError(f"bands {', '.join(missing)} are not among the planes {', '.join(planes)}; name them alike")


def say_bands(bands: tuple[str, ...] | str) -> str:
    """Write bands for a message.

    Parameters
    ----------
    bands : tuple of str or "luminance"
        As `make_bands` gives them.

    Returns
    -------
    str
        ``"i, r, g"``.
    """
    return bands if isinstance(bands, str) else ", ".join(bands)


def check_bands(survey: Survey, known: tuple[str, ...] = ("i", "r", "g"), weights: str = "the weights") -> str:
    """Say whether weights can draw galaxies in a survey's bands.

    Parameters
    ----------
    survey : Survey
        Of the cutouts.
    known : tuple of str
        Bands that the weights draw: red, green, blue.
    weights : str
        Name of the weights, for messages.

    Returns
    -------
    str
        What stands for what, for reports; empty where the bands are the same.

    Raises
    ------
    SurveyError
        For one band that is not luminance, two bands, more than three, or the known bands in another order.
    """
    draws = f"{weights} draw bands {', '.join(known)} as red, green, blue"
    if survey.luminance:
        return f"{draws}; the mean of the three stands for luminance"
    names = ", ".join(survey.bands)
    if len(survey.bands) == 1:
        raise SurveyError(
            f"{draws}; they know no images of the single band {names!r}. If it may stand for brightness, declare "
            'bands="luminance"'
        )
    if len(survey.bands) != len(known):
        if isinstance(survey.columns, tuple) and len(survey.columns) > 1:
            said = "bands=(red, green, blue), columns=(of red, of green, of blue)"
        else:
            said = f"bands=(red, green, blue), planes=({names}), the order of all planes in a cutout"
        raise SurveyError(
            f"{draws}; the survey has {len(survey.bands)} bands, {names}. Choose three, red first: {said}"
        )
    if survey.bands == known:
        return ""
    if sorted(survey.bands) == sorted(known):
        raise SurveyError(
            f"{draws}; bands={survey.bands} would show {survey.bands[0]} as red. Declare bands={known}, "
            f"{_in_order(survey, known)}"
        )
    return f"{draws}; the survey's {names} stand for them"


def _in_order(survey: Survey, known: tuple[str, ...]) -> str:
    """Where the bands are once they are declared in another order."""
    if isinstance(survey.columns, tuple) and len(survey.columns) > 1:
        column = dict(zip(survey.bands, survey.columns, strict=True))
        return f"and their columns in the same order: columns={tuple(column[band] for band in known)}"
    planes = f"and the order of the planes in a cutout: planes={survey.planes or survey.bands}"
    if survey.columns is None and survey.planes is None:
        planes += "; with a column for each band name the columns in the order of the bands instead"
    return planes
