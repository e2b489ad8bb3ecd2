"""The embedded autoencoder: galaxies in, latents of 8x8-pixel blocks out.

The encoder starts, and stays unless it is trained on, at the optimal *linear* code of its rate: the principal
components of 8x8x3 blocks, written exactly into the strided convolutions of a stock `diffusers.AutoencoderTiny`
without nonlinear blocks. Two strided convolutions gather 4x4 pixels into 48 channels; the third projects four of
those onto the components. Latents have unit variance a channel and are uncorrelated. Only the decoder is learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from diffusers import AutoencoderTiny

__all__ = ["BLOCK", "BlockComponents", "block_components", "dihedral", "latent_encoder", "new_autoencoder", "psnr"]

#: Pixels of a block's side; also the factor between image and latent side.
BLOCK = 8
#: The decoder of AutoencoderTiny squashes its input beyond +-3; latents are handed to it divided by this factor.
LATENT_SCALE = 8.0
_GATHERED = 48  # 4 x 4 pixels x 3 colours


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
    total, outer, count = np.zeros(192), np.zeros((192, 192)), 0
    for start in range(0, len(images), 256):
        blocks = _blocks(images[start : start + 256])
        total += blocks.sum(axis=0)
        outer += blocks.T @ blocks
        count += len(blocks)
    mean = total / count
    values, vectors = np.linalg.eigh(outer / count - np.outer(mean, mean))
    order = np.argsort(values)[::-1][:n_components]
    axes = vectors[:, order].T
    axes *= np.where(axes.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)  # a fixed sign, else it depends on LAPACK
    return BlockComponents(mean, axes, np.sqrt(values[order]))


def _blocks(images: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) uint8 to (N * blocks, 192) in [0, 1], ordered colour, row, column."""
    n, height, width, _ = images.shape
    split = images.reshape(n, height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3)
    return split.transpose(0, 1, 3, 5, 2, 4).reshape(-1, 3 * BLOCK * BLOCK).astype(np.float64) / 255.0


def new_autoencoder(
    components: BlockComponents, *, channels: int = 48, blocks: tuple[int, ...] = (4, 3, 1, 0)
) -> AutoencoderTiny:
    """An AutoencoderTiny whose encoder is the block code and whose decoder is still to be learnt.

    Parameters
    ----------
    components : BlockComponents
        From `block_components`.
    channels : int
        Channels of the decoder.
    blocks : tuple of int
        Residual blocks of the decoder at 1/8, 1/4, 1/2 and full resolution.
    """
    from diffusers import AutoencoderTiny

    model = AutoencoderTiny(
        latent_channels=len(components.axes),
        encoder_block_out_channels=(_GATHERED,) * 4,
        num_encoder_blocks=(0, 0, 0, 0),
        decoder_block_out_channels=(channels,) * 4,
        num_decoder_blocks=blocks,
        scaling_factor=LATENT_SCALE,
    )
    _write_encoder(model.encoder.layers, components)
    for module in model.decoder.modules():
        if type(module).__name__ == "AutoencoderTinyBlock":
            # residual blocks start as the identity: training starts near a linear decoder
            torch.nn.init.zeros_(module.conv[-1].weight)
            torch.nn.init.zeros_(module.conv[-1].bias)
    return model


def _write_encoder(layers: Iterable[Any], components: BlockComponents) -> None:
    """Write the block code into conv(3->48), three strided conv(48->48) and conv(48->K)."""
    first, half, quarter, eighth, last = layers = tuple(layers)
    n = len(components.axes)
    whitened = torch.from_numpy(components.axes / (components.scale[:, None] * LATENT_SCALE)).reshape(
        n, 3, BLOCK, BLOCK
    )
    with torch.no_grad():
        for layer in layers:
            layer.weight.zero_()
            if layer.bias is not None:
                layer.bias.zero_()
        for colour in range(3):
            first.weight[colour, colour, 1, 1] = 1.0
        # a 3x3 kernel of stride 2 covers pixels 2i-1, 2i, 2i+1: taps 1 and 2 are the block's own
        for row in range(2):
            for column in range(2):
                part = 2 * row + column
                for channel in range(3):
                    half.weight[part * 3 + channel, channel, 1 + row, 1 + column] = 1.0
                for channel in range(12):
                    quarter.weight[part * 12 + channel, channel, 1 + row, 1 + column] = 1.0
                for inner in range(48):
                    r4, c4 = divmod(inner // 12, 2)  # 2x2 groups inside the 4x4
                    r2, c2 = divmod(inner % 12 // 3, 2)  # pixels inside a 2x2 group
                    y, x = 4 * row + 2 * r4 + r2, 4 * column + 2 * c4 + c2
                    eighth.weight[:n, inner, 1 + row, 1 + column] = whitened[:, inner % 3, y, x].float()
        for component in range(n):
            last.weight[component, component, 1, 1] = 1.0
        shift = (components.axes @ components.mean) / (components.scale * LATENT_SCALE)
        last.bias.copy_(-torch.from_numpy(shift).float())


def latent_encoder(model: AutoencoderTiny) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function from pixels in [-1, 1], shape (N, 3, H, W), to the diffusion model's latents.

    An encoder without nonlinear blocks is one linear map of each block: its response to the 192 unit images makes
    a single strided convolution, twenty times faster than the stack it stands for and equal to rounding.
    """
    scale = model.config.scaling_factor
    if any(model.config.num_encoder_blocks):
        return lambda pixels: model.encode(pixels).latents * scale
    units = torch.eye(3 * BLOCK * BLOCK, device=model.device).reshape(-1, 3, BLOCK, BLOCK)
    with torch.no_grad():
        bias = model.encode(torch.zeros_like(units[:1])).latents.flatten() * scale
        kernel = model.encode(units).latents.flatten(1).T * scale - bias[:, None]
    kernel = kernel.reshape(-1, 3, BLOCK, BLOCK)
    return lambda pixels: torch.nn.functional.conv2d(pixels, kernel, bias, stride=BLOCK)


def dihedral(images: torch.Tensor, variant: torch.Tensor) -> torch.Tensor:
    """Each image in one of its eight mirrored and rotated forms.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, H)
    variant : Tensor, shape (N,), int
        0 to 7: bit 0 mirrors left-right, bit 1 up-down, bit 2 transposes.
    """
    flags = [((variant >> bit) & 1).bool()[:, None, None, None] for bit in range(3)]
    images = torch.where(flags[0], images.flip(3), images)
    images = torch.where(flags[1], images.flip(2), images)
    return torch.where(flags[2], images.transpose(2, 3), images)


def psnr(images: np.ndarray, others: np.ndarray) -> float:
    """Peak signal-to-noise ratio over all pixels, dB, for uint8 images of equal shape."""
    error = np.mean((images.astype(np.float64) - others.astype(np.float64)) ** 2)
    return float(10 * np.log10(255.0**2 / error)) if error else float("inf")
