"""What a training run shows while it goes: a sample sheet and figures on validation rows, every so many steps.

In: a run whose networks hold the averaged weights. Out, in its folder: ``sheets/step-0001000.png``, ``metrics.csv``
and ``metrics.png``. The same prompts, rows and seeds every time, so that what changes is the weights.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from astro_galaxysd.conditions.prompts import prompts_from_fractions
from astro_galaxysd.conditions.published import PUBLISHED_PROMPTS
from astro_galaxysd.conditions.seeds import row_seeds
from astro_galaxysd.diffusion.sample import sample_rows
from astro_galaxysd.errors import TrainingError
from astro_galaxysd.evaluation.curves import append_metrics, plot_metrics
from astro_galaxysd.evaluation.progress import Progress, choose_rows
from astro_galaxysd.evaluation.reader import VoteReader
from astro_galaxysd.images.files import atomic_path
from astro_galaxysd.images.sheet import contact_sheet
from astro_galaxysd.records import WeightCard

if TYPE_CHECKING:
    import numpy as np

    from astro_galaxysd.diffusion.components import Components
    from astro_galaxysd.diffusion.diffuse import ConditionedRun
    from astro_galaxysd.learning.trainingset import TrainingSet

__all__ = ["FEWEST_ROWS", "Watcher", "fitted_reader"]

logger = logging.getLogger(__name__)

#: Fewest validation rows: half are drawn for, half compared with.
FEWEST_ROWS = 16
_READER = "reader.safetensors"
_ACROSS = 4
_SEED = 0


class Watcher:
    """Called by a run every so many steps.

    Parameters
    ----------
    folder : Path
        Of the run.
    training : TrainingSet
        What the run learns from; the reader of votes is fitted to it, once, and kept in the folder.
    held_back : TrainingSet, optional
        Validation rows, of the same size; without them there are sheets only.
    n : int
        Rows to draw, at most; half of the validation rows are kept to compare with.
    card : WeightCard, optional
        How to sample.

    Raises
    ------
    TrainingError
        If the validation images have another size.
    """

    def __init__(
        self,
        folder: Path,
        training: TrainingSet,
        held_back: TrainingSet | None = None,
        *,
        n: int = 96,
        card: WeightCard | None = None,
    ) -> None:
        self.folder, self.training, self.held_back = Path(folder), training, held_back
        self.card = card or WeightCard("run", str(folder))
        self._progress: Progress | None = None
        if held_back is not None:
            sides = training.images.shape[1], held_back.images.shape[1]
            if sides[0] != sides[1]:
                raise TrainingError(
                    f"validation images have {sides[1]} px, training images {sides[0]} px; bring them to one size "
                    "with fit_size"
                )
            if len(held_back.ids) < FEWEST_ROWS:
                raise TrainingError(
                    f"{len(held_back.ids)} validation rows; figures need {FEWEST_ROWS} or more: give more, or none"
                )
            self.n = min(n, len(held_back.ids) // 2)
            self._rows, self._compared = choose_rows(held_back.fractions, self.n, rng=_SEED)

    def __call__(self, run: ConditionedRun) -> None:
        """Draw the sheet; measure, if there are validation rows."""
        components = run.current()
        logger.info("step %d: drawing the sheet", run.step)
        self._sheet(components, run.step)
        if self.held_back is not None:
            self._measure(components, self.held_back, run.step, run.step * run.recipe.batch_size)

    def _sheet(self, components: Components, step: int) -> None:
        prompts = [prompt for prompt in PUBLISHED_PROMPTS for _ in range(_ACROSS)]
        images = self._draw(components, prompts, list(range(len(prompts))))
        groups = [(prompt, images[_ACROSS * place :][:_ACROSS]) for place, prompt in enumerate(PUBLISHED_PROMPTS)]
        folder = self.folder / "sheets"
        folder.mkdir(parents=True, exist_ok=True)
        contact_sheet(groups, folder / f"step-{step:07d}.png", columns=_ACROSS, title=f"step {step}", overwrite=True)

    def _measure(self, components: Components, held_back: TrainingSet, step: int, images: int) -> None:
        fractions = held_back.fractions[self._rows]
        seeds = row_seeds(_SEED, [held_back.ids[row] for row in self._rows])
        drawn = self._draw(components, prompts_from_fractions(fractions), seeds.tolist())
        progress = self._measuring(held_back)
        figures = progress.measure(drawn, fractions)
        path = self.folder / "metrics.csv"
        append_metrics(path, figures, progress.ceiling, step=step, images=images, n=self.n)
        told = ", ".join(f"{name} {shown.value:.3g}" for name, shown in figures.items())
        logger.info("step %d: %s", step, told)
        plot_metrics(path, path.with_suffix(".png"))

    def _measuring(self, held_back: TrainingSet) -> Progress:
        if self._progress is None:
            reference = held_back.images[self._rows], held_back.fractions[self._rows]
            compared = held_back.images[self._compared], held_back.fractions[self._compared]
            reader = fitted_reader(self.folder, self.training)
            self._progress = Progress(*compared, reader, reference=reference, rng=_SEED)
        return self._progress

    def _draw(self, components: Components, prompts: list[str], seeds: list[int]) -> np.ndarray:
        card = self.card
        return sample_rows(
            components, prompts, seeds, steps=card.steps, guidance=card.guidance, sampler=card.sampler, turn=card.turned
        )


def fitted_reader(folder: Path, training: TrainingSet) -> VoteReader:
    """The reader of a run: read from its folder, or fitted to its training rows and written there."""
    path = Path(folder) / _READER
    if path.exists():
        return VoteReader.load(path)
    reader = VoteReader().fit(training.images, training.fractions)
    with atomic_path(path) as partial:
        reader.save(partial)
    return reader
