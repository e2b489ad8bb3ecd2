"""Seeds: the randomness of a run in, one int64 a row out.

A row's seed depends on the run seed and on the row's own id, never on its place in the table, so that a row keeps its
pixels whatever is drawn beside it: seed = SeedSequence([run seed, SHA-256 of id]).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from astro_galaxysd.errors import ConditionError

__all__ = ["RNG", "id_text", "refuse_duplicates", "row_seeds", "run_seed", "stream"]

#: What ``rng=`` takes (SPEC 7).
RNG: TypeAlias = "int | np.integer | np.random.SeedSequence | np.random.BitGenerator | np.random.Generator | None"


def run_seed(rng: RNG = None) -> int:
    """Seed of a whole run.

    Parameters
    ----------
    rng : None, int, SeedSequence, BitGenerator or Generator
        None: fresh entropy. An int below 2**63 is the run seed itself. A Generator moves on by one draw.

    Returns
    -------
    int
        In [0, 2**63).

    Raises
    ------
    ConditionError
        If `rng` is negative or of another type.
    """
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool):
        if rng < 0:
            raise ConditionError(f"rng={rng} is negative; use an int from 0 on, a numpy Generator or None")
        return int(rng) if rng < 2**63 else _first_word(np.random.SeedSequence(int(rng)))
    if isinstance(rng, np.random.SeedSequence):
        return _first_word(rng)
    if rng is None or isinstance(rng, (np.random.Generator, np.random.BitGenerator)):
        return int(np.random.default_rng(rng).integers(2**63, dtype=np.uint64))
    raise ConditionError(
        f"rng={rng!r} is a {type(rng).__name__}; use an int from 0 on, a numpy SeedSequence, a Generator or None"
    )


def stream(run_seed: int, purpose: str) -> np.random.Generator:
    """Random numbers for one purpose of a run, independent of those for any other purpose and of the rows' seeds."""
    return np.random.default_rng(np.random.SeedSequence([run_seed, *_words("stream", purpose)]))


def row_seeds(run_seed: int, ids: Sequence[str | int] | np.ndarray) -> np.ndarray:
    """Seeds of rows by their ids.

    Parameters
    ----------
    run_seed : int
        In [0, 2**63), see `run_seed`.
    ids : sequence of str or int
        Unique; 7 and ``"7"`` are the same id, as a number does not keep its type in every file format. Row numbers
        serve where there are no ids.

    Returns
    -------
    ndarray, shape (N,), int64
        In [0, 2**63).

    Raises
    ------
    ConditionError
        If an id occurs twice, is masked, or is neither text nor a whole number.

    Examples
    --------
    >>> row_seeds(0, ["a", "b"])
    array([8561530931907794387, 3843995201464749323])
    """
    names = [id_text(identifier) for identifier in ids]
    refuse_duplicates(names)
    sequences = (np.random.SeedSequence([run_seed, *_words("row", name)]) for name in names)
    return np.fromiter((_first_word(sequence) for sequence in sequences), dtype=np.int64, count=len(names))


def refuse_duplicates(names: Sequence[str]) -> None:
    """Raise where an id occurs twice.

    Raises
    ------
    ConditionError
        Names the first five of them.
    """
    duplicates = [name for name, number in Counter(names).items() if number > 1]
    if duplicates:
        shown = ", ".join(repr(name) for name in duplicates[:5]) + (", ..." if len(duplicates) > 5 else "")
        raise ConditionError(
            f"{len(duplicates)} id(s) occur more than once ({shown}): rows with one id would get one image; "
            "make the ids unique, or name another id column"
        )


def id_text(identifier: object) -> str:
    """An id as text; the same for 7, ``"7"`` and ``b"7"``.

    Raises
    ------
    ConditionError
        If it is masked or neither text nor a whole number.
    """
    if isinstance(identifier, bytes):
        return identifier.decode("utf-8", errors="backslashreplace")
    if isinstance(identifier, (str, int, np.integer)) and not isinstance(identifier, bool):
        return str(identifier)
    raise ConditionError(
        f"id {identifier!r} is a {type(identifier).__name__}; ids are text or whole numbers, and none may be masked"
    )


def _first_word(sequence: np.random.SeedSequence) -> int:
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _words(*parts: str) -> list[int]:
    """SHA-256 of `parts` as eight 32-bit words; `hash()` would differ from one process to the next."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", errors="surrogatepass")).digest()
    return [int.from_bytes(digest[i : i + 4], "big") for i in range(0, len(digest), 4)]
