"""Tables of galaxies as data sets of the Hugging Face Hub keep them: Parquet, with an image feature of PNG files.

`datasets` shows such a column as images; pandas and pyarrow read its bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError
from astro_galaxysd.images.encoded import Encoding, decode_image, encode_image

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["read_features", "write_features"]

_IMAGE = "image"


def write_features(table: Table, images: np.ndarray, path: Path) -> list[str]:
    """Write a Parquet file with an image feature.

    Parameters
    ----------
    table : Table
        Columns of numbers and text, of one value a row; others are left out.
    images : ndarray, shape (N, H, W, 3), uint8
    path : Path

    Returns
    -------
    list of str
        Columns of the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays: dict[str, Any] = {}
    for name in table.colnames:
        values = table[name]
        kind = getattr(getattr(values, "dtype", None), "kind", "")  # sky positions and the like have none
        if name == _IMAGE or kind not in {*"biufUS"} or values.ndim != 1:
            continue
        mask = np.ma.getmaskarray(np.ma.asarray(values))
        plain = np.asarray(np.ma.getdata(values))
        native = plain.astype(str) if kind in "US" else plain.astype(plain.dtype.newbyteorder("="))
        arrays[name] = pa.array(native, mask=mask)
    stored = [{"bytes": encode_image(pixels, Encoding("PNG")), "path": None} for pixels in images]
    arrays[_IMAGE] = pa.array(stored, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    described = pa.table(arrays)
    features = {name: _feature(name, field.type) for name, field in zip(arrays, described.schema, strict=True)}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(described.replace_schema_metadata(metadata), path, row_group_size=1000)
    return list(arrays)


def _feature(name: str, kind: Any) -> dict[str, str]:
    if name == _IMAGE:
        return {"_type": "Image"}
    return {"dtype": {"double": "float64", "float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}


def read_features(path: Path) -> np.ndarray:
    """Images of a file that `write_features` wrote, shape (N, H, W, 3), uint8.

    Raises
    ------
    ConditionError
        If it has no column ``image`` of that kind.
    """
    import pyarrow.parquet as pq

    try:
        stored = pq.read_table(path, columns=[_IMAGE]).column(_IMAGE).to_pylist()
        return np.stack([decode_image(one["bytes"], f"{path}, row {row}") for row, one in enumerate(stored)])
    except (KeyError, TypeError, ValueError) as error:
        raise ConditionError(f"{path} has no image feature {_IMAGE!r} ({error}); name another file") from error
