"""Tables of galaxies as data sets of the Hugging Face Hub keep them: Parquet, with an image feature of PNG files.

`datasets` shows such a column as images; pandas and pyarrow read its bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ConditionError
from astro_galaxysd.images.encoded import Encoding, decode_image, encode_image
from astro_galaxysd.images.storage_columns import IMAGE

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["features_metadata", "image_structs", "is_image_struct", "read_features", "write_features"]


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
        if name == IMAGE or kind not in {*"biufUS"} or values.ndim != 1:
            continue
        mask = np.ma.getmaskarray(np.ma.asarray(values))
        plain = np.asarray(np.ma.getdata(values))
        native = plain.astype(str) if kind in "US" else plain.astype(plain.dtype.newbyteorder("="))
        arrays[name] = pa.array(native, mask=mask)
    arrays[IMAGE] = image_structs([encode_image(pixels, Encoding("PNG")) for pixels in images])
    described = pa.table(arrays)
    metadata = features_metadata(described.schema)
    pq.write_table(described.replace_schema_metadata(metadata), path, row_group_size=1000)
    return list(arrays)


def image_structs(files: Sequence[bytes]) -> Any:
    """Arrow array ``{bytes, path}`` of encoded images, of the type that image features have."""
    import pyarrow as pa

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.array([{"bytes": file, "path": None} for file in files], kind)


def is_image_struct(kind: Any) -> bool:
    """Whether an Arrow type is the struct ``{bytes, path}`` that data sets use for images."""
    import pyarrow as pa

    return bool(pa.types.is_struct(kind)) and {field.name for field in kind} == {"bytes", "path"}


def features_metadata(schema: Any) -> dict[str, str]:
    """Metadata of an Arrow schema that tell `datasets` what its columns are."""
    features = {field.name: _feature(field.type) for field in schema}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def _feature(kind: Any) -> dict[str, Any]:
    import pyarrow as pa

    if is_image_struct(kind):
        return {"_type": "Image"}
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "List"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    names = {"double": "float64", "float": "float32", "halffloat": "float16"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}


def read_features(path: Path) -> np.ndarray:
    """Images of a file that `write_features` wrote, shape (N, H, W, 3), uint8.

    Raises
    ------
    ConditionError
        If it has no column ``image`` of that kind.
    """
    import pyarrow.parquet as pq

    try:
        stored = pq.read_table(path, columns=[IMAGE]).column(IMAGE).to_pylist()
        return np.stack([decode_image(one["bytes"], f"{path}, row {row}") for row, one in enumerate(stored)])
    except (KeyError, TypeError, ValueError) as error:
        raise ConditionError(f"{path} has no image feature {IMAGE!r} ({error}); name another file") from error
