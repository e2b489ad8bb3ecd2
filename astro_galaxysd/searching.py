"""Find the rare ones: a catalogue and a few labelled galaxies in, the galaxies that are most likely of the class out.

``search`` = labelled galaxies, and what was looked at before -> synthetic ones with their votes -> cross-validation
says how many of these serve -> a classifier learns -> the catalogue is scored piece by piece -> the best rows, each
with its probability and the labelled galaxies that look most like it; what may be expected of them; a page to look at
them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from astro_galaxysd.classification.arms import ARMS, Arm, Rows, assemble, candidates
from astro_galaxysd.classification.calibration import Expected, expect
from astro_galaxysd.classification.classifiers import Learner, Scorer, check_estimator
from astro_galaxysd.classification.crossvalidation import Made, average_precision, choose_ratio, held_out_scores
from astro_galaxysd.classification.drawn import BASE, Synthesis, as_rows
from astro_galaxysd.classification.network import STEPS
from astro_galaxysd.classification.objects import find_objects
from astro_galaxysd.classification.pieces import Pieces
from astro_galaxysd.classification.ranking import Ranking
from astro_galaxysd.classification.samples import Labelled, read_labelled, shortened
from astro_galaxysd.conditions.seeds import RNG, run_seed, stream
from astro_galaxysd.conditions.selection import Selection
from astro_galaxysd.errors import ConditionError, UnknownNameError
from astro_galaxysd.images.files import atomic_path, make_folder, rehearse_path
from astro_galaxysd.images.provenance import json_ready, run_record
from astro_galaxysd.images.sheet import contact_sheet
from astro_galaxysd.images.storage import write_table
from astro_galaxysd.reporting.vetting import write_vetting_page
from astro_galaxysd.seen import count_target, weights_content
from astro_galaxysd.vetted import CANDIDATES, NAME, SEARCH, Vetted, read_vetted
from astro_galaxysd.weightcards import DEFAULT_WEIGHTS, pinned, refuse_references

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.evaluation.reading import ImageReader

__all__ = ["SEARCH", "Found", "search"]

#: Columns that are added to the candidates.
RANK, SCORE, PROBABILITY, NEAREST, NEAREST_OF_CLASS = (
    "search_rank", "search_score", "search_probability", "search_nearest", "search_nearest_of_class",
)  # fmt: skip
#: Classifiers by name.
CLASSIFIERS = ("linear", "network")
_RATIOS = (0.25, 1.0)
_NEIGHBOURS = 3
_SHOWN = 64  # on the sheet
_EXAMPLES = 8
#: Files of a search, beside the candidates.
SHEET, PAGE, RECORD = "candidates.png", "vetting.html", "search.json"
_FILES = (CANDIDATES, SHEET, PAGE, RECORD)


@dataclass(frozen=True)
class Found:
    """What was found.

    Parameters
    ----------
    candidates : Table
        The catalogue's rows that are most likely of the class, the likeliest first, with ``search_rank`` from 1,
        ``search_score``, ``search_probability`` (calibrated), ``search_nearest`` (three labelled galaxies that look
        most like it) and ``search_nearest_of_class``. ``meta[SEARCH]`` has the record of the run.
    expected : Expected
        Share of the class in the catalogue, and number, purity and completeness of the candidates, with 95 % intervals.
    """

    candidates: Table
    expected: Expected


def search(
    catalogue: Table | str | os.PathLike[str],
    *,
    target: str,
    labelled: Table,
    n_synthetic: int | None = None,
    budget: int = 100,
    classifier: Any = "linear",
    against: str | None = None,
    prevalence: float | None = None,
    after: Sequence[str | os.PathLike[str]] = (),
    training_steps: int = STEPS,
    reader: str | os.PathLike[str] = "choosing",
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    generator: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    images: str = "image",
    schema: str | None = None,
    labels: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    threshold: float = 0.5,
    cut: float | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    rng: RNG = None,
    progress: bool = True,
) -> Found:
    """Rank a catalogue for a rare class.

    Parameters
    ----------
    catalogue : Table or path
        Galaxies with images, and ids to call them by; a Parquet or FITS file, or a folder of such files, is read
        piece by piece. Labelled galaxies that are among them, by id or as the same pixels, are left out.
    target : str
        The class, as `augment_table`; not a free prompt.
    labelled : Table
        Galaxies with images whose class is known by votes, labels or a boolean column.
    n_synthetic : int, optional
        Synthetic galaxies that the classifier learns from too, half of them of the class; 0: none. By default
        cross-validation chooses between none, a quarter and as many as there are labelled ones; it takes them if
        average precision rises by more than its standard error.
    budget : int
        Candidates to return.
    classifier : {"linear", "network"} or object
        A linear model on what a reader of votes knows of an image before it answers; a small network that learns from
        nothing; or a scikit-learn classifier with ``predict_proba`` for the same features.
    against : str, optional
        The only other class among the labelled ones, as target.
    prevalence : float, optional
        Share of the class in the catalogue, in (0, 1); by default estimated from the scores.
    after : sequence of path
        Folders of earlier rounds, with ``vetting.csv`` in them as the page exports it: what was looked at there is
        labelled so, and not returned again.
    training_steps : int
        Of the network.
    reader : str or path
    weights, generator, steps, guidance
        As `augment_table`.
    images : str
        Image column of both tables.
    schema, labels, label_column, id_column, threshold, cut
        As `plan_augmentation`, of the labelled table; the id column is that of both.
    out : path, optional
        A folder for ``candidates.parquet``, a sheet ``candidates.png``, ``vetting.html`` to look at them without
        knowing their scores, and ``search.json``.
    overwrite : bool
        Whether these may be replaced.
    rng : None, int, SeedSequence or Generator
        Draws, learns and resamples (SPEC 7).
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Found

    Raises
    ------
    ConditionError, NoRealRowsError, ImageError, UnknownNameError, WeightsError, OutputError
        Before anything is drawn, where it can be told by then.

    Examples
    --------
    >>> found = search("survey.parquet", target="merger", labelled=table, out="mergers/")  # doctest: +SKIP
    >>> print(found.expected.purity, found.candidates["id", "search_probability"][:3])  # doctest: +SKIP
    """
    from astro_galaxysd.evaluation.reading import ImageReader

    seed = run_seed(rng)
    _check(budget, n_synthetic, prevalence, classifier)
    folder = None if out is None else _prepared(Path(out), after, overwrite)
    columns: dict[str, Any] = {
        "schema": schema, "labels": labels, "label_column": label_column, "id_column": id_column,
    }  # fmt: skip
    known = read_labelled(
        labelled, target, against=against, selection=Selection(threshold, cut), images=images, **columns
    )
    height, width = known.images.shape[1:3]
    vetted = read_vetted(after, (height, width), target=target, against=against, images=images)
    pieces = Pieces(catalogue, images=images, id_column=id_column, size=(height, width))
    loaded = ImageReader.load(reader)
    labels_known = _together(known, vetted, loaded)
    refuse_references(weights, "a search")
    synthesis = Synthesis.of(
        known.table,
        images,
        {"target": target, "threshold": threshold, "cut": cut},
        columns,
        {"weights": pinned(weights), "generator": generator, "steps": steps, "guidance": guidance},
    )
    if n_synthetic != 0:
        synthesis.check(known.positive)
    taught = _teach(
        labels_known,
        partial(_made, synthesis, known, labels_known.rows, loaded, seed),
        Learner(None if isinstance(classifier, str) else classifier, training_steps),
        ARMS["transfer_synthetic"] if classifier == "linear" else ARMS["synthetic"],
        n_synthetic,
        seed,
    )
    embed = None if classifier == "network" else loaded.embed
    ranking = _rank(pieces, known, vetted, taught.score, embed, budget, progress)
    best, pixels, scores = ranking.best()
    # galaxies that were chosen by their scores are no fair sample of the class: those of the labelled table alone are
    expected, probabilities = expect(
        known.positive, taught.held_out[: len(known)], scores, ranking.others(), looked_at=_met(vetted, pieces),
        prevalence=prevalence, rng=stream(seed, "expected"),
    )  # fmt: skip
    best[NAME] = np.array(pieces.names(best), dtype=str)
    best[RANK] = np.arange(1, len(scores) + 1)
    best[SCORE] = scores
    best[PROBABILITY] = probabilities
    _add_nearest(best, loaded.embed(pixels), labels_known)
    record = run_record(
        target=target, against=against, budget=budget, run_seed=seed, reader=loaded.revision,
        weights=os.fspath(weights), weights_revision=weights_content(weights),
        classifier=classifier if isinstance(classifier, str) else repr(classifier),
    )  # fmt: skip
    record |= _findings(known, vetted, labels_known, taught, pieces, ranking, expected)
    record["galaxies of the class that the weights were trained on"] = count_target(weights, known.target)
    best.meta[SEARCH] = json_ready(record)
    if folder is not None:
        _write(folder, best, pixels, labels_known, target, seed)
    return Found(best, expected)


class _Labels(NamedTuple):
    """Galaxies whose class is known, those of the labelled table first; rows with one object's number show one."""

    names: list[str]
    rows: Rows
    objects: np.ndarray


class _Taught(NamedTuple):
    """A classifier, and what its choice rests on."""

    score: Scorer
    synthetic: int
    tried: dict[str, float]
    held_out: np.ndarray


def _check(budget: int, n_synthetic: int | None, prevalence: float | None, classifier: Any) -> None:
    if budget < 1:
        raise ConditionError(f"budget={budget!r}: give at least 1 candidate to return")
    if n_synthetic is not None and n_synthetic < 0:
        raise ConditionError(f"n_synthetic={n_synthetic!r}: give 0 for none, or a number above it")
    if prevalence is not None and not 0 < prevalence < 1:
        raise ConditionError(f"prevalence={prevalence!r} is no share of a catalogue; give one between 0 and 1")
    if isinstance(classifier, str) and classifier not in CLASSIFIERS:
        raise UnknownNameError("classifier", classifier, CLASSIFIERS)
    if not isinstance(classifier, str):
        check_estimator(classifier, ())


def _prepared(folder: Path, after: Sequence[str | os.PathLike[str]], overwrite: bool) -> Path:
    if folder.resolve() in [Path(one).resolve() for one in after]:
        raise ConditionError(f"{folder} is both an earlier round and the output of this one; name another output")
    make_folder(folder)
    for name in _FILES:
        rehearse_path(folder / name, overwrite)
    return folder


def _together(known: Labelled, vetted: Vetted, reader: ImageReader) -> _Labels:
    """Labelled galaxies, then those whose class was told on the page of a round before."""
    from astro_galaxysd.evaluation.memory import digests

    ids, pixels = set(known.names) if known.identified else set(), set(digests(known.images))
    told = [
        row
        for row, answer in enumerate(vetted.answers)
        if answer is not None
        and vetted.digests[row] not in pixels
        and not (vetted.identified[row] and vetted.names[row] in ids)
    ]
    images = np.concatenate([known.images, vetted.images[told]])
    positive = np.concatenate([known.positive, np.array([vetted.answers[row] for row in told], dtype=bool)])
    names = [*known.names, *(vetted.names[row] for row in told)]
    rows = Rows(images, reader.embed(images), positive)
    every = known.identified and all(vetted.identified[row] for row in told)
    return _Labels(names, rows, find_objects(images, rows.features, ids=names if every else None).numbers)


def _met(vetted: Vetted, pieces: Pieces) -> np.ndarray:
    """Whether those are of the class that were looked at and are in this catalogue."""
    ids, pixels = {name for name, _ in pieces.met}, {digest for _, digest in pieces.met}
    answers = zip(vetted.names, vetted.identified, vetted.digests, vetted.answers, strict=True)
    return np.array(
        [
            answer
            for name, identified, digest, answer in answers
            if answer is not None and (digest in pixels or (identified and name in ids))
        ],
        dtype=bool,
    )


def _teach(
    labels: _Labels, made: Callable[[float], tuple[Made, Made]], learn: Learner, arm: Arm, asked: int | None, seed: int
) -> _Taught:
    """Find out how many synthetic galaxies serve, and learn from all labelled galaxies and these."""
    real = labels.rows
    ratios = (0.0, *_RATIOS) if asked is None else (asked / len(real.positive),)
    drawn = made(max(ratios)) if max(ratios) else None
    held_out = {ratio: held_out_scores(learn, arm, real, labels.objects, drawn, ratio, seed) for ratio in ratios}
    ratio = choose_ratio(real.positive, held_out, stream(seed, "ratio")) if asked is None else ratios[0]
    training = real if drawn is None or not ratio else assemble(arm, real, drawn[0].rows, drawn[1].rows, ratio)
    return _Taught(
        learn(arm, training, seed % 2**31),
        len(training.positive) - len(real.positive),
        {f"{tried:g}": float(average_precision(real.positive, one)[0]) for tried, one in held_out.items()},
        held_out[ratio],
    )


def _made(
    synthesis: Synthesis, known: Labelled, real: Rows, reader: ImageReader, seed: int, ratio: float
) -> tuple[Made, Made]:
    """Synthetic galaxies of the class, and others, with votes of the labelled table."""
    number = candidates(ARMS["synthetic"], ratio, len(real.positive))
    height, width = real.images.shape[1:3]
    both = []
    for positive, draw in ((True, synthesis.of_class), (False, synthesis.others)):
        drawn = draw(
            np.flatnonzero(known.positive == positive), number, int(stream(seed, f"drawn {positive}").integers(2**62))
        )
        rows = as_rows(drawn, (height, width), reader.embed, positive=positive)
        both.append(Made(rows, np.asarray(drawn[BASE])))
    return both[0], both[1]


def _findings(
    known: Labelled,
    vetted: Vetted,
    labels: _Labels,
    taught: _Taught,
    pieces: Pieces,
    ranking: Ranking,
    expected: Expected,
) -> dict[str, Any]:
    """What the record says beside what was asked."""
    counts = labels.rows.positive
    told = {name: [value if np.isfinite(value) else None for value in one] for name, one in vars(expected).items()}
    return {
        "ids": pieces.identified,
        "labelled": {"of the class": int(counts.sum()), "others": int((~counts).sum())},
        "looked at before": len(vetted.names),
        "synthetic": taught.synthetic,
        "average precision by ratio": taught.tried,
        "scored": ranking.scored,
        "left out": pieces.left_out,
        "excluded": shortened([known.excluded]),
        "expected, low, high": told,
    }


def _rank(
    pieces: Pieces,
    known: Labelled,
    vetted: Vetted,
    score: Scorer,
    embed: Callable[[np.ndarray], np.ndarray] | None,
    budget: int,
    progress: bool,
) -> Ranking:
    """Score the catalogue, but for what is known; `embed` is None for a classifier that needs no features."""
    ranking = Ranking(budget)
    ids = [*(known.names if known.identified else ()), *compress(vetted.names, vetted.identified)]
    for rows, pixels in pieces.unknown(ids, [known.images, vetted.images], progress=progress):
        features = np.zeros((len(pixels), 0), np.float32) if embed is None else embed(pixels)
        ranking.add(rows, pixels, score(Rows(pixels, features, np.zeros(len(pixels), dtype=bool))))
    return ranking


def _add_nearest(found: Table, features: np.ndarray, labels: _Labels) -> None:
    """Say which labelled galaxies look most like each, by the directions of their features."""
    from astro_galaxysd.evaluation.distances import unit
    from astro_galaxysd.evaluation.neighbours import nearest

    few = min(_NEIGHBOURS, len(labels.names))
    _, near = nearest(unit(np.asarray(features, float)), unit(np.asarray(labels.rows.features, float)), few)
    found[NEAREST] = np.array(labels.names, dtype=str)[near]
    found[NEAREST_OF_CLASS] = labels.rows.positive[near]


def _write(folder: Path, found: Table, pixels: np.ndarray, labels: _Labels, target: str, seed: int) -> None:
    write_table(found, folder / CANDIDATES, overwrite=True)
    examples = labels.rows.images[labels.rows.positive][:_EXAMPLES]
    shown = pixels[:_SHOWN]
    likely = found[PROBABILITY][: len(shown)]
    groups = [
        (f"labelled as {target}", examples),
        (f"candidates 1 to {len(shown)}, probability {likely.max():.2f} to {likely.min():.2f}", shown),
    ]
    contact_sheet(groups, folder / SHEET, title=f"Search for {target}", overwrite=True)
    write_vetting_page(
        pixels, found[NAME].tolist(), folder / PAGE, target=target, examples=examples,
        rng=stream(seed, "page"), overwrite=True,
    )  # fmt: skip
    with atomic_path(folder / RECORD, overwrite=True) as partial_path:
        partial_path.write_text(json.dumps(found.meta[SEARCH], indent=1) + "\n", encoding="utf-8")
