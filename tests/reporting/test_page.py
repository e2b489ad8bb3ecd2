"""What stands inside a page stays inside."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
from PIL import Image

from astro_galaxysd.reporting.page import Section, assemble, data_uri, embedded_json, facts, table


def test_an_image_is_a_png_of_the_same_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    image = Image.open(io.BytesIO(base64.b64decode(data_uri(pixels[:, ::-1]).partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(image), pixels[:, ::-1])
    assert image.info == {}


def test_json_can_not_end_its_script():
    text = embedded_json({"a": "</script><b>ü"})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><b>ü"}


def test_text_is_escaped():
    assert "&lt;b&gt;" in facts([("<b>", "x")])
    assert 'aria-label="&lt;c&gt;"' in table(["<h>"], [["<td>1</td>"]], caption="<c>")
    page = assemble("<t>", "<p>lead</p>", [Section("one", "<One>", "<p>body</p>")])
    assert "<h1>&lt;t&gt;</h1><p>lead</p>" in page
    assert '<section id="one"><h2>&lt;One&gt;</h2><p>body</p></section>' in page
    assert "$" not in page
