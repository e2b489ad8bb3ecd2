"""The augmenter that draws new rows from the votes of real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_galaxysd import hookimpl
from astro_galaxysd.records import AugmenterSpec

if TYPE_CHECKING:
    from collections.abc import Iterator


@hookimpl
def galaxysd_register_augmenters() -> Iterator[AugmenterSpec]:
    """Offer the vote augmenter."""
    yield AugmenterSpec(
        "votes",
        "astro_galaxysd.augmentation.augmenter:VoteAugmenter",
        summary="New rows of a class, each with the votes of a real row of that class.",
    )
