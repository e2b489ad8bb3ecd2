r"""What galaxies look like, in numbers that gradients pass through: for training that compares drawn with real ones.

In: pixels of shape (N, 3, S, S) in [-1, 1]. Out: blocks of numbers, each brought to a mean distance of about 1 between
two real images, and what a reader of votes answers. The blocks are

- ``semantics``: what the reader knows of an image before it answers,
- ``embedding``: what an embedder, which looks at no votes, says of it; where there is one,
- ``texture``: means and deviations over the image of what the reader sees at each of its sizes, a block a size,
- ``profile``: :math:`\operatorname{arsinh}` of the light in rings about the middle, colour by colour,
- ``power``: logarithm of the power spectrum in rings of frequency, of the luminance and of two colours, a block each,
- ``lattice``: mean sky, and mean detail of the galaxy, at each place within 8x8 pixels, of which latents are made:
  patterns that repeat stand out,
- ``grain``: logarithm of the power of the galaxy's detail by frequency and direction,
- ``mottle``: logarithm of how much light and colours, compressed, vary along rings about the middle,
- ``around``: logarithm of the power of light and a colour by number of turns along circles, and how well the first keep
  their angle from ring to ring,
- ``border``: level and logarithm of the noise at five depths below the border,
- ``scalars``: flux, two colours, sky level of each colour, sky noise, asymmetry, ellipticity, size, each by itself.

Reader and embedder must be none of those that ship, which report on weights and choose among them: what was drawn for
one reader looks too good to it.
"""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch

from astro_galaxysd.errors import ImageError, TrainingError
from astro_galaxysd.evaluation.embedding import GalaxyEmbedder
from astro_galaxysd.evaluation.measures import SMALLEST, TILE, measure_pixels, moments
from astro_galaxysd.evaluation.networks import seen
from astro_galaxysd.evaluation.reader import reached
from astro_galaxysd.evaluation.reading import READERS, ImageReader, divergence, fractions_of
from astro_galaxysd.learning.energy import energy_score
from astro_galaxysd.learning.views import moved, pixels_of

__all__ = ["TAKEN", "WEIGHTS", "Appearance", "Look"]

#: What the readers that ship are for.
TAKEN = {"reporting": "reports on weights", "choosing": "chooses guidance and which rows are kept"}
#: What a block counts in a sum over blocks; each size of texture, plane of power, lattice and scalar by itself.
WEIGHTS = {
    "semantics": 2.0, "embedding": 4.0, "texture": 0.5, "profile": 1.0, "power": 2.0, "lattice": 1.0, "grain": 2.0,
    "mottle": 2.0, "around": 2.0, "border": 2.0, "scalars": 2.0,
}  # fmt: skip
#: Real images that distances are measured on, and the fewest that will do.
_SAMPLE, _FEWEST, _BATCH = 1024, 32, 64
#: Directions in which real images vary less than this share of the largest count as if they varied so much.
_LEAST_SHARE = 0.02
#: Scalars that vary less, and blocks whose widest direction does, are left out; scalars of SDSS vary by 0.17 to 2.3.
_LEAST_SPREAD = 1e-3


class Look(NamedTuple):
    """Blocks of numbers by name, each of shape (N, D); log fractions of the answers, shape (N, 37)."""

    blocks: dict[str, torch.Tensor]
    answers: torch.Tensor


class Appearance:
    """Looks at images.

    Parameters
    ----------
    reader : ImageReader
        Stays as it is.
    images : ndarray, shape (N, S, S, 3), uint8
        Real images, at least 32, of which up to 1,024 say what a distance is.
    embedder : GalaxyEmbedder, optional
        Stays as it is too; without one there is no block ``embedding``.
    rng : int
        Chooses the images that say what a distance is.
    device : torch.device

    Raises
    ------
    TrainingError
        For a reader or an embedder that ships, and too few images.
    ImageError
        If the images have another size than reader and embedder learnt from, or one that can't be measured.
    """

    def __init__(
        self,
        reader: ImageReader,
        images: np.ndarray,
        *,
        embedder: GalaxyEmbedder | None = None,
        rng: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        _check(reader, embedder, images)
        # copies: the caller's stay where they are, and may go on learning
        self._network = deepcopy(reader.network).to(device).requires_grad_(False)
        self._embedder = None if embedder is None else deepcopy(embedder.network).to(device).requires_grad_(False)
        self.side = int(images.shape[1])
        self.revisions = {"reader": reader.revision, "embedder": "" if embedder is None else embedder.revision}
        chosen = np.random.default_rng(rng).permutation(len(images))[:_SAMPLE]
        with torch.no_grad():
            parts = [
                self._measure(pixels_of(images[chosen[start : start + _BATCH]], device))[0]
                for start in range(0, len(chosen), _BATCH)
            ]
        known = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        self._scales = {
            name: (_scalar_scale if name == "scalars" else _scale)(values) for name, values in known.items()
        }

    def __call__(self, pixels: torch.Tensor, shift: tuple[int, int] = (0, 0)) -> Look:
        """Numbers of images.

        Parameters
        ----------
        pixels : Tensor, shape (N, 3, S, S)
            In [-1, 1].
        shift : tuple of int
            Pixels down and to the right by which the images are moved before reader and embedder see them. Moved
            otherwise each time, no fine pattern pleases them by where it lies on their own raster.

        Returns
        -------
        Look
        """
        found, answers = self._measure(pixels, shift)
        blocks = {name: (values - self._scales[name][0]) @ self._scales[name][1] for name, values in found.items()}
        return Look(blocks, fractions_of(answers, logarithm=True))

    def score(self, first: Look, second: Look, real: Look) -> torch.Tensor:
        """Energy score of two draws for each condition, all blocks together, shape (N,)."""
        looks = (first.blocks, second.blocks, real.blocks)
        return torch.stack([_block_score(name, *(look[name] for look in looks)) for name in real.blocks]).sum(dim=0)

    def divergence(self, drawn: Look, fractions: np.ndarray) -> torch.Tensor:
        """Divergence of what the reader answers from votes, question by question as a reader learns them.

        Parameters
        ----------
        drawn : Look
        fractions : ndarray, shape (N, 37)
            Conditional vote fractions, NaN where not asked.

        Returns
        -------
        Tensor, shape (N,)
        """
        device = drawn.answers.device
        votes = torch.from_numpy(np.nan_to_num(fractions)).float().to(device)
        shares = torch.from_numpy(reached(fractions)).float().to(device)
        return divergence(drawn.answers, votes, shares)

    def _measure(
        self, pixels: torch.Tensor, shift: tuple[int, int] = (0, 0)
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        shown = moved(pixels, *shift)
        levels, semantics, answers = self._read(shown)
        found = {f"texture_{size}": moments(level) for size, level in levels.items()} | {"semantics": semantics}
        if self._embedder is not None:
            found["embedding"] = self._embedder(seen(shown))
        return found | measure_pixels(pixels), answers

    def _read(self, pixels: torch.Tensor) -> tuple[dict[int, torch.Tensor], torch.Tensor, torch.Tensor]:
        """The reader's last view at each size, what it knows at last, and its answers."""
        levels: dict[int, torch.Tensor] = {}
        *before, last = self._network.children()
        hidden = seen(pixels)
        for layer in before:
            hidden = layer(hidden)
            if hidden.ndim == 4 and hidden.shape[-1] > 1:
                levels[int(hidden.shape[-1])] = hidden
        return levels, hidden, last(hidden)


def _block_score(name: str, *looks: torch.Tensor) -> torch.Tensor:
    weight = WEIGHTS[name.partition("_")[0]]
    if name == "scalars":  # each by itself: together, one of them would hide behind the others
        return weight * energy_score(*(look[..., None] for look in looks)).sum(dim=1)
    return weight * energy_score(*looks)


def _check(reader: ImageReader, embedder: GalaxyEmbedder | None, images: np.ndarray) -> None:
    for name, told in TAKEN.items():
        if reader.revision == ImageReader.load(name).revision:
            raise TrainingError(
                f"{READERS[name]} {told}, so it can't teach them; train another one with `galaxysd train reader "
                "--preset choosing --set seed=31`"
            )
    if embedder is not None and embedder.revision == GalaxyEmbedder().revision:
        raise TrainingError(
            "the embedder that ships reports on weights, so it can't teach them; train another one with `galaxysd "
            "train embedder --set architecture=plain --set seed=47`"
        )
    if len(images) < _FEWEST:
        raise TrainingError(f"{len(images)} real images to compare with; give at least {_FEWEST}")
    side = int(images.shape[1])
    if side < SMALLEST or side % TILE:
        raise ImageError(
            f"images of {side} px: the side must be a multiple of {TILE}, {SMALLEST} or more; bring them to one with "
            "fit_size, or set image_size"
        )
    for kind, facts in {"reader": reader.facts, **({"embedder": embedder.facts} if embedder else {})}.items():
        if side != int(facts["image_size"]):
            raise ImageError(
                f"images of {side} px for one {kind} of {facts['image_size']} px; train {kind}s on such images, or "
                "bring them to its size with fit_size"
            )


def _scale(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean, and directions of a block: half whitened, so that large differences count more, but not alone.

    Directions in which real images hardly vary are kept: what is drawn must not vary there either. A block that varies
    in none, such as colours where all real images are grey, has no scale and is left out.
    """
    mean = values.mean(dim=0)
    variances, axes = torch.linalg.eigh(torch.cov(values.T.double()))
    spread = variances.clamp_min(0).sqrt().float()
    if float(spread.max()) < _LEAST_SPREAD:
        return mean, torch.zeros_like(axes, dtype=torch.float32)
    turned = axes.float() / spread.clamp_min(_LEAST_SHARE * float(spread.max()) + 1e-12).sqrt()
    points = (values - mean) @ turned
    half = len(points) // 2
    return mean, turned / (points[:half] - points[half : 2 * half]).norm(dim=1).mean()


def _scalar_scale(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    spread = values.std(dim=0)
    # what is the same in all real images says nothing, such as the level of a sky too bright to be taken for one
    return values.mean(dim=0), torch.diag(torch.where(spread > _LEAST_SPREAD, 1 / spread, 0.0))
