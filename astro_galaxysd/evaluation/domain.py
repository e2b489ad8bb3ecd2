"""Cutouts to the numbers by which they are told from what weights were trained on, and the record of that.

In: training and held-out cutouts. Out: a `astro_galaxysd.survey.domain.Domain`, written beside the weights.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.seeds import stream
from astro_galaxysd.evaluation.embedders import DEFAULT_EMBEDDER, make_embedder
from astro_galaxysd.survey.domain import (
    COLOUR,
    FEWEST,
    GREY,
    NEIGHBOURS,
    TINT,
    Domain,
    as_grey,
    make_domain,
    tints,
    write_domain,
)
from astro_galaxysd.survey.sizes import find_galaxy

if TYPE_CHECKING:
    from astro_galaxysd.plugins.protocols import Embedder

__all__ = ["domain_numbers", "embedder_revision", "measure_domain", "median_radius", "record_domain"]

logger = logging.getLogger(__name__)

#: Training cutouts whose numbers are kept: with 64 features in colour and in grey they are 0.4 MB.
_KEPT = 1400
_HELD_OUT = 1000
#: Galaxies whose radius is measured; their median is known to 2 % then.
_MEASURED = 200
#: Images a batch.
_BATCH = 256


def embedder_revision(embedder: Embedder) -> str:
    """Revision of an embedder, empty where it has none."""
    return str(getattr(embedder, "revision", "") or "")


def domain_numbers(
    images: np.ndarray, kinds: tuple[str, ...] = (COLOUR, GREY, TINT), *, embedder: Embedder | None = None
) -> dict[str, np.ndarray]:
    """Numbers of cutouts, by kind.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
        Display images, H and W at least 16.
    kinds : tuple of str
        Of `astro_galaxysd.survey.domain`.
    embedder : Embedder, optional
        By default our own.

    Returns
    -------
    dict of str to ndarray, shape (N, D), float

    Raises
    ------
    ImageError
        For other images.
    """
    embedder = make_embedder() if embedder is None else embedder
    found: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
    for start in range(0, len(images), _BATCH):
        part = images[start : start + _BATCH]
        for kind in kinds:
            if kind == TINT:
                found[kind].append(tints(part))
            else:
                found[kind].append(embedder.embed(as_grey(part) if kind == GREY else part))
    return {kind: np.concatenate(pieces) for kind, pieces in found.items()}


def measure_domain(training: np.ndarray, held_out: np.ndarray | None = None, **facts: Any) -> Domain | None:
    """Measure what weights were trained on.

    Parameters
    ----------
    training : ndarray, shape (N, H, H, 3), uint8
        Cutouts that were trained on; 1,400 of them at most are kept, always the same.
    held_out : ndarray, shape (M, H, H, 3), uint8, optional
        Cutouts of the same survey that were not. Where there are fewer than 100, every third of the training cutouts
        takes their place: the embedder that measures did not learn from the weights' training set, or not from it
        alone.
    **facts
        ``bands``, ``survey``, ``radius``, ``seeing`` of `astro_galaxysd.survey.domain.Domain`; the radius is measured
        unless given.

    Returns
    -------
    Domain or None
        None where there are too few cutouts to say anything.

    Raises
    ------
    ImageError
        For images of another kind.
    """
    order = stream(0, "domain").permutation(len(training))
    if held_out is None or len(held_out) < FEWEST:
        held_out, order = training[np.sort(order[::3])], np.delete(order, np.s_[::3])
    if len(held_out) < FEWEST or len(order) < NEIGHBOURS:
        return None
    embedder = make_embedder()
    kept = training[np.sort(order[:_KEPT])]
    others = held_out[np.sort(stream(0, "held out").permutation(len(held_out))[:_HELD_OUT])]
    facts.setdefault("radius", median_radius(kept[:_MEASURED]))
    parts = (domain_numbers(images, embedder=embedder) for images in (kept, others))
    return make_domain(
        *parts, embedder=DEFAULT_EMBEDDER, revision=embedder_revision(embedder), image_size=kept.shape[1], **facts
    )


def record_domain(
    folder: str | os.PathLike[str],
    training: np.ndarray,
    held_out: np.ndarray | None = None,
    *,
    known: Domain | None = None,
) -> Domain | None:
    """Write the record of a training set beside the weights, where there are cutouts enough for one.

    Parameters
    ----------
    folder : path
        Of the weights.
    training, held_out
        As `measure_domain`.
    known : Domain, optional
        The record of an earlier part of the same run, which is taken as it is.

    Returns
    -------
    Domain or None

    Raises
    ------
    OutputError
        If it can't be written.
    """
    domain = measure_domain(training, held_out) if known is None else known
    if domain is None:
        logger.info("%d cutouts are too few to say of others whether they are like them", len(training))
    else:
        write_domain(domain, folder)
    return domain


def median_radius(images: np.ndarray) -> float:
    """Median R90 of the galaxies in display images, shape (N, H, W, 3), in pixels; 0 where none was found."""
    galaxies = (find_galaxy(np.moveaxis(image, -1, 0).astype(float)) for image in images)
    radii = [galaxy.r90 for galaxy in galaxies if galaxy is not None]
    return float(np.median(radii)) if radii else 0.0
