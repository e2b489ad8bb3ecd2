"""Errors of astro_galaxysd: each is a `GalaxySDError` and also the built-in error a caller would expect.

Every message says what was wrong, the value that was seen and the way out. Raise the most specific class:
`PromptError` for the text of a prompt, `ConditionError` for table columns and planned rows, `ImageError` for
pixels, `SurveyError` for what is said of a survey, `WeightsError` for model files, `PluginError` for plug-ins,
`OutputError` for what is written, `HubError` for what the Hugging Face Hub does not give or take.
"""

from __future__ import annotations

import copyreg
import difflib
from collections.abc import Iterable
from typing import Any

__all__ = [
    "ConditionError",
    "DomainError",
    "DomainWarning",
    "DuplicatePluginError",
    "GalaxySDError",
    "HubError",
    "HubNameError",
    "HubUnreachableError",
    "HubWarning",
    "ImageError",
    "MatchError",
    "MatchWarning",
    "MissingDependencyError",
    "NoRealRowsError",
    "OutputError",
    "OutputExistsError",
    "PluginError",
    "PluginWarning",
    "PromptError",
    "RowsLeftOutWarning",
    "SurveyError",
    "TrainingError",
    "UnknownNameError",
    "WeightsError",
]


class GalaxySDError(Exception):
    """Base of every error that astro_galaxysd raises on purpose."""


class ConditionError(GalaxySDError, ValueError):
    """A table, a column, a target or a count from which no conditions can be made."""


class PromptError(ConditionError):
    """A prompt that can't be parsed or does not fit the text encoder."""


class NoRealRowsError(ConditionError):
    """The target is known but no row of the table has it."""


class ImageError(GalaxySDError, ValueError):
    """Images that can't be read: ragged, empty, without a finite pixel, truncated, of an unknown kind."""


class SurveyError(GalaxySDError, ValueError):
    """A description of a survey's cutouts that contradicts itself or the cutouts."""


class MatchError(GalaxySDError, ValueError):
    """Drawn galaxies can't be given the survey's size, seeing, noise and sky; the message holds the numbers."""


class MatchWarning(UserWarning):
    """Drawn galaxies were matched to a survey only in part."""


class DomainError(GalaxySDError, ValueError):
    """The cutouts are unlike all that the weights were trained on; the message holds the numbers."""


class DomainWarning(UserWarning):
    """Some cutouts are unlike all that the weights were trained on."""


class RowsLeftOutWarning(UserWarning):
    """Rows whose cutouts can't be read were left out of the work; the table keeps them."""


class VersionsWarning(UserWarning):
    """A run goes on with other versions of the software than before; single pixels may differ by a grey level."""


class WeightsError(GalaxySDError, RuntimeError):
    """Model files that are missing, damaged or do not belong together."""


class TrainingError(GalaxySDError, RuntimeError):
    """A training run that can't start, go on or be trusted."""


class PluginError(GalaxySDError, RuntimeError):
    """A plug-in that is broken, or that raised while it worked; the message names it and its distribution."""


class PluginWarning(UserWarning):
    """A plug-in was left out, or failed where the work could go on without it."""


class DuplicatePluginError(PluginError):
    """Two plug-ins offer one name and that name was asked for."""


class OutputError(GalaxySDError, OSError):
    """Output that could not be written; nothing half-written is left under the final name.

    Attributes
    ----------
    result : Table or None
        The table that could not be written, so that what was drawn for it is not lost.
    """

    result: Any = None


class OutputExistsError(OutputError, FileExistsError):
    """The output is there already and overwriting was not allowed."""


class HubError(GalaxySDError, OSError):
    """Files that could not be fetched from the Hugging Face Hub or pushed to it; the message never holds a token."""


class HubNameError(HubError, ValueError):
    """What is no name of a repository on the Hub, or no revision of one."""


class HubUnreachableError(HubError, ConnectionError):
    """The Hub did not answer, or only that it is too busy."""


class HubWarning(UserWarning):
    """The Hub could not be asked; what it gave before was used."""


class MissingDependencyError(GalaxySDError, ImportError):
    """An optional package is needed; the message holds the pip line."""


class UnknownNameError(GalaxySDError, LookupError):
    """A name that nothing known has: a target, a generator, weights, a schema.

    Parameters
    ----------
    kind : str
        What was looked for, in words: ``"target"``.
    name : str
        The name that was asked for.
    known : iterable of str
        The names that exist; the nearest are suggested.
    hint : str, optional
        A further way out, appended to the message.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = sorted(set(known))
        near = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
        if near:
            way_out = f"did you mean {' or '.join(repr(n) for n in near)}?"
        else:
            way_out = f"known are {', '.join(known) if known else 'none'}."
        super().__init__(f"unknown {kind} {name!r}: {way_out}{' ' + hint if hint else ''}")

    def __reduce__(self) -> tuple[Any, ...]:
        """By its message, so that it comes back from another process."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]
