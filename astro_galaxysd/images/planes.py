"""One image HDU and its pixels: planes (3, H, W), row 0 at the bottom, against (H, W, 3), row 0 at the top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from astro_galaxysd.errors import ImageError

if TYPE_CHECKING:
    from astropy.io.fits import ImageHDU

__all__ = ["hdu_with_pixels", "image_hdu", "is_hdu", "planes_of"]


def is_hdu(item: Any) -> bool:
    """Whether `item` is an HDU or an HDUList."""
    from astropy.io import fits

    return isinstance(item, fits.HDUList) or (hasattr(item, "header") and hasattr(item, "data"))


def planes_of(item: Any, where: str) -> np.ndarray:
    """Pixels (H, W, 3), row 0 at the top, of an image HDU or of the first HDU with pixels of an HDUList.

    Raises
    ------
    ImageError
        If there are no three planes; `where` names the row.
    """
    data = np.asarray(hdu_with_pixels(item, where).data)
    if data.ndim != 3 or data.shape[0] != 3:
        hint = "; its bands come last: use np.moveaxis(data, -1, 0)" if data.ndim == 3 and data.shape[-1] == 3 else ""
        bands = data.shape[0] if data.ndim == 3 else 1
        raise ImageError(
            f"{where}: an HDU of shape {data.shape}, {bands} band{'s' if bands != 1 else ''}; three planes (3, H, W), "
            f"red, green and blue, are needed{hint}"
        )
    return np.moveaxis(data, 0, -1)[::-1]


def image_hdu(pixels: np.ndarray) -> ImageHDU:
    """Make an ImageHDU of (H, W, 3) pixels, row 0 at the top; the header is the structural minimum."""
    from astropy.io import fits

    return fits.ImageHDU(np.ascontiguousarray(np.moveaxis(pixels[::-1], -1, 0)))


def hdu_with_pixels(item: Any, where: str) -> Any:
    """Return the HDU itself, or the first HDU with pixels of an HDUList."""
    from astropy.io import fits

    candidates = item if isinstance(item, fits.HDUList) else [item]
    for hdu in candidates:
        if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) > 0:
            return hdu
    raise ImageError(f"{where}: the HDU is empty (no image data); remove the row or give it an image")
