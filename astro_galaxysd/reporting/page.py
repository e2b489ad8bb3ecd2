"""The frame of a page: sections in, one HTML text out that needs nothing from outside.

Styles, scripts, figures and images are inside. A content security policy forbids the page to ask for anything else.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Section", "assemble", "asset", "data_uri", "embedded_json", "facts", "table"]


class Section(NamedTuple):
    """A part of a page.

    Parameters
    ----------
    key : str
        Its id on the page.
    title : str
    body : str
        HTML.
    """

    key: str
    title: str
    body: str


def asset(name: str) -> str:
    """Text of a file that comes with this package, such as ``"report.css"``."""
    return files("astro_galaxysd.reporting").joinpath("assets", name).read_text(encoding="utf-8")


def assemble(title: str, lead: str, sections: Iterable[Section]) -> str:
    """Put a report together.

    Parameters
    ----------
    title : str
        Plain text.
    lead : str
        HTML below the title.
    sections : iterable of Section
        In their order; the page's contents list them.

    Returns
    -------
    str
        A whole HTML document.
    """
    parts = list(sections)
    links = "".join(f'<li><a href="#{part.key}">{escape(part.title)}</a></li>' for part in parts)
    body = "".join(f'<section id="{part.key}"><h2>{escape(part.title)}</h2>{part.body}</section>' for part in parts)
    return Template(asset("report.html")).substitute(
        title=escape(title), style=asset("base.css") + asset("report.css"), lead=lead, contents=links, body=body
    )


def data_uri(pixels: np.ndarray) -> str:
    """An image, shape (H, W, 3), uint8, as a PNG without metadata in a data URI."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def embedded_json(value: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, ensure_ascii=True).replace("<", "\\u003c")


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values, plain text, as a description list."""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="facts">{rows}</dl>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, css_class: str = "") -> str:
    """Build a table in a box that scrolls by itself.

    Parameters
    ----------
    header : sequence of str
        Plain text.
    rows : iterable of sequence of str
        HTML cells, each a whole ``<td>`` or ``<th>``.
    caption : str
        Plain text, above the table.
    css_class : str
        Of the table.
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="{css_class}">'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
