"""What the objects behind the registered factories must do (structural types; nothing to inherit)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from astropy.table import Table

    from astro_galaxysd.records import ImageBatch

__all__ = ["Augmenter", "Embedder", "Evaluator", "Generator", "VoteDialect"]


@runtime_checkable
class Generator(Protocol):
    """Draws one image for every row of a conditions table.

    A generator may have an attribute ``card``, the `astro_galaxysd.records.WeightCard` of the weights that it draws
    with. Where `augment_table` is given a generator object, the card tells what those weights were trained on: the
    table's cutouts are compared with that before anything is drawn, and the seeing of drawn images is known where they
    are matched to a survey. Without it neither is.
    """

    def generate(self, conditions: Table, *, batch_size: int | None = None) -> ImageBatch:
        """Draw the images.

        Parameters
        ----------
        conditions : Table
            With columns ``prompt`` (str, weights in braces) and ``seed`` (int64).
        batch_size : int, optional
            Rows drawn together; never changes a row's pixels.

        Returns
        -------
        ImageBatch
            Same rows, same order.
        """
        ...


@runtime_checkable
class Evaluator(Protocol):
    """Judges synthetic images against real ones."""

    def evaluate(
        self,
        real: ImageBatch,
        synthetic: ImageBatch,
        *,
        reference: ImageBatch | None = None,
        embedder: Embedder | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> Table:
        """Return a Table: metric, group, value, error, n_real, n_synthetic, higher_is_better."""
        ...


@runtime_checkable
class Augmenter(Protocol):
    """Adds synthetic rows to a table."""

    def augment(
        self, table: Table, images: Any, generator: Generator, *, rng: np.random.Generator | int | None = None
    ) -> tuple[Table, ImageBatch]:
        """Return the planned rows as a Table and the images that belong to them."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """Turns images into feature vectors.

    An embedder may have an attribute ``revision``, a text: name and version of what it computes, and the commit or
    hash of its weights, as in ``"flow-features-2@9f31c0"``. Features are kept in a file under it and are taken from
    there as long as it stays the same. The features of an embedder without it, or with an empty one, are kept in the
    process only.
    """

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Map images to features.

        Parameters
        ----------
        images : ndarray, shape (N, H, W, 3), uint8
            N at least 1. Left as they are.

        Returns
        -------
        ndarray, shape (N, D), float32
            Finite. The features of an image depend on no other image, to rounding.
        """
        ...


@runtime_checkable
class VoteDialect(Protocol):
    """Reads and writes one dialect of vote columns."""

    name: str

    def columns(self, names: Sequence[str]) -> list[str]:
        """Vote columns of this dialect among `names`."""
        ...

    def read(self, table: Table) -> np.ndarray:
        """Conditional vote fractions, shape (N, 37), float64 in [0, 1]; NaN where a question was not asked."""
        ...

    def write(self, fractions: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Values of the columns `names` for conditional fractions of shape (N, 37); NaN where not asked."""
        ...
