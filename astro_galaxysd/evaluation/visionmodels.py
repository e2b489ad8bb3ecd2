"""Vision models of transformers: their folders, and features from what they say.

In: a folder, or a name of the Hugging Face Hub. Out: prepared pixels to features. Weights are read from safetensors
only and no code that comes with them is run.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_galaxysd.errors import WeightsError
from astro_galaxysd.evaluation.preprocessing import PREPROCESSOR_FILES

if TYPE_CHECKING:
    import torch

__all__ = ["HUB_NAME", "VisionModel", "fetch_model", "load_model", "model_revision"]

#: What a name of the Hub looks like, with a revision or without.
HUB_NAME = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?")
_WEIGHTS = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class VisionModel:
    """A model that reads images.

    Parameters
    ----------
    network : torch.nn.Module
        A transformers model, ready to use; of a model of images and texts, the half that reads images.
    pooled : bool
        Whether its own pooling was learnt.
    """

    network: Any
    pooled: bool

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the model pools; else its class token; else the mean over tokens or places.

        Parameters
        ----------
        pixels : Tensor, shape (N, 3, h, w), float32

        Returns
        -------
        Tensor, shape (N, D), float32
        """
        output = self.network(pixel_values=pixels.to(self.network.device))
        pooled = getattr(output, "pooler_output", None)
        states: torch.Tensor = output.last_hidden_state
        if self.pooled and pooled is not None:
            states = pooled.flatten(1)
        elif states.ndim == 4:
            states = states.mean(dim=(2, 3))
        else:
            states = states[:, 0] if self._has_class_token() else states.mean(dim=1)
        return states.float()

    def _has_class_token(self) -> bool:
        return any(name.endswith(("cls_token", "class_embedding")) for name, _ in self.network.named_parameters())


def fetch_model(model: str, revision: str | None = None) -> Path:
    """Folder of a model of the Hub, fetched unless it is there; configuration and safetensors only.

    Parameters
    ----------
    model : str
        Organisation/model.
    revision : str, optional
        Branch, tag or commit; by default the newest.

    Returns
    -------
    Path
        Its last part is the commit.

    Raises
    ------
    WeightsError
        If that is no name of the Hub, or the Hub does not give it.
    """
    match = HUB_NAME.fullmatch(model)
    if not match or match[2]:
        raise WeightsError(f"{model} is not there: no such folder, and no name of the Hub, organisation/model")
    import huggingface_hub

    wanted = ["config.json", *PREPROCESSOR_FILES, *_WEIGHTS]
    try:
        return Path(huggingface_hub.snapshot_download(model, revision=revision, allow_patterns=wanted))
    except Exception as error:  # of the network, the Hub and the disk, of many classes
        at = f" at {revision}" if revision else ""
        raise WeightsError(
            f"{model}{at}: no such folder, and the Hub does not give it ({type(error).__name__}: {error}); check name, "
            "revision and connection, or give the folder of a copy"
        ) from error


def load_model(folder: Path) -> VisionModel:
    """Read the model of a folder.

    Parameters
    ----------
    folder : Path
        With ``config.json`` and safetensors.

    Returns
    -------
    VisionModel
        float32, in evaluation mode, on a CUDA device where there is one.

    Raises
    ------
    WeightsError
        If there is no configuration or no safetensors, if something is damaged, if parameters are missing, if the model
        needs code of its own or reads no images.
    """
    if not (folder / "config.json").is_file():
        raise WeightsError(f"{folder} has no config.json; give the folder of a transformers model, all its files in it")
    if not any(found for pattern in _WEIGHTS for found in folder.glob(pattern)):
        raise WeightsError(f"{folder} has no safetensors; other weights can run code: convert them or choose others")
    import torch
    from transformers import AutoModel

    options = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
    try:
        with _quiet():
            model, report = AutoModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, **options)
    except Exception as error:  # of safetensors, JSON, the disk and the configuration, of many classes
        raise WeightsError(f"{folder}: no model can be loaded ({error}); copy it again or choose another") from error
    tower = getattr(model, "vision_model", model)
    if getattr(tower, "main_input_name", "") != "pixel_values":
        raise WeightsError(f"{folder} holds a {type(model).__name__}, which reads no images; choose a vision model")
    missing = {key for kind in ("missing_keys", "mismatched_keys") for key in map(str, report.get(kind) or ())}
    unlearnt = {key for key in missing if "pooler." in key}  # left out by those who trained without it
    if missing - unlearnt:
        names = ", ".join(sorted(missing - unlearnt)[:5])
        raise WeightsError(f"{folder}: the safetensors lack {names}; copy the weights again")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return VisionModel(tower.eval().requires_grad_(False).to(device), pooled=not unlearnt)


def model_revision(folder: Path) -> str:
    """Name of a folder and hash of those of its files that are read."""
    digest = hashlib.sha256()
    for pattern in ("config.json", *PREPROCESSOR_FILES, *_WEIGHTS):
        for path in sorted(folder.glob(pattern)):
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return f"{folder.resolve().name}@{digest.hexdigest()[:40]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no notes about parts of a checkpoint that a vision model leaves aside."""
    from transformers.utils import logging as transformers_logging

    shown, log = transformers_logging.is_progress_bar_enabled(), logging.getLogger("transformers")
    level = log.level
    try:
        transformers_logging.disable_progress_bar()
        log.setLevel(logging.ERROR)
        yield
    finally:
        log.setLevel(level)
        if shown:
            transformers_logging.enable_progress_bar()
