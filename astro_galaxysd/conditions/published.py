"""The prompts of the published sample sheet (Ma et al. 2026, ApJS 282, 25), in the words of the tree."""

from __future__ import annotations

__all__ = ["PUBLISHED_PROMPTS"]

#: Drawn while a run is watched, shown beside real galaxies in a report.
PUBLISHED_PROMPTS = (
    "sdss, cigar shaped galaxy",
    "sdss, completely round galaxy",
    "sdss, edge-on galaxy",
    "sdss, in-between round galaxy",
    "sdss, ring galaxy",
    "sdss, spiral galaxy, 4 spiral arms",
    "sdss, spiral galaxy, loosely wound spiral arms, 2 spiral arms",
    "sdss, spiral galaxy, tightly wound spiral arms",
    "sdss, spiral galaxy, just noticeable bulge prominence",
    "sdss, spiral galaxy, obvious bulge prominence",
    "sdss, in-between round galaxy, {dust lane:1.3}",
    "sdss, edge-on galaxy, {dust lane:1.3}, with rounded edge-on bulge",
    "sdss, bar-shaped structure in the center of galaxy",
    "sdss, edge-on galaxy, with rounded edge-on bulge",
    "sdss, in-between round galaxy, merger",
    "sdss, spiral galaxy, just noticeable bulge prominence, merger",
)
