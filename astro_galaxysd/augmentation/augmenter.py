"""The built-in augmenter: plan by votes, draw, hand rows and images back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro_galaxysd.augmentation.plan import plan_augmentation
from astro_galaxysd.errors import ConditionError, PluginError

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.conditions.seeds import RNG
    from astro_galaxysd.plugins.protocols import Generator
    from astro_galaxysd.records import ImageBatch

__all__ = ["VoteAugmenter"]


class VoteAugmenter:
    """Augments a class with the conditions of its real rows (the `Augmenter` protocol).

    Parameters
    ----------
    batch_size : int, optional
        Rows drawn together; never changes a row's pixels.
    **options
        Of `plan_augmentation`: ``target``, ``n``, ``ratio``, ``compose``, ``schema``, ``labels`` ...
        Those given to `augment` come before them.

    Examples
    --------
    >>> augmenter = VoteAugmenter(target="merger", n=50)
    >>> rows, batch = augmenter.augment(table, None, generator, rng=0)  # doctest: +SKIP
    """

    def __init__(self, *, batch_size: int | None = None, **options: Any) -> None:
        self.batch_size = batch_size
        self.options = options

    def augment(
        self, table: Table, images: Any, generator: Generator, *, rng: RNG = None, **options: Any
    ) -> tuple[Table, ImageBatch]:
        """Plan rows and draw their images.

        Parameters
        ----------
        table : Table
            Real galaxies.
        images : object
            Their images; votes alone say what is drawn, so they are not looked at.
        generator : Generator
        rng : None, int, SeedSequence or Generator
            Randomness of the plan; the images follow from its seeds.
        **options
            Of `plan_augmentation`.

        Returns
        -------
        (Table, ImageBatch)
            The planned rows and their images, in the same order.

        Raises
        ------
        ConditionError
            If no target is given, and as `plan_augmentation` raises.
        PluginError
            If the generator returns another number of images than there are rows.
        """
        chosen = {**self.options, **options}
        if "target" not in chosen:
            raise ConditionError("no target given; pass target=, for example VoteAugmenter(target='merger', n=50)")
        plan = plan_augmentation(table, rng=rng, **chosen)
        batch = generator.generate(plan, batch_size=self.batch_size)
        if len(batch) != len(plan):
            raise PluginError(
                f"generator {type(generator).__name__} returned {len(batch)} images for {len(plan)} rows; "
                "it must return one image a row, in order"
            )
        return plan, batch
