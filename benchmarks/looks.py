"""Where drawn galaxies look otherwise than real ones, by what `galaxysd train refine` compares.

python benchmarks/looks.py val.parquet --weights FOLDER --reader runs/teacher/reader.safetensors \\
    --embedder runs/space/embedder.safetensors -n 256

Galaxies are drawn with the votes of real ones and compared with these as the autoencoder of the weights rebuilds them.
(1) Energy distance of each block of numbers, in mean distances of two galaxies, beside that of as many other rebuilt
ones. (2) Power of the detail of the galaxies over that of the rebuilt ones, by frequency, and in the cell of frequency
and direction where it is highest: a mesh. (3) Scatter of compressed light and colours along the outermost ring, four
pixels together: patches in the sky. (2) and (3) are geometric means. (4) Power of whole images over that of the rebuilt
ones, by frequency: of the medians, which `galaxysd evaluate` compares as ``power``, and of the geometric means.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import numpy as np
import torch

from astro_galaxysd import generate, read_table
from astro_galaxysd.diffusion.generator import weights_folder
from astro_galaxysd.diffusion.roundtrip import through_autoencoder
from astro_galaxysd.evaluation.appearance import WEIGHTS, Appearance
from astro_galaxysd.evaluation.embedding import GalaxyEmbedder
from astro_galaxysd.evaluation.measures import measure_pixels
from astro_galaxysd.evaluation.reading import ImageReader
from astro_galaxysd.evaluation.texture import radial_power
from astro_galaxysd.images.codec import read_images
from astro_galaxysd.learning.views import pixels_of
from astro_galaxysd.weightcards import weight_card

BATCH = 64
BANDS = (0.03, 0.08, 0.13, 0.18, 0.25)  # cycles a pixel
LEAST_POWER = 0.01  # squared grey levels, so that black images have a logarithm
PLANES = ("luminance", "red - blue", "green - others")


def looked_at(function, images):
    """Blocks of numbers of all images, by name."""
    with torch.inference_mode():
        parts = [function(pixels_of(images[start : start + BATCH])) for start in range(0, len(images), BATCH)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def mean_distance(these, those, *, same=False):
    distances = torch.cdist(these, those)
    return float(distances.sum() / (len(these) * (len(these) - 1)) if same else distances.mean())


def energy_distance(these, those):
    """Squared energy distance of two sets of points, unbiased: about 0 for one distribution, by chance below."""
    own = mean_distance(these, these, same=True) + mean_distance(those, those, same=True)
    return 2 * mean_distance(these, those) - own


def compare(name, drawn, rebuilt, others):
    """Energy distances of a block; of the single numbers, which count one by one, their sum."""
    columns = drawn.shape[1] if name == "scalars" else 1
    pairs = [torch.tensor_split(part, columns, dim=1) for part in (drawn, rebuilt, others)]
    return [sum(map(energy_distance, part, pairs[1])) for part in (pairs[0], pairs[2])]


def detail(drawn, rebuilt):
    """Power over that of the rebuilt ones, shape (16, 8), and frequencies down and to the right, cycles a pixel."""
    ratio = torch.exp(drawn["grain"].mean(dim=0) - rebuilt["grain"].mean(dim=0)).numpy()
    cells = int(np.sqrt(len(ratio) // 2))
    ratio = ratio.reshape(2 * cells, cells)
    down, right = (np.arange(2 * cells) + 0.5 - cells) / (2 * cells), (np.arange(cells) + 0.5) / (2 * cells)
    return ratio, down[:, None], right[None]


def scatter(measured):
    """Deviation of luminance and two colours along the outermost ring."""
    return torch.exp(measured["mottle"].mean(dim=0)).reshape(len(PLANES), -1)[:, -1]


def show_blocks(look, drawn, rebuilt, others):
    print(f"{'block':<18} {'weight':>6} {'drawn':>7} {'real':>7}")
    seen = [looked_at(lambda pixels: look(pixels).blocks, images) for images in (drawn, rebuilt, others)]
    for name in seen[0]:
        distances = compare(name, *(part[name] for part in seen))
        print(f"{name:<18} {WEIGHTS[name.partition('_')[0]]:>6} {distances[0]:>7.3f} {distances[1]:>7.3f}")


def show_pixels(drawn, rebuilt):
    drawn, rebuilt = (looked_at(measure_pixels, images) for images in (drawn, rebuilt))
    ratio, down, right = detail(drawn, rebuilt)
    frequency = np.hypot(down, right)
    for low, high in pairwise(BANDS):
        inside = (frequency >= low) & (frequency < high)
        if not inside.any():  # few frequencies in small images
            continue
        power = np.exp(np.log(ratio[inside]).mean())
        print(f"detail at {low:.2f} to {high:.2f} cycles a pixel: {power:.2f} of the rebuilt ones' power")
    row, column = np.unravel_index(np.where(frequency < BANDS[-1], ratio, 0).argmax(), ratio.shape)
    print(f"highest: {ratio[row, column]:.2f} at {down[row, 0]:+.2f} down, {right[0, column]:.2f} to the right")
    for name, mine, theirs in zip(PLANES, scatter(drawn), scatter(rebuilt), strict=True):
        print(f"scatter along the outermost ring, {name}: drawn {mine:.2f}, rebuilt {theirs:.2f}")


def show_spectrum(drawn, rebuilt):
    (frequency, mine), (_, theirs) = radial_power(drawn), radial_power(rebuilt)
    for low, high in pairwise(BANDS):
        inside = (frequency >= low) & (frequency < high)
        if not inside.any():
            continue
        logarithms = [np.log(power[:, inside] + LEAST_POWER) for power in (mine, theirs)]
        median, mean = (
            np.exp((average(logarithms[0], axis=0) - average(logarithms[1], axis=0)).mean())
            for average in (np.median, np.mean)
        )
        said = f"{median:.2f} of the median power, {mean:.2f} of the mean"
        print(f"images at {low:.2f} to {high:.2f} cycles a pixel: {said}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="real galaxies with images and votes that weights and reader have not seen")
    parser.add_argument("--weights", default="mini", help="name or folder (default: mini)")
    parser.add_argument("--steps", type=int, help="sampling steps (default: what the weights recommend)")
    parser.add_argument("--guidance", type=float, help="classifier-free guidance (default: what the weights recommend)")
    parser.add_argument("--reader", required=True, help="reader.safetensors of a reader of votes that does not ship")
    parser.add_argument("--embedder", help="embedder.safetensors of an embedder that does not ship (default: none)")
    parser.add_argument("-n", type=int, default=256, help="galaxies drawn; twice as many are read (default: 256)")
    options = parser.parse_args()
    table = read_table(options.table)
    rows = np.random.default_rng(0).permutation(len(table))[: 2 * options.n]
    if len(rows) < 2 * options.n:
        parser.error(f"-n {options.n}: the table has {len(table)} rows; give half of them at most")
    real = np.stack(read_images(table, rows=rows.tolist()))
    conditions = table[rows[: options.n]]
    conditions.remove_column("image")
    sampling = {"steps": options.steps, "guidance": options.guidance}
    drawn = generate(conditions, rng=0, weights=options.weights, progress=False, **sampling)
    drawn = np.stack(read_images(drawn))
    rebuilt = through_autoencoder(weights_folder(weight_card(options.weights).location), real)
    embedder = GalaxyEmbedder(options.embedder) if options.embedder else None
    look = Appearance(ImageReader.load(options.reader), real, embedder=embedder)
    rebuilt, others = rebuilt[: options.n], rebuilt[options.n :]
    show_blocks(look, drawn, rebuilt, others)
    show_pixels(drawn, rebuilt)
    show_spectrum(drawn, rebuilt)


if __name__ == "__main__":
    main()
