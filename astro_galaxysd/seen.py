"""Who has seen real rows before: the weights that drew what is judged, and the reader and embedder that judge it.

In: ids of rows, and the folders of weights and judges, beside which the hashed ids lie that they learnt from; and the
images themselves, as ids differ from table to table. Out: how many of the rows each has seen, and how many images occur
twice, with a warning where there are any, as what is said of such rows is too good.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from astro_galaxysd.conditions.columns import texts
from astro_galaxysd.errors import ConditionError, GalaxySDError, WeightsError
from astro_galaxysd.images.provenance import WEIGHTS, WEIGHTS_REVISION

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.conditions.targets import Target
    from astro_galaxysd.evaluation.scoring import Sets

__all__ = [
    "SeenRowsWarning",
    "count_copies",
    "count_rows",
    "count_seen",
    "count_target",
    "judge_folders",
    "weight_folders",
    "weights_content",
    "weights_of",
]


class SeenRowsWarning(UserWarning):
    """Real rows that are compared with were seen before, by what is judged or by what judges, or occur twice."""


def weights_of(table: Table, rows: np.ndarray) -> list[tuple[str, str]]:
    """Names and revisions of the weights that drew some rows.

    Parameters
    ----------
    table : Table
        Synthetic rows; without a column ``weights`` there are none.
    rows : ndarray, int

    Returns
    -------
    list of (str, str)
        Sorted; the revision is "" where the table tells none.
    """
    if WEIGHTS not in table.colnames:
        return []
    names = texts(table[WEIGHTS])
    revisions = texts(table[WEIGHTS_REVISION]) if WEIGHTS_REVISION in table.colnames else [None] * len(names)
    found = {(names[row], revisions[row] or "") for row in rows}
    return sorted((name, revision) for name, revision in found if name)


def weight_folders(weights: Iterable[tuple[str, str]]) -> dict[str, Path | None]:
    """Folders of weights that a table names.

    Parameters
    ----------
    weights : iterable of (str, str)
        Name and revision of each, "" where the table tells none.

    Returns
    -------
    dict of str to Path or None
        By what they are called in a warning; None where they are not here in that revision.
    """
    folders: dict[str, Path | None] = {}
    for name, revision in weights:
        who = f"weights {name!r}"
        folders[who] = folders.get(who) or _folder_of(name, revision)
    return folders


def _folder_of(name: str, revision: str) -> Path | None:
    from astro_galaxysd.diffusion.components import folder_revision
    from astro_galaxysd.diffusion.generator import weights_folder
    from astro_galaxysd.weightcards import known_card

    try:
        card = known_card(name)
        if card is None or card.location.startswith("hub:"):  # nothing is fetched to know who has seen what
            return None
        folder = weights_folder(card)
        same = revision in ("", card.revision or folder_revision(folder))
    except GalaxySDError:
        return None
    return folder if same else None


def judge_folders(reader: object, revision: str | None, embedder: str) -> dict[str, Path | None]:
    """Folders of what judges.

    Parameters
    ----------
    reader : str, path, object or None
        As `astro_galaxysd.assessment.evaluate` was given it; None where nothing is read.
    revision : str or None
        Of the reader, as it was loaded.
    embedder : str
        Revision of the embedder.

    Returns
    -------
    dict of str to Path or None
        By what they are called in a warning: the reader, None where its folder is not known, and the embedder, if it
        is ours and lies elsewhere.
    """
    from astro_galaxysd.evaluation.reading import READERS, judges_folder

    ours, folders = judges_folder(), dict[str, Path | None]()
    shipped = {hashlib.sha256(path.read_bytes()).hexdigest() for path in ours.glob("*.safetensors")}
    if reader is not None:
        at = Path(reader).parent if isinstance(reader, str | os.PathLike) and reader not in READERS else None
        folders["the reader"] = ours if revision in shipped else at
    if embedder in shipped and ours not in folders.values():
        folders["the embedder"] = ours
    return folders


def count_rows(folder: Path | None, ids: Sequence[str]) -> int | None:
    """Count the rows that weights, or what judges, learnt from, by the ids in their folder.

    Parameters
    ----------
    folder : Path or None
        None where it is not known.
    ids : sequence of str
        Of the rows; none where they have no ids.

    Returns
    -------
    int or None
        None where there are no ids, or where the folder does not say what was learnt from.
    """
    from astro_galaxysd.learning.trainingids import trained_on

    if folder is None or not ids:
        return None
    try:
        return int(trained_on(folder, ids).sum())
    except WeightsError:
        return None


def weights_content(weights: str | os.PathLike[str]) -> str:
    """Hash of what weights hold, as a folder trained on keeps its name; that of the card where they are no folder."""
    from astro_galaxysd.diffusion.components import folder_revision
    from astro_galaxysd.diffusion.generator import weights_folder
    from astro_galaxysd.weightcards import weight_card

    card = weight_card(weights)
    try:
        return card.revision if card.location.startswith("hub:") else folder_revision(weights_folder(card))
    except WeightsError:
        return card.revision


def count_target(weights: str | os.PathLike[str], target: Target) -> int | None:
    """Count the galaxies of a class that weights learnt from, whoever's they were.

    Parameters
    ----------
    weights : str or path
    target : Target

    Returns
    -------
    int or None
        None where the class is no answer of the tree, or the weights don't say.
    """
    from astro_galaxysd.learning.trainingids import count_learnt

    folder = next(iter(weight_folders([(os.fspath(weights), "")]).values()))
    if folder is None or target.answer is None:
        return None
    try:
        return count_learnt(folder, target.answer.key)
    except WeightsError:
        return None


def count_seen(ids: Sequence[str], folders: Mapping[str, Path | None]) -> dict[str, int | None]:
    """Count the rows that were learnt from.

    Parameters
    ----------
    ids : sequence of str
        Of the rows; none where they have no ids.
    folders : mapping of str to Path or None
        From `weight_folders` and `judge_folders`.

    Returns
    -------
    dict of str to int or None
        Rows that each has seen; None where that is not known.

    Warns
    -----
    SeenRowsWarning
        For each that has seen any.
    """
    seen = {who: count_rows(folder, ids) for who, folder in folders.items()}
    for who, number in seen.items():
        if number:
            warnings.warn(
                f"{number} of {len(ids)} real rows that are compared with were among those {who} learnt from: what is "
                "said of them is too good; compare with other rows",
                SeenRowsWarning,
                stacklevel=4,
            )
    return seen


def count_copies(sets: Sets) -> dict[str, int]:
    """Count images that occur twice, pixel by pixel, whatever their ids.

    Parameters
    ----------
    sets : Sets

    Returns
    -------
    dict of str to int
        ``"real images that occur twice"`` and ``"synthetic images that are real ones"``.

    Raises
    ------
    ConditionError
        If images of `sets.training` are among the real ones.

    Warns
    -----
    SeenRowsWarning
        For each kind of which there are any.
    """
    from astro_galaxysd.evaluation.memory import digests

    real = [*digests(sets.real.images), *digests(sets.held.images)]
    known = set(real)
    shared = 0 if sets.training is None else len(known & set(digests(sets.training.images)))
    if shared:
        raise ConditionError(
            f"{shared} images of training= are among the real ones, whatever their ids: what was learnt by heart would "
            "count as realistic; compare with rows that were not trained on"
        )
    copies = {
        "real images that occur twice": len(real) - len(known),
        "synthetic images that are real ones": sum(digest in known for digest in digests(sets.synthetic.images)),
    }
    for what, number in copies.items():
        if number:
            message = f"{number} {what}, pixel by pixel: what is said of them is too good; leave them out"
            warnings.warn(message, SeenRowsWarning, stacklevel=4)
    return copies
