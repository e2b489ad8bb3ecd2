"""How well the autoencoder gives images back, beside block principal components of the same rate.

    python benchmarks/autoencoder.py votes_and_images.parquet -n 600

Peak signal-to-noise ratio in dB over all pixels, and over the brightest tenth of each image's, since sky dominates the
first. The peer codes each 8x8x3 block with as many numbers, with the components of the table's own images.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from astro_galaxysd import read_table
from astro_galaxysd.diffusion.autoencoder import BLOCK, block_components, psnr
from astro_galaxysd.diffusion.components import load_autoencoder
from astro_galaxysd.diffusion.generator import weights_folder
from astro_galaxysd.images.codec import read_images


def block_code(images: np.ndarray, n_components: int) -> np.ndarray:
    """Images after coding each block with its first components."""
    code = block_components(images, n_components)
    n, height, width, _ = images.shape
    grid = (n, height // BLOCK, width // BLOCK)
    blocks = images.reshape(n, grid[1], BLOCK, grid[2], BLOCK, 3).transpose(0, 1, 3, 5, 2, 4).reshape(*grid, -1) / 255
    back = (blocks - code.mean) @ code.axes.T @ code.axes + code.mean
    pixels = back.reshape(*grid, 3, BLOCK, BLOCK).transpose(0, 1, 4, 2, 5, 3).reshape(images.shape)
    return (pixels * 255).round().clip(0, 255).astype(np.uint8)


def reconstruct(vae: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    pieces = []
    with torch.inference_mode():
        for start in range(0, len(images), 16):
            pixels = torch.from_numpy(images[start : start + 16]).permute(0, 3, 1, 2).float() / 127.5 - 1
            decoded = vae.decode(vae.encode(pixels).latents).sample
            pieces.append((decoded * 127.5 + 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(pieces)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="real images that the weights have not seen")
    parser.add_argument("-n", type=int, default=600, help="images (default: 600)")
    parser.add_argument("--autoencoder", default=None, help="folder (default: the one that ships)")
    options = parser.parse_args()
    vae = load_autoencoder(options.autoencoder or weights_folder("package:astro_galaxysd/weights/mini") / "vae")
    images = np.stack(read_images(read_table(options.table)[: options.n]))
    light = images.sum(axis=3, dtype=float)
    bright = light > np.quantile(light, 0.9, axis=(1, 2), keepdims=True)
    print(f"n = {len(images)}; dB{'':<18} all pixels  brightest tenth")
    decoded, blocks = reconstruct(vae, images), block_code(images, vae.config.latent_channels)
    for name, again in (("autoencoder", decoded), ("block components", blocks)):
        print(f"{name:<25} {psnr(images, again):>11.2f} {psnr(images[bright], again[bright]):>16.2f}")
    sky = [np.median(x[:, :12, :12].astype(float).std(axis=(1, 2))) for x in (images, decoded)]
    print(f"median rms of the corner, grey levels: {sky[0]:.2f} before, {sky[1]:.2f} after")


if __name__ == "__main__":
    main()
