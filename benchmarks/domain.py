"""Which cutouts are told from those that weights were trained on, and from what share on to warn and to refuse.

python benchmarks/domain.py test.parquet --train train.parquet --validation val.parquet [--fits FOLDER] [--write]

Held-out validation cutouts set the limits; test cutouts, whole and spoilt in many ways, are looked at as
`astro_galaxysd.surveying.check_domain` does. Per case: the share outside in looks and in tint, the median distance in
looks over that of held-out cutouts, the share by cosines in place of Euclidean distances, and the verdict.
--write puts the record beside the weights (--weights mini); else the one that is there is measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table
from scipy.ndimage import gaussian_filter

from astro_galaxysd import Survey, read_table
from astro_galaxysd.diffusion.generator import weights_folder
from astro_galaxysd.evaluation.distances import unit
from astro_galaxysd.evaluation.domain import domain_numbers, measure_domain
from astro_galaxysd.images.codec import fit_size, read_images
from astro_galaxysd.survey.domain import COLOUR, GREY, TINT, as_grey, distances, read_domain, write_domain
from astro_galaxysd.survey.rows import SurveyRows
from astro_galaxysd.survey.sizes import DISPLAY_FRAME, place
from astro_galaxysd.survey.suggest import suggest_stretch
from astro_galaxysd.survey.verdict import DomainReport
from astro_galaxysd.surveying import compare_rows
from astro_galaxysd.weightcards import weight_card

#: What SDSS training cutouts are, besides what is measured of them: FWHM of stars with the stretch undone, in pixels.
FACTS = {"bands": ("i", "r", "g"), "survey": "sdss", "seeing": 3.5, "radius": DISPLAY_FRAME.radius}
ORDERS = {"BGR": (2, 1, 0), "GRB": (1, 0, 2), "RBG": (0, 2, 1), "BRG": (2, 0, 1), "GBR": (1, 2, 0)}


def levels(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def smaller(images, factor, rng):
    """Galaxies at another size; what lies beyond the old frame is sky of its corners."""
    side = images.shape[1]
    edge = side // 8
    found = np.empty_like(images)
    for row, image in enumerate(images):
        sky = np.concatenate([image[:edge, :edge].reshape(-1, 3), image[-edge:, -edge:].reshape(-1, 3)])
        planes, middle = np.moveaxis(image, -1, 0).astype(float), (side - 1) / 2
        scaled = np.moveaxis(place(planes, factor, (middle, middle), (side, side)), 0, -1)
        there = np.abs(np.arange(side) - middle) < factor * side / 2
        inside = there[:, None] & there
        found[row] = np.where(inside[..., None], levels(scaled), sky[rng.integers(0, len(sky), (side, side))])
    return found


def empty(images, rng, stars=0):
    """Sky like that of each image, smoothed a little, with stars or none; the first star stands in the middle."""
    side = images.shape[1]
    y, x = np.mgrid[:side, :side]
    found = []
    for image in images:
        sky = np.concatenate([image[:16].reshape(-1, 3), image[-16:].reshape(-1, 3)]).astype(float)
        sky = sky[(sky < np.median(sky, axis=0) + 15).all(axis=1)]
        noise = gaussian_filter(sky[rng.integers(0, len(sky), (side, side))] - sky.mean(axis=0), (0.7, 0.7, 0))
        field = 1.8 * noise + sky.mean(axis=0)
        for star in range(stars):
            row, column = (side / 2, side / 2) if star == 0 else rng.uniform(0, side, 2)
            light = 10 ** rng.uniform(1, 2.6) * rng.uniform(0.6, 1.2, 3)
            field += light * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 2 / 1.5**2)[..., None]
        found.append(field)
    return levels(np.stack(found))


def photographs(n, rng, side):
    """Pieces of photographs of a temple and a flower."""
    from sklearn.datasets import load_sample_images

    pieces = []
    for number in range(n):
        image = load_sample_images().images[number % 2]
        top, left = (rng.integers(0, size - 256) for size in image.shape[:2])
        pieces.append(image[top : top + 256, left : left + 256])
    return fit_size(np.stack(pieces), (side, side))


def cases(images, rng):
    """Name and images of each case, made of test cutouts."""
    values = images.astype(float)
    yield "test cutouts", images
    for width in (1, 2, 4, 8):
        yield f"blurred, sigma {width} px", levels(gaussian_filter(values, (0, width, width, 0)))
    for rms in (5, 10, 25):
        yield f"noise of {rms} grey levels", levels(values + rng.normal(0, rms, values.shape))
    for factor in (0.75, 0.5, 0.25, 0.125, 1.5, 2, 3):
        yield f"{factor} times as large", smaller(images, factor, rng)
    for share in (8, 4):
        yield f"off the centre by 1/{share} of the side", np.roll(images, images.shape[1] // share, axis=2)
    for name, order in ORDERS.items():
        yield f"bands in order {name}", np.ascontiguousarray(images[..., order])
    yield "inverted", 255 - images
    for power in (0.5, 0.75, 1.5, 2):
        yield f"values to the power of {power}", levels(255 * (values / 255) ** power)
    for gain in (0.5, 2):
        yield f"{gain} times as bright", levels(gain * values)
    for level in (10, 30):
        yield f"sky brighter by {level} grey levels", levels(values + level)
    yield "white noise", rng.integers(0, 256, images.shape).astype(np.uint8)
    yield "empty fields", empty(images, rng)
    yield "a star in the middle and five more", empty(images, rng, stars=6)
    for level in (0, 20, 128, 255):
        yield f"flat, {level}", np.full_like(images[:10], level)
    yield "photographs", photographs(len(images) // 2, rng, images.shape[1])


def cosine_share(numbers, domain, limit):
    return float(np.mean(cosine_distances(numbers, domain) > limit))


def cosine_distances(numbers, domain):
    cosines = unit(numbers) @ unit(np.asarray(domain.features[COLOUR], dtype=float)).T
    return 1 - np.sort(cosines, axis=1)[:, -5:].mean(axis=1)


def line(name, report, cosine=None):
    """One row of the table."""
    kind = next(iter(report.far))
    looks, tint = report.outside[kind] / report.n, report.outside.get(TINT, 0) / report.n
    ratio = np.median(report.far[kind]) / report.domain.usual(kind) if len(report.far[kind]) else float("nan")
    shares = f"{looks:7.3f} {tint:7.3f} {ratio:7.2f}  {'' if cosine is None else f'{cosine:.3f}':>6s}"
    print(f"{name:38s} {report.n:5d} {shares}  {report.verdict}", flush=True)


def look(name, images, domain, limit, kinds=(COLOUR, TINT)):
    numbers = domain_numbers(images, kinds)
    report = DomainReport("", domain, len(images), {kind: distances(numbers[kind], domain, kind) for kind in kinds})
    line(name, report, cosine_share(numbers[COLOUR], domain, limit) if COLOUR in numbers else None)


def hubble(folder, domain):
    """Galaxies of three fields of the Hubble telescope, in their one band, with the stretch that is suggested."""
    from astropy.io import fits
    from astropy.stats import sigma_clipped_stats
    from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources

    cutouts = []
    for path in sorted(Path(folder).glob("abell_2744_*_f105w.fits.gz")):
        field = fits.getdata(path).astype(float)
        _, level, rms = sigma_clipped_stats(field)
        smooth = gaussian_filter(field - level, 1.5)
        sources = deblend_sources(smooth, detect_sources(smooth, rms, n_pixels=10), n_pixels=10, progress_bar=False)
        catalog = SourceCatalog(field - level, sources)
        signal = catalog.segment_flux / rms / np.sqrt(catalog.area.value)
        places = zip(catalog.x_centroid, catalog.y_centroid, catalog.flux_radius(0.9).value, signal, strict=True)
        for x, y, radius, over_noise in places:
            if not 4 < radius < min(field.shape) or over_noise < 20:  # NaN where a source has no radius
                continue
            half = int(max(2.5 * radius, 12))
            box = np.s_[int(y) - half : int(y) + half, int(x) - half : int(x) + half]
            if min(x, y) > half and max(x, y) + half < min(field.shape):
                cutouts.append(field[box][::-1])
    survey = Survey(bands="luminance", stretch=suggest_stretch([cutout[None] for cutout in cutouts]))
    print(f"HST: {len(cutouts)} galaxies, {survey.stretch}")
    for framed in (False, True):
        compare(f"HST, luminance{', framed' if framed else ''}", cutouts, domain, survey, framed=framed)


def compare(name, cutouts, domain, survey=None, *, framed=True):
    """Cutouts as `check_domain` reads them."""
    rows = SurveyRows(Table({"id": np.arange(len(cutouts))}), list(cutouts), survey)
    line(name, compare_rows(rows, domain, weights="mini", framed=framed))


def read(path, n=None, rng=None):
    table = read_table(path)
    rows = np.arange(len(table)) if n is None else np.sort(rng.permutation(len(table))[:n])
    return np.stack(read_images(table[rows]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", help="table of cutouts that were not trained on")
    parser.add_argument("--train", help="table of cutouts that were trained on, for --write")
    parser.add_argument("--validation", help="table of held-out cutouts that set the limits, for --write")
    parser.add_argument("--weights", default="mini", help="name or folder of weights (default: mini)")
    parser.add_argument("--write", action="store_true", help="write the record beside the weights first")
    parser.add_argument("--drawn", help="table of drawn galaxies")
    parser.add_argument("--example", help="table of a few galaxies, such as the one that ships")
    parser.add_argument("--fits", help="folder with the HST fields")
    parser.add_argument("-n", type=int, default=200, help="test cutouts a case (default: 200)")
    options = parser.parse_args()
    folder, rng = weights_folder(weight_card(options.weights).location), np.random.default_rng(0)
    if options.write:
        write_domain(measure_domain(read(options.train), read(options.validation), **FACTS), folder)
    domain = read_domain(folder)
    counts = f"{len(domain.features[COLOUR])} training and {len(domain.held_out[COLOUR])} held-out cutouts"
    print(f"{folder.name}: {counts}, R90 {domain.radius:.1f} px, seeing {domain.seeing} px")
    for kind in (COLOUR, GREY, TINT):
        print(f"{kind}: median {domain.usual(kind):.3f}, 99 % below {domain.limit(kind):.3f}")
    print(f"{'case':38s} {'n':>5s} {'looks':>7s} {'tint':>7s} {'ratio':>7s}  cosine  verdict")
    images = read(options.test, options.n, rng)
    limit = np.quantile(cosine_distances(domain_numbers(read(options.validation), (COLOUR,))[COLOUR], domain), 0.99)
    for name, made in cases(images, rng):
        look(name, made, domain, limit)
    look("test cutouts, luminance", as_grey(images), domain, limit, (GREY,))
    for name, path in (("example table", options.example), ("drawn by the weights", options.drawn)):
        if path:
            look(name, read(path, options.n, rng), domain, limit)
    for factor in (1, 0.5, 0.25):
        made = images if factor == 1 else smaller(images, factor, rng)
        compare(f"{factor} times as large, framed", made, domain)
    blurred = np.clip(gaussian_filter(smaller(images, 0.5, rng).astype(float), (0, 1, 1, 0)), 0, 255)
    noisy = levels(blurred + rng.normal(0, 5, images.shape))
    compare("half as large, blurred, noisy, framed", noisy[:, 32:96, 32:96], domain)
    compare("sides of 2.4 R90, framed", images[:, 24:-24, 24:-24], domain)
    compare("empty fields, framed", empty(images, rng), domain)
    if options.fits:
        hubble(options.fits, domain)


if __name__ == "__main__":
    main()
