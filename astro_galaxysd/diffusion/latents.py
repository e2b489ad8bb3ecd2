"""Latents of training images: encoded when they are needed, or once, in all mirrored and rotated forms, into a file.

A mirrored image's latent is not the mirrored latent, so each of the eight forms is encoded by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from astro_galaxysd.errors import OutputError
from astro_galaxysd.learning.views import dihedral, pixels_of

__all__ = ["LatentSource", "latent_moments"]

_FORMS = 8
#: Pixels encoded together: a large autoencoder needs much memory for each.
_PIXELS = 2_000_000


def latent_moments(vae: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What an autoencoder says of pixels: mean latents, and their standard deviation where it has one.

    Parameters
    ----------
    vae : AutoencoderKL, AutoencoderTiny or LappedAutoencoder
    pixels : Tensor, shape (N, 3, H, W), in [-1, 1]

    Returns
    -------
    mean, deviation : Tensor of shape (N, C, h, w), and the same or None
        In the units a UNet sees: shifted and multiplied by the autoencoder's scaling factor.
    """
    scale = vae.config.scaling_factor
    encoded = vae.encode(pixels)
    if hasattr(encoded, "latents"):
        return encoded.latents * scale, None
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    return (encoded.latent_dist.mean - shift) * scale, encoded.latent_dist.std * scale


class LatentSource:
    """Latents of rows of a set of images.

    Parameters
    ----------
    vae
        As in `latent_moments`; on its device, not trained.
    images : ndarray, shape (N, H, H, 3), uint8
    cache : Path, optional
        Folder to keep all encodings in, in half precision; the file is made at the first use and found again.
    """

    def __init__(self, vae: Any, images: np.ndarray, cache: Path | None = None) -> None:
        self.vae, self.images = vae, images
        self._stored = self._open(cache) if cache is not None else None

    def draw(self, rows: np.ndarray, forms: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        """Latents of `rows` in the mirrored and rotated `forms` (0 to 7), drawn from `rng` where they are uncertain.

        Shape (n, C, h, w), float32.
        """
        if self._stored is None:
            mean, deviation = self._encode_all(rows, forms)
        else:
            both = torch.from_numpy(self._stored[rows, forms].astype(np.float32)).to(self.vae.device)
            mean, deviation = both[:, 0], both[:, 1] if both.shape[1] == 2 else None
        if deviation is None:
            return mean
        noise = rng.standard_normal(mean.shape, dtype=np.float32)
        return mean + deviation * torch.from_numpy(noise).to(mean.device)

    @property
    def _chunk(self) -> int:
        return max(1, _PIXELS // int(self.images.shape[1]) ** 2)

    def _encode_all(self, rows: np.ndarray, forms: np.ndarray) -> tuple[torch.Tensor, torch.Tensor | None]:
        chunk = self._chunk
        parts = [slice(start, start + chunk) for start in range(0, len(rows), chunk)]
        means, deviations = zip(*(self._encode(rows[part], forms[part]) for part in parts), strict=True)
        return torch.cat(means), None if deviations[0] is None else torch.cat(deviations)

    @torch.no_grad()
    def _encode(self, rows: np.ndarray, forms: np.ndarray) -> tuple[torch.Tensor, torch.Tensor | None]:
        pixels = pixels_of(self.images[rows], self.vae.device)
        return latent_moments(self.vae, dihedral(pixels, torch.from_numpy(forms).to(pixels.device)))

    def _open(self, folder: Path) -> np.ndarray:
        path, record = folder / "latents.npy", folder / "latents.json"
        key = self._key()
        stored = _found(path, record, key)
        if stored is None:
            try:
                self._write(folder, path)
                record.write_text(json.dumps({"of": key}) + "\n")
            except OSError as error:
                path.with_suffix(".partial").unlink(missing_ok=True)
                raise OutputError(
                    f"{path}: can't write the encodings ({error}); make room, or set cache_latents = false"
                ) from error
            stored = np.load(path, mmap_mode="r")
        return stored

    def _key(self) -> str:
        """Changes with the images and with the autoencoder."""
        digest = hashlib.sha256(self.images.tobytes())
        for name, value in sorted(self.vae.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()

    def _write(self, folder: Path, path: Path) -> None:
        """Encode every image in every form: (N, 8, 1 or 2, C, h, w), float16."""
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        # not through a memory map: where the disk is full, that ends the process instead of raising OSError
        with partial.open("wb") as stream:
            for start in range(0, len(self.images), self._chunk):
                rows = np.arange(start, min(start + self._chunk, len(self.images)))
                forms = np.stack([self._both(rows, form) for form in range(_FORMS)], axis=1)
                if not start:
                    header = {"descr": "<f2", "fortran_order": False, "shape": (len(self.images), *forms.shape[1:])}
                    np.lib.format.write_array_header_1_0(stream, header)
                stream.write(forms.astype("<f2").tobytes())
        os.replace(partial, path)

    def _both(self, rows: np.ndarray, form: int) -> np.ndarray:
        """Means, and deviations if there are any, of rows in one form: (n, 1 or 2, C, h, w)."""
        moments = [moment for moment in self._encode(rows, np.full(len(rows), form)) if moment is not None]
        both: np.ndarray = torch.stack(moments, dim=1).cpu().numpy()
        return both


def _found(path: Path, record: Path, key: str) -> np.ndarray | None:
    """The encodings that are there, if they are whole and those of `key`."""
    try:
        if json.loads(record.read_text())["of"] == key:
            stored: np.ndarray = np.load(path, mmap_mode="r")
            return stored
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or damaged
    return None
