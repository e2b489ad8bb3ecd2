"""Can a classifier tell matched galaxies from real ones by their sky and size alone?

python benchmarks/matching.py test.parquet --drawn drawn.parquet [--fits FOLDER] [--sheets FOLDER] [-n 400]

A survey is made of the real cutouts of the table: taken to another pixel scale and seeing, with correlated noise and
sky of its own, as fluxes with a declared stretch and as display images without one. Half of it is what a user has:
galaxies are matched to it. The other half is what is compared with, so that nothing is compared with its own donor.
--fits is a folder with FITS images of whole fields, whose galaxies are cut out: one band, taken for luminance.

The classifier (gradient-boosted trees, of few cutouts a random forest; five folds) sees of each cutout the level and
noise of its sky, their correlation with the next pixel and the next but one in rows and columns, band by band, and the
radii of the galaxy.
Printed is the area under its ROC curve with the standard deviation over bootstrap resamples; 0.5 is chance. `unmatched`
galaxies are only brought to the size and values of the survey's cutouts; `real` are the two halves against each other.
--drawn are galaxies that the weights drew for rows of such a table (`galaxysd generate`); --seeing also measures stars
in both tables.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from scipy.ndimage import binary_dilation, gaussian_filter
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from astro_galaxysd import LuptonStretch, Survey, read_table
from astro_galaxysd.errors import MatchWarning
from astro_galaxysd.images.codec import fit_size, read_images
from astro_galaxysd.images.sheet import contact_sheet
from astro_galaxysd.survey.matching import Matcher, estimate_seeing
from astro_galaxysd.survey.rows import SurveyRows
from astro_galaxysd.survey.sizes import find_galaxy, place
from astro_galaxysd.survey.suggest import suggest_stretch
from astro_galaxysd.survey.writing import NewCutouts

#: SDSS colour images undone: with Q = 8 the width of stars does not depend on their brightness.
SDSS = LuptonStretch(stretch=1.0, Q=8)
#: FWHM of stars in drawn images, pixels of 128; --seeing measures it.
DRAWN_SEEING = 3.5
SIDE, SEEING, FLUX = 64, 5.0, 20.0
FEW = 50
PSF = "f105w_psf.fits.gz"


def degraded(image, rng):
    """Fluxes (3, SIDE, SIDE) of a cutout in the made survey; None where the old frame doesn't cover the new one."""
    planes = SDSS.invert(np.moveaxis(image, -1, 0) / 255.0)
    galaxy = find_galaxy(planes)
    if galaxy is None:
        return None
    scale = rng.uniform(8, 16) / galaxy.r90
    planes = np.pad(planes - galaxy.level[:, None, None], ((0, 0), (40, 40), (40, 40)), mode="symmetric")
    light, seen = (
        place(values, scale, (galaxy.x + 40, galaxy.y + 40), (SIDE, SIDE))
        for values in (planes, np.ones((1, *planes.shape[1:])))
    )
    if seen.min() < 0.9:
        return None
    width = np.sqrt(max(SEEING**2 - (DRAWN_SEEING * scale) ** 2, 0.25)) / 2.3548
    light = gaussian_filter(light, (0, width, width)) * FLUX
    noise = rng.standard_normal((3, SIDE, SIDE)) + 0.5 * rng.standard_normal((1, SIDE, SIDE))
    noise = gaussian_filter(noise, (0, 0.6, 0.6))
    rms = 0.01 * FLUX * rng.uniform(0.7, 1.6)
    bands = np.array([1.2, 0.9, 1.0])[:, None, None]
    return light + noise / noise.std() * rms * bands + rms * rng.normal(0, 0.7, 3)[:, None, None] + 0.01 * FLUX


def features(planes):
    """Sky and size of a cutout; NaN where no galaxy is found."""
    galaxy = find_galaxy(planes)
    if galaxy is None:
        return np.full(6 * len(planes) + 2, np.nan)
    sky = ~binary_dilation(galaxy.sources > 0, iterations=3) & np.isfinite(planes).all(axis=0)
    found = []
    for band in planes:
        values = band[sky]
        for _ in range(5):
            level, rms = np.median(values), values.std()
            values = values[np.abs(values - level) <= 3 * rms]
        off = np.where(sky & (np.abs(band - level) < 4 * rms), band - level, np.nan)
        products = [off[:, lag:] * off[:, :-lag] for lag in (1, 2)] + [off[lag:] * off[:-lag] for lag in (1, 2)]
        found += [level, rms, *(np.nan_to_num(product).sum() / max(np.isfinite(product).sum() * rms**2, 1e-24)
                                for product in products)]  # fmt: skip
    return np.array([*found, galaxy.r50, galaxy.r90])


def told_apart(real, other, seed=0):
    """Area under the ROC curve, and its error."""
    numbers = np.vstack([real, other])
    truth = np.r_[np.zeros(len(real)), np.ones(len(other))]
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    if min(len(real), len(other)) > FEW:
        trees = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.06, random_state=seed)
    else:  # boosting makes no leaf of so few
        trees = RandomForestClassifier(300, class_weight="balanced_subsample", random_state=seed)
    score = cross_val_predict(trees, numbers, truth, cv=folds, method="predict_proba")[:, 1]
    rng = np.random.default_rng(seed)
    again = []
    while len(again) < 200:
        rows = rng.integers(len(truth), size=len(truth))
        if 0 < truth[rows].sum() < len(rows):
            again.append(roc_auc_score(truth[rows], score[rows]))
    return roc_auc_score(truth, score), float(np.std(again))


def case(name, cutouts, survey, drawn, *, sheets=None, donors=None):
    """Match galaxies to the first half of the cutouts, tell them from the second."""
    half = len(cutouts) // 2 if donors is None else donors
    table = Table({"image": cutouts[:half]})
    rows, others = SurveyRows(table, survey=survey), SurveyRows(Table({"image": cutouts[-half:]}), survey=survey)
    matcher = Matcher(rows, survey=survey, seeing_drawn=DRAWN_SEEING, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MatchWarning)
        matcher.check(anyway=True)
    if donors is not None:
        others = others.only([row for row in range(len(rows)) if rows.name(row) not in matcher.report.left_out])
    ids = [str(row) for row in range(len(drawn))]
    new = NewCutouts(rows)
    column = rows.columns[0].name
    matches = [matcher.match(image, row) for row, image in enumerate(drawn)]
    rng = np.random.default_rng(5)
    fitted = (survey.from_display(image, rng) for image in fit_size(drawn, rows.size))
    kept = [new.encode(ids, planes)[column] for planes in ((match.planes for match in matches), fitted)]
    matched, unmatched = (SurveyRows(Table({"image": np.stack(cells)}), survey=survey) for cells in kept)
    numbers = {
        label: np.array([features(found.planes(row)) for row in range(len(found))])
        for label, found in (("second half", others), ("matched", matched), ("unmatched", unmatched), ("real", rows))
    }
    print(f"\n{name}: {half} real cutouts, {len(drawn)} drawn galaxies")
    print("  " + matcher.report.text().replace("\n", "\n  "))
    reached = np.array([match.reached / match.wanted for match in matches])
    print(f"  R90 reached over wanted: {np.round(np.nanpercentile(reached, (5, 50, 95)), 3)}")
    for label in ("unmatched", "matched", "real") if donors is None else ("unmatched", "matched"):
        area, error = told_apart(numbers["second half"], numbers[label])
        print(f"  {label:<10} AUC {area:.3f} ± {error:.3f}")
    if sheets is not None:
        shown = [
            (label, np.stack([survey.display(found.planes(row)) for row in range(min(24, len(found)))]))
            for label, found in (("real", others), ("matched", matched), ("unmatched", unmatched))
        ]
        contact_sheet(
            shown, sheets / f"{name.split(',')[0].replace(' ', '_')}.png", columns=12, scale=2, overwrite=True
        )


def field_galaxies(folder, side=64):
    """Cutouts (N, side, side) about the galaxies in FITS images of fields, and the pixel scale."""
    from astropy.wcs import WCS
    from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources

    cutouts, scale = [], None
    for path in sorted(path for path in folder.glob("*.fits*") if "rms" not in path.name and "psf" not in path.name):
        image, header = fits.getdata(path, header=True)
        scale = scale or float(np.mean(WCS(header).celestial.proj_plane_pixel_scales()[0].to_value("arcsec")))
        image = np.asarray(image, dtype=np.float64)
        level = np.median(image)
        rms = 1.4826 * np.median(np.abs(image - level))
        smooth = gaussian_filter(image - level, 1.5)
        segments = detect_sources(smooth, rms, n_pixels=20)
        segments = deblend_sources(smooth, segments, n_pixels=20, progress_bar=False)
        catalogue = SourceCatalog(image - level, segments)
        padded = np.pad(image, side // 2, constant_values=np.nan)
        for x, y, flux, area in zip(
            catalogue.x_centroid, catalogue.y_centroid, catalogue.segment_flux, catalogue.area.value, strict=True
        ):
            if flux / rms / np.sqrt(area) > 15:
                left, top = round(float(x)), round(float(y))
                cutouts.append(padded[top : top + side, left : left + side])
    return np.array(cutouts, dtype=np.float32), scale


def isolated(cutout):
    """Whether a galaxy is there, leaves room for sky, and is seen for the most part."""
    galaxy = find_galaxy(cutout[np.newaxis].astype(np.float64))
    return galaxy is not None and galaxy.r90 < len(cutout) / 3.5 and np.isfinite(cutout).mean() > 0.6


def hst(folder, drawn, sheets):
    """Galaxies of the fields; those that can be measured are donors and are compared with, as they are few."""
    cutouts, scale = field_galaxies(folder)
    cutouts = np.array([cutout for cutout in cutouts if isolated(cutout)])
    survey = Survey(
        bands="luminance",
        stretch=suggest_stretch([cutout[np.newaxis].astype(float) for cutout in cutouts]),
        pixel_scale=scale,
        psf=folder / PSF,
        unit="electron / s",
        name="HST F105W",
    )
    case("HST F105W, luminance", cutouts, survey, drawn, sheets=sheets, donors=len(cutouts))


def stars(label, images):
    """Seeing of display images, with their stretch undone."""
    planes = np.stack([np.moveaxis(SDSS.invert(np.moveaxis(image, -1, 0) / 255.0), 0, -1) for image in images])
    rows = SurveyRows(Table({"image": planes}), survey=Survey(stretch=SDSS))
    print(f"{label}: {estimate_seeing(rows, n=len(rows)).text()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="real display cutouts, 128 px")
    parser.add_argument("--drawn", required=True, help="galaxies that the weights drew")
    parser.add_argument("--fits", type=Path, help="folder of FITS images of fields")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    parser.add_argument("--seeing", action="store_true", help="also measure stars in both tables")
    parser.add_argument("-n", type=int, default=400, help="drawn galaxies, and real cutouts of each half")
    options = parser.parse_args()
    drawn = np.stack(read_images(read_table(options.drawn))[: options.n])
    real = read_images(read_table(options.table))
    if options.sheets:
        options.sheets.mkdir(exist_ok=True)
    if options.seeing:
        stars("real", real)
        stars("drawn", read_images(read_table(options.drawn)))
    rng = np.random.default_rng(1)
    made = []
    for image in real:
        planes = degraded(image, rng)
        if planes is not None:
            made.append(np.moveaxis(planes, 0, -1))
        if len(made) == 2 * options.n:
            break
    fluxes = np.array(made, dtype=np.float32)
    stretch = LuptonStretch(stretch=FLUX, Q=8)
    declared = Survey(stretch=stretch, pixel_scale=0.4, psf=0.4 * SEEING, unit="nanomaggy")
    case("degraded SDSS as fluxes", fluxes, declared, drawn, sheets=options.sheets)
    shown = np.stack([declared.display(np.moveaxis(cutout, -1, 0).astype(np.float64)) for cutout in fluxes])
    case(
        "degraded SDSS as display images",
        shown,
        Survey(pixel_scale=0.4, psf=0.4 * SEEING),
        drawn,
        sheets=options.sheets,
    )
    if options.fits:
        hst(options.fits, drawn, options.sheets)


if __name__ == "__main__":
    main()
