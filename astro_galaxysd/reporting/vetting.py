"""Are these candidates of the class? Their images in, a page that asks out; the file of its answers in, answers out."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np

from astro_galaxysd.errors import ConditionError, ImageError
from astro_galaxysd.images.files import atomic_path
from astro_galaxysd.reporting.asking import Answer, asking_page
from astro_galaxysd.reporting.page import data_uri

__all__ = ["read_vetting", "write_vetting_page"]

_MEANING = {"yes": True, "no": False, "unsure": None}
_HEADER = ["id", "answer", "seconds"]
_GUARDED = tuple("=+-@\t\r'")  # what the page puts an apostrophe before


def write_vetting_page(
    images: np.ndarray,
    ids: Sequence[str] | np.ndarray,
    path: str | os.PathLike[str],
    *,
    target: str,
    examples: np.ndarray | None = None,
    rng: np.random.Generator | int | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an offline page that shows candidates one by one and asks of each whether it is of the class.

    They come in an order drawn by lot and without their scores, so that neither says what to expect; ids are in the
    page, encoded, and shown when all is answered. Then answers can be changed below the images and exported as CSV, for
    `read_vetting`. Answers survive a reload where the browser allows it.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
        The candidates, N at least 1.
    ids : sequence of str or ndarray, length N
        Unique, none empty.
    path : path
        The HTML file.
    target : str
        The class in words: ``"merger"``.
    examples : ndarray, shape (M, H, W, 3), uint8, optional
        Labelled galaxies of the class, shown above the candidates; of any size and number.
    rng : Generator, int or None
        Mixes.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path

    Raises
    ------
    ImageError
        If there are no images, or they or the examples are not uint8 (N, H, W, 3).
    ConditionError
        If there is not one id an image, an id is empty or given twice, or `target` is empty.
    OutputExistsError, OutputError
        As `astro_galaxysd.images.files.atomic_path`.

    Examples
    --------
    >>> from astro_galaxysd.testing import example_batch
    >>> batch = example_batch(4)
    >>> write_vetting_page(batch.images, batch.ids, "vetting.html", target="merger", rng=1).name
    'vetting.html'
    """
    if not target.strip():
        raise ConditionError(f"target={target!r} names no class; say what is asked, for example 'merger'")
    pixels = _pixels(images, "candidates")
    names = _names(ids, len(pixels))
    reference = "" if examples is None else _strip(_pixels(examples, "examples"), target)
    order = np.random.default_rng(rng).permutation(len(pixels)).tolist()
    page = asking_page(
        "vetting",
        [data_uri(pixels[row]) for row in order],
        [names[row] for row in order],
        title=f"Candidates: {target}",
        lead=f"{_counted(len(pixels))} in an order drawn by lot. Say of each what you see; nothing is sent anywhere.",
        answers=(Answer("yes", f"Yes, {target}", "y"), Answer("no", "No", "n"), Answer("unsure", "Can't tell", "u")),
        finish="Finish",
        size=pixels.shape[1:3],
        reference=reference,
    )
    with atomic_path(path, overwrite) as partial:
        partial.write_text(page, encoding="utf-8")
    return Path(path)


def read_vetting(path: str | os.PathLike[str]) -> dict[str, bool | None]:
    r"""Read the answers that were exported from a page of `write_vetting_page`.

    Parameters
    ----------
    path : path
        A CSV file in UTF-8 with the columns id, answer and seconds.

    Returns
    -------
    dict
        Id -> True for *yes*, False for *no*, None for *unsure*, in the order of the file. Candidates without an answer
        are not in it.

    Raises
    ------
    ConditionError
        If the file can't be read, has another header, a line that is no answer, or two answers for one id; the message
        names file, line and value.

    Examples
    --------
    >>> _ = Path("vetting.csv").write_text("id,answer,seconds\nA 17,yes,2.10\n'=5,unsure,9.00\n")
    >>> read_vetting("vetting.csv")
    {'A 17': True, '=5': None}
    """
    answers: dict[str, bool | None] = {}
    lines: dict[str, int] = {}
    for line, name, word in _rows(Path(path)):
        answer = _MEANING[word]
        if name in answers and answers[name] is not answer:
            raise ConditionError(
                f"{str(path)!r}, line {line}: id {name!r} is {word!r} here and {_word(answers[name])!r} in line "
                f"{lines[name]}; remove one of the two lines"
            )
        answers.setdefault(name, answer)
        lines.setdefault(name, line)
    return answers


def _pixels(images: np.ndarray, what: str) -> np.ndarray:
    try:
        pixels = np.asarray(images)
    except ValueError:
        raise ImageError(f"the {what} are not of one size; bring them to one with fit_size") from None
    if pixels.ndim and not len(pixels):
        raise ImageError(f"there are no {what}; give 1 image or more, uint8 (N, H, W, 3)")
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3 or not pixels.size:
        raise ImageError(f"the {what} are {pixels.dtype} of shape {pixels.shape}; give uint8 (N, H, W, 3)")
    return pixels


def _names(ids: Sequence[str] | np.ndarray, count: int) -> list[str]:
    names = [name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name) for name in ids]
    if len(names) != count:
        raise ConditionError(f"{len(names)} ids for {count} images; give one id an image")
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if not name.strip():
            raise ConditionError(f"the id of image {row} is {name!r}; give each image an id, so that answers find it")
        if first.setdefault(name, row) != row:
            raise ConditionError(f"id {name!r} is that of images {first[name]} and {row}; give each image its own")
    return names


def _counted(count: int) -> str:
    return "1 candidate" if count == 1 else f"{count} candidates"


def _strip(examples: np.ndarray, target: str) -> str:
    label = escape(f"Labelled as {target}")
    height, width = examples.shape[1:3]
    shown = "".join(
        f'<img src="{data_uri(example)}" alt="Example {number}" width="{width}" height="{height}">'
        for number, example in enumerate(examples, 1)
    )
    return (
        f'<figure class="examples"><figcaption>{label}</figcaption>'
        f'<div tabindex="0" role="region" aria-label="{label}">{shown}</div></figure>'
    )


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number of the line, id and answer of each answer in a file."""
    shown = repr(str(path))
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if header != _HEADER:
            raise ConditionError(
                f"{shown}, line 1: the header is {','.join(header)!r}, not {','.join(_HEADER)!r}; give the file that "
                "the page exports"
            )
        for row in reader:
            if any(value.strip() for value in row):
                yield reader.line_num, *_answer(row, f"{shown}, line {reader.line_num}")
    except csv.Error as error:
        raise ConditionError(f"{shown}, line {reader.line_num}: {error}; correct the line, or export again") from error


def _text(path: Path) -> str:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return file.read()
    except FileNotFoundError:
        raise ConditionError(f"{str(path)!r} is not there; give the file that the page exports") from None
    except OSError as error:
        raise ConditionError(f"{str(path)!r} can't be read: {error.strerror}; give the exported file") from error
    except UnicodeDecodeError as error:
        raise ConditionError(
            f"{str(path)!r} is not UTF-8: {error.reason} at byte {error.start}; export again"
        ) from error


def _answer(row: list[str], where: str) -> tuple[str, str]:
    if len(row) != len(_HEADER):
        raise ConditionError(f"{where}: {','.join(row)!r} has {len(row)} values, not {len(_HEADER)}; correct the line")
    name, word = row[0], row[1].strip().casefold()
    if not name.strip():
        raise ConditionError(f"{where}: there is no id; correct or remove the line")
    if word not in _MEANING:
        raise ConditionError(
            f"{where}: the answer to id {name!r} is {row[1]!r}; write {', '.join(_MEANING)}, or remove the line"
        )
    guarded = name.startswith("'") and name[1:].startswith(_GUARDED)
    return name[1:] if guarded else name, word


def _word(answer: bool | None) -> str:
    return next(word for word, meaning in _MEANING.items() if meaning is answer)
