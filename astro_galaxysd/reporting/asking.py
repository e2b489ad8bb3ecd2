"""What pages share that show images one by one, ask the same of each and keep the answers.

Each such page has three assets of its own: the HTML of its result, its styles, and a script that shows the result
(``showScore``), makes the text of the file that is exported (``exported``) and starts the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from string import Template
from typing import Any, NamedTuple

from astro_galaxysd.reporting.page import asset, embedded_json

__all__ = ["Answer", "asking_page"]


class Answer(NamedTuple):
    """One of the answers.

    Parameters
    ----------
    value : str
        As it is kept and exported; the id of its button.
    label : str
        Plain text on the button.
    key : str
        The letter that stands for it on the keyboard, lower case.
    """

    value: str
    label: str
    key: str


def asking_page(
    name: str,
    images: Sequence[str],
    hidden: Any,
    *,
    title: str,
    lead: str,
    answers: Sequence[Answer],
    finish: str,
    size: tuple[int, int],
    reference: str = "",
) -> str:
    """Put a page together.

    Parameters
    ----------
    name : str
        Of the page and of its assets: ``"blind"``.
    images : sequence of str
        Data URIs, in the order in which they are asked about.
    hidden : object
        What JSON can hold and nobody is to read before the end; it is in the page, encoded.
    title, lead : str
        Plain text.
    answers : sequence of Answer
    finish : str
        Plain text on the button that ends the answers.
    size : tuple of int
        Height and width of the images, pixels.
    reference : str
        HTML above the image.

    Returns
    -------
    str
        A whole HTML document that needs nothing from outside. Answers are kept under a name that follows from title,
        images and what is hidden, so that they are never taken for those of another page.
    """
    key = json.dumps(hidden)
    digest = hashlib.blake2b(json.dumps([title, *images, key]).encode(), digest_size=12).hexdigest()
    data = {
        "images": list(images),
        "key": base64.b64encode(key.encode()).decode("ascii"),
        "name": f"astro-galaxysd-{name}-{digest}",
    }
    height, width = size
    return Template(asset("asking.html")).substitute(
        title=escape(title), lead=escape(lead), reference=reference, buttons="\n    ".join(map(_button, answers)),
        finish=escape(finish), height=height, width=width, result=asset(f"{name}.html"), data=embedded_json(data),
        style=asset("base.css") + asset("asking.css") + asset(f"{name}.css"),
        script=asset("asking.js") + asset(f"{name}.js"),
    )  # fmt: skip


def _button(answer: Answer) -> str:
    value, key = escape(answer.value), escape(answer.key)
    return (
        f'<button id="{value}" type="button" data-answer="{value}" data-key="{key}">'
        f"{escape(answer.label)} <kbd>{key.upper()}</kbd></button>"
    )
