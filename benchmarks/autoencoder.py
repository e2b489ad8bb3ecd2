"""How well the autoencoder gives images back, beside block principal components of the same rate.

    python benchmarks/autoencoder.py validation.parquet -n 600 --components-from train.parquet

Peak signal-to-noise ratio in dB over all pixels, and over galaxy pixels, the brightest tenth of each image's, since
sky dominates the first. The peer codes each 8x8x3 block with as many numbers, with the principal components of the
blocks of `--components-from` (the same table unless it is given, which favours the peer).

Two figures say whether texture is kept, which the ratio hardly sees: the radial power of the luminance up to half the
Nyquist frequency after over before, median over the images, at the frequency where it is worst; and the rms of the
sky in the corners, after over before, median over the images. A sky that is too smooth gives a synthetic image away.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from astro_galaxysd import read_table
from astro_galaxysd.diffusion.autoencoder import BLOCK, BlockComponents, block_components, psnr
from astro_galaxysd.diffusion.components import load_autoencoder
from astro_galaxysd.diffusion.generator import weights_folder
from astro_galaxysd.evaluation.texture import power_ratio, sky_rms
from astro_galaxysd.images.codec import read_images

GAIN, POWER, SKY = 1.5, 0.2, 0.1  # targets: dB above the peer; largest departures from 1


def block_code(images: np.ndarray, code: BlockComponents) -> np.ndarray:
    """Images after coding each block with its first components."""
    n, height, width, _ = images.shape
    grid = (n, height // BLOCK, width // BLOCK)
    blocks = images.reshape(n, grid[1], BLOCK, grid[2], BLOCK, 3).transpose(0, 1, 3, 5, 2, 4).reshape(*grid, -1) / 255
    back = (blocks - code.mean) @ code.axes.T @ code.axes + code.mean
    pixels = back.reshape(*grid, 3, BLOCK, BLOCK).transpose(0, 1, 4, 2, 5, 3).reshape(images.shape)
    return (pixels * 255).round().clip(0, 255).astype(np.uint8)


def reconstruct(vae: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    device = next(vae.parameters()).device
    pieces = []
    with torch.inference_mode():
        for start in range(0, len(images), 16):
            pixels = torch.from_numpy(images[start : start + 16]).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
            decoded = vae.decode(vae.encode(pixels).latents).sample
            grey = (decoded * 127.5 + 127.5).round().clamp(0, 255).byte()
            pieces.append(grey.permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(pieces)


def texture(images: np.ndarray, again: np.ndarray) -> tuple[float, float, float, float, float]:
    """Worst power ratio up to half Nyquist and its frequency; median sky rms before and after, and of their ratio."""
    frequency, ratio = power_ratio(images, again)
    seen = frequency <= 0.25
    worst = int(np.abs(ratio[seen] - 1).argmax())
    before, after = sky_rms(images), sky_rms(again)
    noisy = before > 0
    sky = (np.median(before), np.median(after), np.median(after[noisy] / before[noisy]))
    return (float(ratio[worst]), float(frequency[worst]), *map(float, sky))


def verdict(target: str, seen: str, met: bool) -> str:
    return f"{'met' if met else 'MISSED':<7} {target:<58} {seen}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="real images that the weights have not seen")
    parser.add_argument("-n", type=int, default=600, help="images (default: 600)")
    parser.add_argument("--autoencoder", default=None, help="folder (default: the one that ships)")
    parser.add_argument("--components-from", help="table whose blocks the peer's components are fitted on")
    options = parser.parse_args()
    vae = load_autoencoder(options.autoencoder or weights_folder("package:astro_galaxysd/weights/mini") / "vae")
    channels = vae.config.latent_channels
    images = np.stack(read_images(read_table(options.table)[: options.n]))
    fitted_on = images
    if options.components_from:
        fitted_on = np.stack(read_images(read_table(options.components_from)))
    light = images.sum(axis=3, dtype=float)
    bright = light > np.quantile(light, 0.9, axis=(1, 2), keepdims=True)
    decoded, blocks = reconstruct(vae, images), block_code(images, block_components(fitted_on, channels))
    print(f"{len(images)} images, {channels} numbers a block; components of {len(fitted_on)} images\n")
    head = ("all pixels", "galaxy pixels", "power, worst", "at c/px", "sky rms", "ratio")
    print("{:<18} {:>10} {:>14} {:>13} {:>8} {:>8} {:>6}".format("", *head))
    found = {}
    for name, again in (("autoencoder", decoded), ("block components", blocks)):
        ratio, frequency, _, after, sky = texture(images, again)
        found[name] = (psnr(images, again), psnr(images[bright], again[bright]), ratio, sky)
        whole, galaxy = found[name][:2]
        print(
            f"{name:<18} {whole:>7.2f} dB {galaxy:>11.2f} dB {ratio:>13.2f} {frequency:>8.3f} {after:>8.2f} {sky:>6.2f}"
        )
    print(f"{'real images':<18} {'':>10} {'':>14} {'':>13} {'':>8} {np.median(sky_rms(images)):>8.2f}\n")
    ours, peer = found["autoencoder"], found["block components"]
    whole, galaxy = ours[0] - peer[0], ours[1] - peer[1]
    print(verdict(f"{GAIN} dB above block components, all pixels", f"{whole:+.2f} dB", whole >= GAIN))
    print(verdict(f"{GAIN} dB above block components, galaxy pixels", f"{galaxy:+.2f} dB", galaxy >= GAIN))
    kept = abs(ours[2] - 1) <= POWER
    print(verdict(f"power within {POWER:.0%} up to half the Nyquist frequency", f"{ours[2] - 1:+.0%} at worst", kept))
    print(verdict(f"sky rms within {SKY:.0%}", f"{ours[3] - 1:+.1%}", abs(ours[3] - 1) <= SKY))


if __name__ == "__main__":
    main()
