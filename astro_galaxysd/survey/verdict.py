r"""What is said of a survey's cutouts that are compared with those that weights were trained on.

In: for each row looked at, whether it lies outside. Out: a report, and a warning or an error. One cutout in a hundred
of the training survey itself lies outside, and few rows say little, so what decides is the share p that the numbers
exclude, the lower bound of Clopper & Pearson (1934) at 95 %:

.. math:: p = B^{-1}(0.05;\, x,\, n - x + 1)

with x of n rows outside and :math:`B^{-1}` the quantile of the beta distribution. Three rows give 0.37 at most.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from astro_galaxysd.errors import DomainError, DomainWarning
from astro_galaxysd.survey.domain import COLOUR, TINT, Domain

__all__ = ["REFUSED", "WARNED", "DomainReport", "at_least", "tell"]

#: Shares that are warned of and refused. ``benchmarks/domain.py`` measured for 200 SDSS test cutouts a case: untouched,
#: drawn by the weights, with noise of 10 grey levels or blurred by 2 px, 4 % of them at most lie outside; of galaxies
#: half as large, noise of 25 grey levels and squared values 23 to 43 %; of wrong orders of the bands 59 % or more; of
#: inverted values, galaxies a quarter as large, white noise, empty fields and photographs 99 % or more.
WARNED, REFUSED = 0.05, 0.5
_CONFIDENCE = 0.95


def at_least(outside: int, n: int) -> float:
    """Share of which `outside` of `n` rows show that no less lies outside: lower bound at 95 %.

    Parameters
    ----------
    outside, n : int

    Returns
    -------
    float
        In [0, 1); 0 for no row.

    Examples
    --------
    >>> round(at_least(3, 3), 2), round(at_least(20, 200), 3)
    (0.37, 0.067)
    """
    from scipy.special import betaincinv  # the quantile of the beta distribution

    return round(float(betaincinv(outside, n - outside + 1, 1 - _CONFIDENCE)), 6) if outside else 0.0


@dataclass(frozen=True)
class DomainReport:
    """How a survey's cutouts compare with those that weights were trained on.

    Parameters
    ----------
    weights : str
        Their name.
    domain : Domain
        Their record.
    n : int
        Cutouts looked at.
    far : dict of str to ndarray, shape (m,)
        Distances by kind; with `lost` rows they are n.
    lost : int
        Rows without a galaxy that could be brought to the frame of the weights; they lie outside.
    framed : bool
        Whether the galaxies were brought to that frame.
    left_out : int
        Rows chosen that can't be read; they count nowhere.
    note : str
        What stands for what.
    """

    weights: str
    domain: Domain = field(repr=False)
    n: int
    far: Mapping[str, np.ndarray] = field(repr=False)
    lost: int = 0
    framed: bool = False
    left_out: int = 0
    note: str = ""

    @property
    def outside(self) -> dict[str, int]:
        """Rows that lie outside, by kind; those without a galaxy do in looks."""
        counts = {kind: int((far > self.domain.limit(kind)).sum()) for kind, far in self.far.items()}
        return {kind: count + self.lost * (kind != TINT) for kind, count in counts.items()}

    @property
    def share(self) -> float:
        """Share of the rows that lie outside in looks or in tint, whichever is more."""
        return max(self.outside.values()) / self.n if self.n else 0.0

    @property
    def verdict(self) -> str:
        """``"inside"``, ``"warned"`` or ``"refused"``."""
        least = max(at_least(count, self.n) for count in self.outside.values())
        return "refused" if least > REFUSED else "warned" if least > WARNED else "inside"

    def text(self) -> str:
        """Several plain lines."""
        lines = [self._line(kind) for kind in self.far]
        if self.lost:
            lines.append(f"{self.lost} of {self.n} rows have no galaxy in the middle that could be measured")
        ends = {
            "inside": f"like the cutouts that {self.weights!r} was trained on",
            "warned": f"partly unlike the cutouts that {self.weights!r} was trained on",
            "refused": f"unlike all that {self.weights!r} was trained on",
        }
        # If not even all of them outside were refused, nothing can be said.
        few = at_least(self.n, self.n) <= REFUSED
        end = "too few to tell whether they are like those" if few else ends[self.verdict]
        return "\n".join([*lines, *filter(None, [self.note]), f"These cutouts are {end}."])

    def as_record(self) -> dict[str, Any]:
        """For the run record; JSON-ready."""
        kinds = {
            kind: {
                "outside": self.outside[kind],
                "median": round(float(np.median(far)), 4) if len(far) else None,
                "limit": round(self.domain.limit(kind), 4),
                "usual": round(self.domain.usual(kind), 4),
            }
            for kind, far in self.far.items()
        }
        return {
            "weights": self.weights, "verdict": self.verdict, "n": self.n, "share": round(self.share, 4),
            "framed": self.framed, "without_galaxy": self.lost, "left_out": self.left_out, "kinds": kinds,
            "note": self.note,
        }  # fmt: skip

    def _line(self, kind: str) -> str:
        far, what = self.far[kind], "tint" if kind == TINT else "looks"
        median = f"median distance {np.median(far):.3g}, " if len(far) else ""
        usual, limit = self.domain.usual(kind), self.domain.limit(kind)
        return (
            f"{what}: {self.outside[kind]} of {self.n} cutouts lie outside ({median}"
            f"held-out training cutouts {usual:.3g}, 99 % of them below {limit:.3g})"
        )


def tell(report: DomainReport, *, anyway: bool = False) -> None:
    """Warn of cutouts that are partly unlike what was trained on, refuse those that are unlike all of it.

    Parameters
    ----------
    report : DomainReport
    anyway : bool
        Warn in place of refusing.

    Raises
    ------
    DomainError
        If more than half of the rows must lie outside.

    Warns
    -----
    DomainWarning
        If more than 5 % must, or for what is not refused.
    """
    if report.verdict == "inside":
        return
    survey = f" ({report.domain.survey.upper()} cutouts)" if report.domain.survey else ""
    found = "; ".join(report.text().splitlines()[:-1])
    refused = report.verdict == "refused" and not anyway
    message = (
        f"{report.share:.0%} of {report.n} cutouts are unlike what weights {report.weights!r} were trained on{survey}: "
        f"{found}. What is drawn will not look like them. {_ways_out(report, refused)}"
    )
    if refused:
        raise DomainError(message)
    warnings.warn(message, DomainWarning, stacklevel=3)


def _ways_out(report: DomainReport, refused: bool) -> str:
    tinted = report.outside.get(TINT, 0) > report.outside.get(COLOUR, 0)
    ways = ["check that the bands go red, green, blue"] if tinted else []
    ways += [] if report.framed else ['give drawn galaxies the survey\'s size, seeing and sky with match="survey"']
    ways += [
        "declare another stretch (left out of the card, `galaxysd survey` suggests one)",
        "fine-tune weights (`galaxysd train finetune`)",
    ]
    ways += ["draw all the same with anyway=True (--anyway)"] if refused else []
    return f"Ways out: {', '.join(ways[:-1])}, or {ways[-1]}"
