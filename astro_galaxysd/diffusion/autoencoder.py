"""The embedded autoencoder: galaxies in, latents of one vector for every 8x8 pixels out.

The encoder is the best *linear* code of its rate that looks beyond its own block: a strided convolution whose 24x24
pixel kernels overlap their neighbours' by 16 pixels, a lapped transform (Malvar & Staelin 1989), learnt in minutes from
principal components of blocks. It keeps what a block alone would have to say twice, and has no block borders. Latents
have unit variance and are uncorrelated, ordered by the light they carry. The decoder is the matching transposed
convolution plus a small convolutional network that sharpens what a linear decoder leaves blurred.

The kernels' phase within the block matters, which stock decoders that upsample by repetition can't express; so this is
a class of our own. `diffusers` pipelines load it after ``from astro_galaxysd import LappedAutoencoder``, by the name of
this module in ``model_index.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import nn
from torch.nn import functional

from astro_galaxysd.errors import ImageError

__all__ = [
    "BLOCK",
    "BlockComponents",
    "LappedAutoencoder",
    "block_components",
    "fit_linear_code",
    "psnr",
]

#: Pixels of a block's side; also the factor between image and latent side.
BLOCK = 8
_SUPPORT = 3 * BLOCK  # a block and its eight neighbours
_VALUES = 3 * BLOCK * BLOCK


class _Sharpen(nn.Module):
    """Residual blocks on latents; the last layer's output is a block of pixels."""

    def __init__(self, latent_channels: int, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(latent_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
            )
            for _ in range(depth)
        )
        self.last = nn.Conv2d(width, _VALUES, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)  # training starts at the linear decoder

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        hidden = self.first(latents)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return functional.pixel_shuffle(self.last(functional.silu(hidden)), BLOCK)


class _Decoder(nn.Module):
    """Transposed kernels plus the sharpening network."""

    def __init__(self, latent_channels: int, width: int, depth: int) -> None:
        super().__init__()
        self.kernels = nn.ConvTranspose2d(latent_channels, 3, _SUPPORT, stride=BLOCK, padding=2 * BLOCK)
        self.sharpen = _Sharpen(latent_channels, width, depth)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        # blocks beyond the border repeat the outermost ones
        around = functional.pad(latents, (1, 1, 1, 1), mode="replicate")
        pixels: torch.Tensor = self.kernels(around) + self.sharpen(latents)
        return pixels


class LappedAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A lapped linear code of images and its decoder, as `diffusers` pipelines use an autoencoder.

    Parameters
    ----------
    latent_channels : int
        Numbers for every 8x8 pixels.
    width, depth : int
        Channels and residual blocks of the network that sharpens the linear decoder's output.
    scaling_factor : float
        Pipelines multiply latents by it; latents have unit variance already.
    block_out_channels : tuple of int
        Only its length is used, by pipelines: an image is ``2 ** (length - 1)`` times as large as its latents.

    References
    ----------
    Malvar, H. S. & Staelin, D. H. 1989, IEEE Trans. ASSP 37, 553.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 20,
        width: int = 96,
        depth: int = 3,
        scaling_factor: float = 1.0,
        block_out_channels: tuple[int, ...] = (1, 1, 1, 1),
    ) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, latent_channels, _SUPPORT, stride=BLOCK)
        self.decoder = _Decoder(latent_channels, width, depth)

    def encode(self, x: torch.Tensor, return_dict: bool = True) -> AutoencoderTinyOutput | tuple[torch.Tensor]:
        """Latents of pixels.

        Parameters
        ----------
        x : Tensor, shape (N, 3, H, W), in [-1, 1]
            H and W multiples of 8, at least 16.
        return_dict : bool
            Whether to return an object with an attribute `latents`, or a tuple.

        Returns
        -------
        object or tuple
            Latents of shape (N, latent_channels, H / 8, W / 8).

        Raises
        ------
        ImageError
            For images of another size.
        """
        _check_size(*x.shape[-2:])
        latents = self.encoder(functional.pad(x, (BLOCK,) * 4, mode="reflect"))
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    def decode(
        self, z: torch.Tensor, generator: torch.Generator | None = None, return_dict: bool = True
    ) -> DecoderOutput | tuple[torch.Tensor]:
        """Pixels of latents: the inverse of `encode`, approximately.

        Parameters
        ----------
        z : Tensor, shape (N, latent_channels, h, w)
        generator : torch.Generator, optional
            Not used; pipelines hand one over.
        return_dict : bool
            Whether to return an object with an attribute `sample`, or a tuple.
        """
        pixels = self.decoder(z)
        return DecoderOutput(sample=pixels) if return_dict else (pixels,)

    @property
    def amplitudes(self) -> torch.Tensor:
        """Light that one unit of each latent channel carries: root of the sum of squares of its kernel, shape (K,)."""
        amplitudes: torch.Tensor = self.decoder.kernels.weight.detach().flatten(1).square().sum(1).sqrt()
        return amplitudes


def _check_size(height: int, width: int) -> None:
    if height % BLOCK or width % BLOCK or min(height, width) < 2 * BLOCK:
        raise ImageError(
            f"images of {height}x{width} px can't be encoded: sides must be multiples of {BLOCK}, {2 * BLOCK} or more; "
            "bring them to such a size with fit_size"
        )


@dataclass(frozen=True)
class BlockComponents:
    """Principal components of 8x8x3 blocks.

    Parameters
    ----------
    mean : ndarray, shape (192,)
        Mean block, in [0, 1].
    axes : ndarray, shape (K, 192)
        Orthonormal components, rows, colours slowest.
    scale : ndarray, shape (K,)
        Standard deviation along each component.
    """

    mean: np.ndarray
    axes: np.ndarray
    scale: np.ndarray


def block_components(images: np.ndarray, n_components: int) -> BlockComponents:
    """Principal components of the blocks of many images.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
        H and W multiples of 8.
    n_components : int
        Numbers a block is coded with.
    """
    total, outer, count = np.zeros(_VALUES), np.zeros((_VALUES, _VALUES)), 0
    for start in range(0, len(images), 256):
        blocks = _blocks(images[start : start + 256]).reshape(-1, _VALUES)
        total += blocks.sum(axis=0)
        outer += blocks.T @ blocks
        count += len(blocks)
    mean = total / count
    values, vectors = np.linalg.eigh(outer / count - np.outer(mean, mean))
    order = np.argsort(values)[::-1][:n_components]
    axes = vectors[:, order].T
    axes *= np.where(axes.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)  # a fixed sign, else it depends on LAPACK
    return BlockComponents(mean, axes, np.sqrt(values[order].clip(min=0)))


def _blocks(images: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) uint8 to (N, h, w, 192) in [0, 1], ordered colour, row, column."""
    n, height, width, _ = images.shape
    split = images.reshape(n, height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3)
    return split.transpose(0, 1, 3, 5, 2, 4).reshape(n, height // BLOCK, width // BLOCK, _VALUES) / 255.0


def fit_linear_code(
    model: LappedAutoencoder, images: np.ndarray, *, steps: int = 4000, batch_size: int = 24, seed: int = 0
) -> None:
    """Learn the encoder and the transposed kernels of the decoder, in place.

    Encoder and decoder are 3x3 convolutions over blocks, with the blocks' principal components as channels: they start
    at the code of the blocks alone, and Adam lowers the squared error of the pixels. The latents are then turned so
    that they are uncorrelated and of unit variance over `images`, and ordered by the light they carry, which leaves
    what the decoder gives unchanged.

    Parameters
    ----------
    model : LappedAutoencoder
    images : ndarray, shape (N, H, W, 3), uint8
    steps, batch_size : int
        Steps of Adam; images a step.
    seed : int
        Chooses the batches.
    """
    channels = model.config.latent_channels
    code = block_components(images, _VALUES)
    kept = min(_VALUES, max(48, 2 * channels))
    axes = torch.from_numpy(code.axes).float()
    mean = torch.from_numpy(code.mean).float()
    scale = torch.from_numpy(code.scale).float().clamp_min(1e-6)
    encoder = nn.Conv2d(kept, channels, 3, padding=1, padding_mode="replicate")
    decoder = nn.Conv2d(channels, _VALUES, 3, padding=1, padding_mode="replicate")
    with torch.no_grad():
        for parameter in (*encoder.parameters(), *decoder.parameters()):
            parameter.zero_()
        for k in range(channels):
            encoder.weight[k, k, 1, 1] = 1 / scale[k]
            decoder.weight[k, k, 1, 1] = scale[k]
    rng = np.random.default_rng([seed, 0xC0DE])

    def batch() -> torch.Tensor:
        rows = rng.integers(0, len(images), batch_size)
        pixels = torch.from_numpy(_blocks(images[rows])).float()
        return ((pixels - mean) @ axes.T).permute(0, 3, 1, 2)

    rates = (3e-3, 2e-4)  # components are normalised on the encoder's side, pixels on the decoder's
    optimizer = torch.optim.Adam([{"params": layer.parameters()} for layer in (encoder, decoder)])
    for step in range(steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1.0, 2 * (1 - step / steps))
        blocks = batch()
        error = (decoder(encoder(blocks[:, :kept])) - blocks).square().sum(1).mean()
        error.backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        some = torch.cat([encoder(batch()[:, :kept]) for _ in range(max(1, 2000 // batch_size))])
        turn, back, offset = _whitening(some, decoder.weight)
        _write_code(model, encoder, decoder, (turn, back, offset), axes, mean)


def _whitening(latents: torch.Tensor, kernels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Matrices that turn latents into uncorrelated ones of unit variance ordered by light, and back; their mean."""
    flat = latents.permute(1, 0, 2, 3).flatten(1).double()
    offset = flat.mean(1)
    values, vectors = torch.linalg.eigh(torch.cov(flat))
    root = vectors * values.clamp_min(1e-12).sqrt()  # latents = root @ white + offset
    light = kernels.double().permute(1, 0, 2, 3).flatten(1)  # (K, everything a latent writes)
    white_light = root.T @ light
    _, turned = torch.linalg.eigh(white_light @ white_light.T)
    turned = turned.flip(1)
    signs = torch.where((turned.T @ white_light).sum(1) < 0, -1.0, 1.0).double()
    back = root @ turned * signs
    return torch.linalg.inv(back), back, offset


def _write_code(
    model: LappedAutoencoder,
    encoder: nn.Conv2d,
    decoder: nn.Conv2d,
    whitening: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    axes: torch.Tensor,
    mean: torch.Tensor,
) -> None:
    """Write 3x3 convolutions over components of blocks as 24x24-pixel kernels between pixels in [-1, 1] and latents."""
    turn, back, offset = whitening
    kept, channels = encoder.in_channels, encoder.out_channels
    # from components to pixels: [K, kept, 3, 3] -> [K, 3, 24, 24]
    taps = torch.einsum("lk,kjab,jp->lpab", turn, encoder.weight.double(), axes[:kept].double())
    kernel = taps.reshape(channels, 3, BLOCK, BLOCK, 3, 3).permute(0, 1, 4, 2, 5, 3)
    kernel = kernel.reshape(channels, 3, _SUPPORT, _SUPPORT)
    mean_image = mean.double().reshape(3, BLOCK, BLOCK).repeat(1, 3, 3)
    biases = [cast("torch.Tensor", layer.bias).double() for layer in (encoder, decoder)]
    bias = turn @ (biases[0] - offset) - (kernel * mean_image).sum((1, 2, 3))
    # pixels come in as 2 p - 1
    model.encoder.weight.copy_(kernel / 2)
    cast("torch.Tensor", model.encoder.bias).copy_(bias + kernel.sum((1, 2, 3)) / 2)

    written = torch.einsum("jkab,kl,jp->lpab", decoder.weight.double(), back, axes.double())
    # a block writes where its neighbour's tap reads: the taps are mirrored
    written = written.flip(2, 3).reshape(channels, 3, BLOCK, BLOCK, 3, 3).permute(0, 1, 4, 2, 5, 3)
    model.decoder.kernels.weight.copy_(2 * written.reshape(channels, 3, _SUPPORT, _SUPPORT))
    constant = torch.einsum("jkab,k->j", decoder.weight.double(), offset) + biases[1]
    block = constant @ axes.double() + mean.double()
    # the block that latents of zero stand for
    cast("torch.Tensor", model.decoder.sharpen.last.bias).copy_(2 * block - 1)
    cast("torch.Tensor", model.decoder.kernels.bias).zero_()


def psnr(images: np.ndarray, others: np.ndarray) -> float:
    """Peak signal-to-noise ratio over all pixels, dB, for uint8 images of equal shape."""
    error = np.mean((images.astype(np.float64) - others.astype(np.float64)) ** 2)
    return float(10 * np.log10(255.0**2 / error)) if error else float("inf")
