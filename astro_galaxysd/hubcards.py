"""Cards for what is published: facts and a text in, the README.md of a repository of the Hugging Face Hub out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from astro_galaxysd.errors import WeightsError

__all__ = ["REQUIRED", "check_card", "dataset_card", "front_matter", "model_page"]

#: Headings that a card of weights must have, each with something below it.
REQUIRED = ("Data", "Training", "Measured", "Limits")
_LICENCE = "Licence and citation"
_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_TAGS = ("astronomy", "galaxies", "galaxy-zoo", "sdss", "astro_galaxysd")
_TERMS = (
    "Cite Willett et al. 2013 (MNRAS 435, 2835) and Hart et al. 2016 (MNRAS 461, 3663) for the votes of Galaxy Zoo 2, "
    "Ma et al. 2026 (ApJS 282, 25) for the method, and acknowledge the SDSS as it asks "
    "(https://www.sdss.org/collaboration/citing-sdss/). Say that galaxies are synthetic where they are."
)


def front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Metadata of a card, and the text below them.

    Raises
    ------
    WeightsError
        If they are no mapping in YAML.
    """
    import yaml

    found = _FRONT.match(text)
    if found is None:
        return {}, text
    try:
        metadata = yaml.safe_load(found[1]) or {}
    except yaml.YAMLError as error:
        raise WeightsError(f"the front matter of README.md is no YAML ({error}); mend it") from error
    if not isinstance(metadata, dict):
        raise WeightsError(f"the front matter of README.md is {type(metadata).__name__}, not a mapping; mend it")
    return metadata, text[found.end() :]


def check_card(text: str) -> None:
    """Look whether a card says what weights learnt from and what they were measured to be.

    Raises
    ------
    WeightsError
        If it lacks one of `REQUIRED`.
    """
    sections = _sections(front_matter(text)[1])
    missing = [name for name in REQUIRED if not sections.get(name, "").strip()]
    if missing:
        raise WeightsError(
            f"README.md beside the weights has nothing under {', '.join(f'## {name}' for name in missing)}; who loads "
            "weights must know what they learnt from and how good they are: `galaxysd train ... --promote FOLDER` "
            "writes such a card, or write it by hand"
        )


def model_page(
    text: str,
    *,
    repo: str,
    licence: str,
    restrictions: str = "",
    base_model: str = "",
    samples: str = "",
    sampling: Mapping[str, Any],
    prompts: Sequence[str] = (),
) -> str:
    """The card of weights as it is published.

    Parameters
    ----------
    text : str
        The card that lies beside the weights, see `check_card`.
    repo : str
        ``"organisation/name"``.
    licence, restrictions, base_model
        As `astro_galaxysd.records.WeightCard`; of the base where there is one.
    samples : str
        Path of a sheet of galaxies that the weights drew, within the repository.
    sampling : mapping
        How they were drawn.
    prompts : sequence of str
        What was asked for.
    """
    metadata, body = front_matter(text)
    tags = list(dict.fromkeys([*_listed(metadata.get("tags")), *_TAGS]))
    metadata |= {
        "license": licence.lower(), "library_name": "diffusers", "pipeline_tag": "text-to-image", "tags": tags,
    }  # fmt: skip
    if base_model:
        metadata["base_model"] = base_model
    for name in ("Use", "Samples", _LICENCE):
        body = _without(body, name)
    told = ", ".join(f"{name} {value}" for name, value in sampling.items())
    parts = [body.rstrip(), _USE.format(repo=repo)]
    if samples:
        lines = "\n".join(f"- {prompt}" for prompt in prompts)
        parts.append(f"## Samples\n\n![drawn galaxies]({samples})\n\nFirst draws, not chosen ({told}):\n\n{lines}")
    parts.append(_licence_section(licence, restrictions, base_model, "The weights are"))
    return _front(metadata) + "\n\n".join(parts) + "\n"


def dataset_card(
    *,
    title: str,
    rows: int,
    licence: str,
    restrictions: str = "",
    drawn_by: Mapping[str, int],
    prompts: int,
    columns: Sequence[str],
    file: str,
) -> str:
    """The card of a set of synthetic galaxies.

    Parameters
    ----------
    title : str
    rows : int
        Galaxies.
    licence, restrictions
        As those of the weights that drew them.
    drawn_by : mapping of str to int
        Weights with their revision -> galaxies.
    prompts : int
        Different prompts.
    columns : sequence of str
    file : str
        Of the galaxies, within the repository.
    """
    size = next(name for most, name in _SIZES if rows < most)
    metadata = {
        "license": licence.lower(), "tags": [*_TAGS, "synthetic"], "task_categories": ["image-classification"],
        "size_categories": [size], "configs": [{"config_name": "default", "data_files": file}],
    }  # fmt: skip
    weights = "\n".join(f"| {name} | {number:,} |" for name, number in drawn_by.items())
    text = _DATASET.format(title=title, rows=rows, prompts=prompts, weights=weights, columns=", ".join(columns))
    return _front(metadata) + text + "\n" + _licence_section(licence, restrictions, "", "The set is") + "\n"


def _front(metadata: Mapping[str, Any]) -> str:
    import yaml

    return f"---\n{yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True)}---\n"


def _listed(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _sections(body: str) -> dict[str, str]:
    parts = re.split(r"^## +(.+?) *$", body, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _without(body: str, name: str) -> str:
    return re.sub(rf"^## +{re.escape(name)} *$.*?(?=^## |\Z)", "", body, flags=re.MULTILINE | re.DOTALL)


def _licence_section(licence: str, restrictions: str, base_model: str, what: str) -> str:
    lines = [f"{what} under the licence {json.dumps(licence)}" + (f", that of {base_model}." if base_model else ".")]
    if restrictions:
        lines.append(restrictions)
    return f"## {_LICENCE}\n\n" + "\n".join([*lines, _TERMS])


#: The Hub's words for the number of rows.
_SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"),
    (math.inf, "n>10M"),
)  # fmt: skip
_USE = """## Use

```py
from astropy.table import Table
from astro_galaxysd import generate

drawn = generate(Table({{"prompt": ["sdss, merger"]}}), weights="{repo}", rng=1)
```"""
_DATASET = """# {title}

{rows:,} synthetic galaxies, drawn by astro_galaxysd; different prompts: {prompts:,}.
No galaxy in this set was observed: `synthetic` is true in every row, and `prompt`, `seed`, `weights` and
`weights_revision` say how each was made.

| weights @ revision | galaxies |
|---|---|
{weights}

Columns: {columns}. `image` is an image feature (PNG); `run.json` is the record of the run.

Display-stretched colours, not fluxes: nothing photometric follows from them.
"""
