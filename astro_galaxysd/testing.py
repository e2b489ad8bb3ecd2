"""Checks that the objects behind a plug-in's factories keep their promises; for the plug-in's own tests.

Each check calls the object with small data and raises `PluginError` at the first broken promise, with what was seen.
It proves nothing about the science, only that the rest of astro_galaxysd can rely on the object.

Examples
--------
A plug-in's test file::

    from astro_galaxysd.testing import check_generator
    from my_flow.generator import FlowGenerator

    def test_flow_keeps_its_promises():
        check_generator(FlowGenerator("tests/weights", steps=2, guidance=1.0))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import PluginError
from astro_galaxysd.plugins.protocols import Augmenter, Embedder, Evaluator, Generator
from astro_galaxysd.records import ImageBatch
from astro_galaxysd.survey.example import example_survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import Table

__all__ = [
    "NoiseGenerator",
    "check_augmenter",
    "check_embedder",
    "check_evaluator",
    "check_generator",
    "example_batch",
    "example_conditions",
    "example_survey",
]

_PROMPTS = ("round galaxy", "edge-on galaxy", "{spiral:1.2} galaxy", "merging galaxies", "round galaxy")
_EVALUATION = ("metric", "group", "value", "error", "n_real", "n_synthetic", "higher_is_better")


class NoiseGenerator:
    """The smallest generator that keeps every promise: noise from each row's seed. Quick, for tests.

    Parameters
    ----------
    size : int
        Side of the images, pixels.
    """

    def __init__(self, size: int = 16) -> None:
        self.size = size

    def generate(self, conditions: Table, *, batch_size: int | None = None) -> ImageBatch:
        """Draw (N, size, size, 3) uint8 noise; `batch_size` makes no difference."""
        shape = (self.size, self.size, 3)
        images = np.zeros((len(conditions), *shape), dtype=np.uint8)
        for row, seed in enumerate(conditions["seed"]):
            images[row] = np.random.default_rng(abs(int(seed))).integers(0, 256, shape, dtype=np.uint8)
        ids = np.array([f"noise-{row}" for row in range(len(conditions))], dtype=str)
        return ImageBatch(images, conditions.copy(), ids, {"generator": "noise"})


def example_conditions(n: int = 5) -> Table:
    """Conditions to check a generator with: columns ``prompt`` (str) and ``seed`` (int64), `n` rows."""
    from astropy.table import Table

    prompts = [_PROMPTS[row % len(_PROMPTS)] for row in range(n)]
    return Table({"prompt": prompts, "seed": np.arange(n, dtype=np.int64) * 7919 + 11})


def example_batch(n: int = 12, *, size: int = 32, rng: np.random.Generator | int | None = 0) -> ImageBatch:
    """Round blobs on a noisy sky, shape (n, size, size, 3) uint8, to check an evaluator with."""
    generator = np.random.default_rng(rng)
    offset = np.arange(size) - (size - 1) / 2
    radius2 = offset[:, None] ** 2 + offset[None, :] ** 2
    width = generator.uniform(size / 12, size / 6, n)
    blobs = np.exp(-radius2 / (2 * width[:, None, None] ** 2))[..., None] * generator.uniform(60, 200, (n, 1, 1, 3))
    sky = generator.normal(12, 3, (n, size, size, 3))
    images = np.clip(blobs + sky, 0, 255).astype(np.uint8)
    return ImageBatch(images, example_conditions(n), np.array([f"example-{row}" for row in range(n)]))


def check_generator(
    generator: Any, *, conditions: Table | None = None, batch_sizes: Sequence[int | None] = (1, 3, None)
) -> None:
    """Check an object with the `Generator` protocol.

    Images are uint8 (N, H, W, 3); rows come back in their order with unique ids; a row's pixels are the same for every
    batch size, in reversed order and drawn alone; another seed gives other pixels; the input is left as it was.

    Parameters
    ----------
    generator : Generator
        The object, not its factory.
    conditions : Table, optional
        At least two rows with ``prompt`` and ``seed``; by default `example_conditions`.
    batch_sizes : sequence of int or None
        Values of `batch_size` to compare.

    Raises
    ------
    PluginError
        The first promise that is broken.
    """
    _require(isinstance(generator, Generator), generator, "has no method generate(conditions, *, batch_size)")
    conditions = example_conditions() if conditions is None else conditions
    if len(conditions) < 2:
        raise PluginError(f"check_generator needs at least 2 rows of conditions and got {len(conditions)}")
    first: np.ndarray | None = None
    for batch_size in batch_sizes:
        images = _drawn(generator, conditions, batch_size)
        if first is None:
            first = images
        _same(generator, first, images, f"batch_size={batch_size} and batch_size={batch_sizes[0]}")
    first = _drawn(generator, conditions, None) if first is None else first
    _same(generator, first, _drawn(generator, conditions[::-1], None)[::-1], "rows in reversed order and in order")
    _same(generator, first[1:2], _drawn(generator, conditions[1:2], None), "a row drawn alone and with others")
    reseeded = conditions.copy()
    reseeded["seed"] = np.asarray(conditions["seed"], dtype=np.int64) + 1
    differ = (_drawn(generator, reseeded, None) != first).any(axis=(1, 2, 3))
    _require(bool(differ.all()), generator, f"ignores the seed: rows {np.flatnonzero(~differ)} kept their pixels")


def _drawn(generator: Any, conditions: Table, batch_size: int | None) -> np.ndarray:
    given = conditions.copy(copy_data=True)
    batch = generator.generate(given, batch_size=batch_size)
    where = f"with batch_size={batch_size}"
    _unchanged(generator, conditions, given, where)
    _check_batch(generator, batch, len(conditions), where)
    for name in ("prompt", "seed"):
        kept = name in batch.conditions.colnames and list(batch.conditions[name]) == list(conditions[name])
        _require(kept, generator, f"returns conditions whose {name!r} is not the input's in the input's order {where}")
    return np.asarray(batch.images)


def _check_batch(subject: Any, batch: Any, rows: int, where: str) -> None:
    _require(isinstance(batch, ImageBatch), subject, f"returns {type(batch).__name__}, not an ImageBatch, {where}")
    images = batch.images
    seen = f"{getattr(images, 'dtype', type(images).__name__)} {getattr(images, 'shape', '')}"
    good = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] == 3
    _require(good, subject, f"returns images of {seen}, not uint8 (N, H, W, 3), {where}")
    counts = {"images": len(images), "conditions": len(batch.conditions), "ids": len(batch.ids)}
    _require(set(counts.values()) == {rows}, subject, f"returns {counts} for {rows} rows {where}")
    _require(len(set(map(str, batch.ids))) == rows, subject, f"returns ids that are not unique {where}")


def check_evaluator(
    evaluator: Any, *, real: ImageBatch | None = None, synthetic: ImageBatch | None = None, embedder: Any = None
) -> None:
    """Check an object with the `Evaluator` protocol.

    It returns a Table with the agreed columns, at least one row, no metric twice for a group, errors that are not
    negative and counts that the batches can have; one `rng` gives one answer; the input is left as it was.

    Parameters
    ----------
    evaluator : Evaluator
        The object, not its factory.
    real, synthetic : ImageBatch, optional
        By default two different `example_batch`.
    embedder : Embedder, optional
        Handed on.

    Raises
    ------
    PluginError
        The first promise that is broken.
    """
    _require(isinstance(evaluator, Evaluator), evaluator, "has no method evaluate(real, synthetic, *, ...)")
    real = example_batch(rng=1) if real is None else real
    synthetic = example_batch(9, rng=2) if synthetic is None else synthetic
    before = real.images.copy(), synthetic.images.copy()
    results = [evaluator.evaluate(real, synthetic, embedder=embedder, rng=3) for _ in range(2)]
    untouched = np.array_equal(before[0], real.images) and np.array_equal(before[1], synthetic.images)
    _require(untouched, evaluator, "changes the images it judges")
    _check_evaluation(evaluator, results[0], len(real), len(synthetic))
    for name in _EVALUATION:
        same = _equal(results[0][name], results[1][name])
        _require(same, evaluator, f"gives another {name!r} when called again with the same rng")


def _check_evaluation(subject: Any, table: Any, n_real: int, n_synthetic: int) -> None:
    names = list(getattr(table, "colnames", []))
    missing = [name for name in _EVALUATION if name not in names]
    _require(not missing, subject, f"returns a {type(table).__name__} without the columns {missing}; it has {names}")
    _require(len(table) > 0, subject, "returns a table without rows")
    pairs = list(zip(map(str, table["metric"]), map(str, table["group"]), strict=True))
    _require(len(set(pairs)) == len(pairs), subject, f"returns a metric twice for a group: {pairs}")
    for name in ("value", "error"):
        _require(np.asarray(table[name]).dtype.kind == "f", subject, f"returns {name!r} that is not of a float dtype")
    errors = np.asarray(table["error"])
    _require(not (errors < 0).any(), subject, f"returns a negative error: {errors}")
    _require(table["higher_is_better"].dtype.kind == "b", subject, "returns 'higher_is_better' that is not boolean")
    for name, most in (("n_real", n_real), ("n_synthetic", n_synthetic)):
        counts = np.asarray(table[name])
        good = counts.dtype.kind in "iu" and bool(((counts >= 0) & (counts <= most)).all())
        _require(good, subject, f"returns {name!r} = {counts} for a batch of {most}")


def check_augmenter(augmenter: Any, table: Table, images: Any = None, *, generator: Any = None, rng: int = 5) -> None:
    """Check an object with the `Augmenter` protocol.

    It returns new rows and as many images, each row with a ``prompt`` and an int64 ``seed`` of its own; one `rng` gives
    one answer; table and images are left as they were.

    Parameters
    ----------
    augmenter : Augmenter
        The object, set up so that it adds at least one row to `table`.
    table : Table
        Real rows.
    images : object, optional
        Their images, in a kind the augmenter reads.
    generator : Generator, optional
        By default `NoiseGenerator`.
    rng : int
        Seed handed on.

    Raises
    ------
    PluginError
        The first promise that is broken.
    """
    _require(isinstance(augmenter, Augmenter), augmenter, "has no method augment(table, images, generator, *, rng)")
    generator = NoiseGenerator() if generator is None else generator
    given = table.copy(copy_data=True)
    answers = [augmenter.augment(given, images, generator, rng=rng) for _ in range(2)]
    _unchanged(augmenter, table, given, "in augment()")
    for answer in answers:
        _require(
            isinstance(answer, tuple) and len(answer) == 2, augmenter, f"returns {answer!r}, not (Table, ImageBatch)"
        )
    (rows, batch), (again, batch_again) = answers
    _require(len(rows) > 0, augmenter, "adds no row")
    _check_batch(augmenter, batch, len(rows), "from augment()")
    for name in ("prompt", "seed"):
        _require(name in rows.colnames, augmenter, f"returns rows without {name!r}; they have {rows.colnames}")
        _require(_equal(rows[name], again[name]), augmenter, f"plans another {name!r} with the same rng")
    seeds = np.asarray(rows["seed"])
    _require(seeds.dtype == np.int64, augmenter, f"returns seeds of dtype {seeds.dtype}, not int64")
    _require(len(set(seeds.tolist())) == len(seeds), augmenter, "gives two rows one seed: they may be one image twice")
    _same(augmenter, batch.images, batch_again.images, "two calls with the same rng")


def check_embedder(embedder: Any, *, images: np.ndarray | None = None) -> None:
    """Check an object with the `Embedder` protocol.

    Features are float32 (N, D) and finite; the same call gives the same, and an image has the same features in another
    order or alone, to a thousandth of the largest; different images differ; the input is left as it was; a
    ``revision``, if there is one, is a text and stays the same.

    Parameters
    ----------
    embedder : Embedder
        The object, not its factory.
    images : ndarray, shape (N, H, W, 3), uint8, optional
        At least 2 different ones; by default those of `example_batch`.

    Raises
    ------
    PluginError
        The first promise that is broken.
    """
    _require(isinstance(embedder, Embedder), embedder, "has no method embed(images)")
    images = example_batch(size=64).images if images is None else images
    if len(images) < 2:
        raise PluginError(f"check_embedder needs at least 2 images and got {len(images)}")
    revision = getattr(embedder, "revision", "")
    _require(isinstance(revision, str), embedder, f"has the revision {revision!r}, which is not a text")
    first = _embedded(embedder, images)
    _near(embedder, first, _embedded(embedder, images), "two calls with the same images")
    _near(embedder, first, _embedded(embedder, images[::-1])[::-1], "images in reversed order and in order")
    _near(embedder, first[1:2], _embedded(embedder, images[1:2]), "an image alone and with others")
    _require(bool((first != first[0]).any()), embedder, "gives the same features for different images")
    now = getattr(embedder, "revision", "")
    _require(now == revision, embedder, f"changes its revision from {revision!r} to {now!r} at work")


def _embedded(embedder: Any, images: np.ndarray) -> np.ndarray:
    given = images.copy()
    features = embedder.embed(given)
    _require(np.array_equal(given, images), embedder, "changes the images it embeds")
    seen = f"{getattr(features, 'dtype', type(features).__name__)} {getattr(features, 'shape', '')}"
    good = isinstance(features, np.ndarray) and features.dtype == np.float32 and features.ndim == 2
    _require(good and features.shape[1] > 0, embedder, f"gives features of {seen}, not float32 (N, D)")
    _require(len(features) == len(images), embedder, f"gives features of {seen} for {len(images)} images")
    _require(bool(np.isfinite(features).all()), embedder, "gives features that are not finite")
    return np.asarray(features)


def _near(subject: Any, first: np.ndarray, second: np.ndarray, what: str) -> None:
    if first.shape != second.shape:
        raise PluginError(f"{type(subject).__qualname__} gives shapes {first.shape} and {second.shape} for {what}")
    off = float(np.abs(first - second).max())
    _require(
        off <= 1e-3 * float(np.abs(first).max()), subject, f"gives other features for {what}: they differ by {off:.3g}"
    )


def _require(kept: bool, subject: Any, broken: str) -> None:
    if not kept:
        raise PluginError(f"{type(subject).__module__}.{type(subject).__qualname__} {broken}")


def _same(subject: Any, first: np.ndarray, second: np.ndarray, what: str) -> None:
    if first.shape != second.shape:
        raise PluginError(f"{type(subject).__qualname__} gives shapes {first.shape} and {second.shape} for {what}")
    differ = np.flatnonzero((first != second).reshape(len(first), -1).any(axis=1))
    _require(not len(differ), subject, f"gives other pixels for {what}: rows {differ} differ")


def _unchanged(subject: Any, before: Table, after: Table, where: str) -> None:
    names = before.colnames
    _require(
        after.colnames == names, subject, f"changes the columns of its input from {names} to {after.colnames} {where}"
    )
    _require(len(after) == len(before), subject, f"changes the length of its input {where}")
    for name in names:
        _require(_equal(before[name], after[name]), subject, f"changes the column {name!r} of its input {where}")
    _require(list(before.meta) == list(after.meta), subject, f"changes the meta of its input {where}")


def _equal(first: Any, second: Any) -> bool:
    """Equal values, masks and dtypes; NaN equals NaN."""
    one, two = np.ma.asarray(first), np.ma.asarray(second)
    if one.dtype != two.dtype or one.shape != two.shape:
        return False
    masks = np.ma.getmaskarray(one), np.ma.getmaskarray(two)
    values = one.filled(one.fill_value), two.filled(one.fill_value)
    nan_too = one.dtype.kind == "f"
    return np.array_equal(*masks) and bool(np.array_equal(*values, equal_nan=nan_too))
