"""Publishing on the Hugging Face Hub: weights or synthetic galaxies in, a repository at a commit out.

``publish`` = load and draw -> licence of the base -> card and sheet -> one commit -> fetched and drawn with again,
where asked. ``publish_table`` = synthetic rows -> Parquet with an image feature, run record, card -> one commit ->
compared, where asked.
What is wrong with weights or cards is said before anything travels. Access tokens come from ``HF_TOKEN`` or
``hf auth login`` and are written nowhere.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.conditions.columns import is_synthetic
from astro_galaxysd.conditions.published import PUBLISHED_PROMPTS
from astro_galaxysd.diffusion.components import is_weights_folder
from astro_galaxysd.drawing import load_generator
from astro_galaxysd.errors import ConditionError, HubError, WeightsError
from astro_galaxysd.hub.download import fetch_folder
from astro_galaxysd.hub.listing import SAFE_SUFFIXES, TABLE_SUFFIXES
from astro_galaxysd.hub.names import parse_name
from astro_galaxysd.hub.upload import PUSHED_SUFFIXES, PushFile, list_push, push_folder
from astro_galaxysd.hubcards import check_card, dataset_card, front_matter, model_page
from astro_galaxysd.images.codec import read_images
from astro_galaxysd.images.features import read_features, write_features
from astro_galaxysd.images.provenance import PROMPT, RUN_RECORD, WEIGHTS, WEIGHTS_REVISION
from astro_galaxysd.images.sheet import contact_sheet
from astro_galaxysd.plugins.manager import get_registry
from astro_galaxysd.references import of_one_size
from astro_galaxysd.weightcards import known_card, weight_card

if TYPE_CHECKING:
    from astropy.table import Table

    from astro_galaxysd.plugins.protocols import Generator
    from astro_galaxysd.records import WeightCard

__all__ = ["Published", "publish", "publish_table"]

_CARD, _SAMPLES, _ROWS, _RECORD = "README.md", "samples.png", "data/synthetic.parquet", "run.json"
_SEED = 20260101
#: Of what a repository had before: a model of two would be none.
_REPLACED = (
    *(f"{part}/*" for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")),
    "*.safetensors", "*.ckpt", "model_index.json", "sampling.json", "training_*",
)  # fmt: skip


@dataclass(frozen=True)
class Published:
    """What was published, or would be.

    Parameters
    ----------
    repo : str
        ``"organisation/name"``.
    revision : str
        The commit, 40 hexadecimal digits; empty where nothing was pushed.
    files : tuple of PushFile
        Path, size and whether it is a large file.
    card : str
        Text of the README.md.
    """

    repo: str
    revision: str
    files: tuple[PushFile, ...]
    card: str


def publish(
    folder: str | os.PathLike[str],
    repo: str,
    *,
    licence: str | None = None,
    base_model: str | None = None,
    restrictions: str | None = None,
    references: Table | np.ndarray | None = None,
    message: str | None = None,
    private: bool = False,
    dry_run: bool = False,
    verify: bool = False,
) -> Published:
    """Publish weights as a model on the Hugging Face Hub.

    Parameters
    ----------
    folder : path
        A diffusers folder, safetensors only, with a README.md that says what the weights learnt from and how good they
        are; ``galaxysd train ... --promote FOLDER`` writes both.
    repo : str
        ``"organisation/name"``; made where there is none.
    licence : str, optional
        Identifier of the Hub; by default that of the base, or what README.md says.
    base_model : str, optional
        Id of the model that the weights were fine-tuned from; by default what README.md says. Its licence and
        restrictions hold for them too.
    restrictions : str, optional
        What the licence forbids, in words; by default that of the base, where its card is known.
    references : Table or ndarray, optional
        As `astro_galaxysd.load_generator`.
    message : str, optional
        Of the commit.
    private : bool
        Whether nobody else may see it.
    dry_run : bool
        Load, draw and write the card, but push nothing.
    verify : bool
        Fetch what was pushed and compare what it draws, bit by bit.

    Returns
    -------
    Published

    Raises
    ------
    WeightsError
        If they can't be loaded or draw nothing, the card is incomplete, or no licence is known or another than the
        base's is given.
    HubError
        If they can't be pushed, or `verify` finds other images.

    Examples
    --------
    >>> publish("runs/own/weights", "organisation/rings", dry_run=True).files  # doctest: +SKIP
    """
    where, root = _repository(repo), Path(folder).expanduser()
    if not is_weights_folder(root):
        raise WeightsError(
            f"{root} is no diffusers folder with model_index.json; publish one, as `galaxysd train` writes"
        )
    text = _text(root)
    check_card(text)
    terms = _terms(front_matter(text)[0], licence, base_model, restrictions)
    list_push(root)  # refuses kinds of files that don't belong there
    card = weight_card(root)
    generator = load_generator(root, references=references)
    drawn = _drawn(generator)
    if drawn.std() < 1:
        raise WeightsError(
            f"{root} draws blank images (standard deviation {drawn.std():.2g} grey levels); train it first"
        )
    sampling = {"sampler": card.sampler, "steps": card.steps, "guidance": card.guidance}
    page = model_page(text, repo=where, samples=_SAMPLES, sampling=sampling, prompts=_prompts(), **terms)
    with _copied(root) as copy:
        (copy / _CARD).write_text(page, encoding="utf-8")
        contact_sheet([(f"drawn by {where}, in the order of README.md", drawn)], copy / _SAMPLES, overwrite=True)
        files = tuple(list_push(copy))
        if dry_run:
            return Published(where, "", files, page)
        told = message or f"Weights {card.name} of astro_galaxysd"
        revision = push_folder(copy, where, message=told, private=private, replace_files=_REPLACED)
    if verify:
        again = _drawn(load_generator(f"{where}@{revision}", references=references))
        if not np.array_equal(again, drawn):
            raise HubError(f"{where}@{revision} draws other images than {root}; don't announce it, and push again")
    return Published(where, revision, files, page)


def publish_table(
    table: Table,
    repo: str,
    *,
    images: str = "image",
    licence: str | None = None,
    message: str | None = None,
    private: bool = False,
    dry_run: bool = False,
    verify: bool = False,
) -> Published:
    """Publish the synthetic rows of a table as a data set on the Hugging Face Hub.

    Parameters
    ----------
    table : Table
        As `astro_galaxysd.augment_table` or `astro_galaxysd.generate` returns; real rows stay here.
    repo, message, private, verify
        As `publish`.
    images : str
        Image column.
    licence : str, optional
        Identifier of the Hub; by default that of the weights, where their card is known.
    dry_run : bool
        Write everything, but push nothing.

    Returns
    -------
    Published

    Raises
    ------
    ConditionError
        If there is no synthetic row, provenance is missing, or no licence is known.
    ImageError
        If images can't be read, or have several sizes.
    HubError
        If it can't be pushed, or `verify` finds something else.
    """
    where = _repository(repo)
    rows = table[is_synthetic(table)]
    if not len(rows):
        raise ConditionError(f"none of {len(table)} rows is synthetic; real galaxies are their survey's to publish")
    missing = [name for name in (PROMPT, WEIGHTS) if name not in rows.colnames]
    if missing:
        raise ConditionError(
            f"synthetic rows have no column {missing[0]!r}: nobody could say what drew them; draw again"
        )
    pixels = of_one_size(read_images(rows, column=images), "images")
    drawn_by = Counter(_weights_of(rows))
    terms = _terms_of_rows({name.partition("@")[0] for name in drawn_by}, licence)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / _ROWS).parent.mkdir()
        columns = write_features(rows, pixels, folder / _ROWS)
        record = _without_places(table.meta.get(RUN_RECORD, {}))
        (folder / _RECORD).write_text(json.dumps(record, indent=1, default=str) + "\n", encoding="utf-8")
        page = dataset_card(
            title=where.partition("/")[2], rows=len(rows), drawn_by=drawn_by, prompts=len(set(rows[PROMPT].tolist())),
            columns=columns, file=_ROWS, **terms,
        )  # fmt: skip
        (folder / _CARD).write_text(page, encoding="utf-8")
        suffixes = PUSHED_SUFFIXES | TABLE_SUFFIXES
        files = tuple(list_push(folder, suffixes=suffixes))
        if dry_run:
            return Published(where, "", files, page)
        told = message or f"{len(rows)} synthetic galaxies of astro_galaxysd"
        revision = push_folder(folder, where, message=told, kind="dataset", private=private, suffixes=suffixes)
    if verify:
        fetched = fetch_folder(where, revision, kind="dataset", suffixes=SAFE_SUFFIXES | TABLE_SUFFIXES)
        if not np.array_equal(read_features(fetched.path / _ROWS), pixels):
            raise HubError(f"{where}@{revision} holds other images than the table; don't announce it, and push again")
    return Published(where, revision, files, page)


def _repository(repo: str) -> str:
    where = parse_name(repo)
    if where.revision is not None:
        raise HubError(f"{repo!r} names a revision, but what is published becomes a new one; leave it out")
    return where.name


def _text(root: Path) -> str:
    try:
        return (root / _CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""  # `model_page` says what is missing


def _prompts() -> list[str]:
    return list(PUBLISHED_PROMPTS)[::2]


def _drawn(generator: Generator) -> np.ndarray:
    from astropy.table import Table

    prompts = _prompts()
    return np.asarray(
        generator.generate(Table({"prompt": prompts, "seed": _SEED + np.arange(len(prompts))}), batch_size=None).images
    )


@contextmanager
def _copied(root: Path) -> Iterator[Path]:
    """A copy of a folder that may be added to: links to the same files where the disk allows it."""
    beside = root.resolve().parent if os.access(root.resolve().parent, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=beside, prefix=".publish-") as place:
        copy = Path(place) / root.resolve().name
        shutil.copytree(root, copy, copy_function=_link, ignore=shutil.ignore_patterns(".*"))
        for name in (_CARD, _SAMPLES):  # a link must not be written through
            (copy / name).unlink(missing_ok=True)
        yield copy


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _terms(
    metadata: dict[str, Any], licence: str | None, base_model: str | None, restrictions: str | None
) -> dict[str, str]:
    """Licence, restrictions and base of weights; what holds for the base holds for them."""
    base_model = base_model or _one(metadata, "base_model")
    if base_model:
        parse_name(base_model)
    base = _card_of(base_model)
    told = _one(metadata, "license")
    if licence is not None and told and licence.lower() != told.lower():
        raise WeightsError(f"licence {licence!r}, but README.md says {told!r}; leave licence out, or mend README.md")
    own = licence or told
    if base is not None and licence is not None and licence.lower() != base.licence.lower():
        raise WeightsError(
            f"licence {licence!r}, but the weights come from {base_model}, whose licence {base.licence!r} holds for "
            "them too; leave licence out"
        )
    if base is None and base_model and not own:
        raise WeightsError(
            f"nothing here says what licence {base_model} has, which holds for the weights too; look at its page and "
            "give licence="
        )
    found = base.licence if base is not None else own
    if not found:
        raise WeightsError("no licence: give licence=, or write it to the front matter of README.md as 'license:'")
    if restrictions is None:
        # one licence forbids the same wherever it holds
        cards = [base] if base is not None else [card for card in _cards() if card.licence.lower() == found.lower()]
        restrictions = next((card.restrictions for card in cards if card.restrictions), "")
    return {"licence": found, "restrictions": restrictions, "base_model": base_model}


def _one(metadata: dict[str, Any], key: str) -> str:
    """A value of the front matter, which may stand in a list of one."""
    value = metadata.get(key) or ""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        raise WeightsError(f"README.md: {key} is {value!r} in the front matter; name one")
    return value


def _card_of(base_model: str) -> WeightCard | None:
    """Card of weights that come from the same base."""
    return next((card for card in _cards() if base_model and card.base_model == base_model), None)


def _cards() -> list[WeightCard]:
    return [get_registry().get("weights", name) for name in get_registry().records_of("weights")]


def _without_places(record: Any) -> Any:
    """A record without the folders of this machine: of a path the last part is left."""
    if isinstance(record, dict):
        return {key: _without_places(value) for key, value in record.items()}
    if isinstance(record, list):
        return [_without_places(value) for value in record]
    return Path(record).name if isinstance(record, str) and Path(record).is_absolute() else record


def _weights_of(rows: Table) -> list[str]:
    names = np.ma.filled(np.ma.asarray(rows[WEIGHTS]).astype(object), "unknown")
    if WEIGHTS_REVISION not in rows.colnames:
        return [str(name) for name in names]
    revisions = np.ma.filled(np.ma.asarray(rows[WEIGHTS_REVISION]).astype(object), "")
    return [f"{name}@{revision}" if revision else str(name) for name, revision in zip(names, revisions, strict=True)]


def _terms_of_rows(weights: set[str], licence: str | None) -> dict[str, str]:
    """Licence and restrictions of what weights drew."""
    cards = [known_card(name) for name in sorted(weights)]
    known = {card.licence for card in cards if card is not None and card.licence}
    told = "\n".join(sorted({card.restrictions for card in cards if card is not None and card.restrictions}))
    if licence is None and (len(known) != 1 or any(card is None or not card.licence for card in cards)):
        raise ConditionError(
            f"what licence holds for galaxies of {', '.join(sorted(weights))} is not known here; look at their cards "
            "and give licence="
        )
    return {"licence": licence or known.pop(), "restrictions": told}
