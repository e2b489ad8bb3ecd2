"""The page of candidates tells nothing but the images, keeps the answers, and its file reads back as it was meant."""

from __future__ import annotations

import base64
import csv
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from astro_galaxysd.errors import ConditionError, ImageError, OutputExistsError
from astro_galaxysd.reporting.vetting import read_vetting, write_vetting_page
from astro_galaxysd.testing import example_batch

N = 9
ODD_IDS = ["=1+1", "a,b", 'q"q', "'=x", "''", "@-2", "two\r\nlines", " é ", "5877"]
MEANING = {"yes": True, "no": False, "unsure": None}


@pytest.fixture(scope="module")
def images():
    return example_batch(N, rng=1).images


@pytest.fixture(scope="module")
def original(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("vetting") / "vetting.html"
    return write_vetting_page(images, ODD_IDS, path, target="merger", examples=images[:4, 4:-4], rng=5)


def data_of(path):
    found = re.search(r"const DATA = (\{.*?\});\n", path.read_text(encoding="utf-8"), re.DOTALL)
    data = json.loads(found.group(1))
    return data, json.loads(base64.b64decode(data["key"]))


def pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_every_candidate_is_there_with_its_id_in_another_order(original, images):
    data, ids = data_of(original)
    assert sorted(ids) == sorted(ODD_IDS)
    assert ids != ODD_IDS
    for uri, identifier in zip(data["images"], ids, strict=True):
        np.testing.assert_array_equal(pixels(uri), images[ODD_IDS.index(identifier)])


def test_lot_alone_says_the_order(original, images, tmp_path):
    def write(name, rng, target="merger"):
        return write_vetting_page(images, ODD_IDS, tmp_path / name, target=target, examples=images[:4, 4:-4], rng=rng)

    assert write("again.html", 5).read_bytes() == original.read_bytes()
    assert data_of(write("other.html", 6))[1] != data_of(original)[1]
    firsts = {data_of(write(f"{seed}.html", seed))[1][0] for seed in range(20)}
    assert len(firsts) > 5
    # answers to one question are not taken for answers to another
    assert data_of(write("ring.html", 5, "ring"))[0]["name"] != data_of(original)[0]["name"]


def test_nothing_is_asked_for_from_outside(original):
    text = original.read_text(encoding="utf-8")
    assert "://" not in text
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'" in text
    assert not any(identifier in text for identifier in ("a,b", "two", "5877"))


def test_examples_are_named_and_may_be_left_out(original, images, tmp_path):
    assert original.read_text().count('alt="Example ') == 4
    assert 'width="32" height="24"' in original.read_text()
    assert "<figcaption>Labelled as merger</figcaption>" in original.read_text()
    bare = write_vetting_page(images[:1], ["a"], tmp_path / "bare.html", target="merger").read_text()
    assert "Labelled as" not in bare
    assert "1 candidate in an order" in bare


def test_text_of_the_class_is_escaped(images, tmp_path):
    path = tmp_path / "page.html"
    write_vetting_page(images, ODD_IDS, path, target='<b>"$x"</b>', examples=images[:1])
    assert "<b>" not in path.read_text()
    assert "<h1>Candidates: &lt;b&gt;&quot;$x&quot;&lt;/b&gt;</h1>" in path.read_text()
    assert "Yes, &lt;b&gt;" in path.read_text()
    assert 'aria-label="Labelled as &lt;b&gt;' in path.read_text()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"images": np.zeros((0, 8, 8, 3), np.uint8), "ids": []}, ImageError, "no candidates; give 1 image or more"),
        ({"images": [], "ids": []}, ImageError, "there are no candidates"),
        ({"images": [np.zeros((8, 8, 3)), np.zeros((9, 9, 3))]}, ImageError, "not of one size; bring .* with fit_size"),
        ({"images": np.zeros((2, 8, 8, 3))}, ImageError, r"candidates are float64 of shape \(2, 8, 8, 3\); give uint8"),
        ({"images": np.zeros((2, 8, 8), np.uint8)}, ImageError, r"are uint8 of shape \(2, 8, 8\); give uint8 \(N, H"),
        ({"images": np.zeros((2, 0, 8, 3), np.uint8)}, ImageError, r"of shape \(2, 0, 8, 3\)"),
        ({"examples": np.zeros((2, 8, 8, 3))}, ImageError, "the examples are float64"),
        ({"examples": np.zeros((0, 8, 8, 3), np.uint8)}, ImageError, "there are no examples"),
        ({"ids": ["a"]}, ConditionError, "1 ids for 2 images; give one id an image"),
        ({"ids": ["a", "a"]}, ConditionError, "id 'a' is that of images 0 and 1; give each image its own"),
        ({"ids": ["a", " "]}, ConditionError, "the id of image 1 is ' '; give each image an id"),
        ({"target": " "}, ConditionError, "target=' ' names no class; say what is asked, for example 'merger'"),
    ],
)
def test_what_can_not_be_asked_about(wrong, error, message, tmp_path):
    good = {"images": np.zeros((2, 8, 8, 3), np.uint8), "ids": ["a", "b"], "target": "merger"}
    with pytest.raises(error, match=message):
        write_vetting_page(path=tmp_path / "page.html", **(good | wrong))
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_not_overwritten_unasked(images, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="pass overwrite=True"):
        write_vetting_page(images, ODD_IDS, path, target="merger")
    assert write_vetting_page(images, ODD_IDS, path, target="merger", overwrite=True) == path


def test_ids_may_be_numbers_and_bytes(tmp_path):
    images = np.zeros((2, 8, 8, 3), np.uint8)
    path = write_vetting_page(images, np.array([7, 8]), tmp_path / "numbers.html", target="merger", rng=1)
    assert sorted(data_of(path)[1]) == ["7", "8"]
    path = write_vetting_page(images, np.array([b"a", b"b"]), tmp_path / "bytes.html", target="merger", rng=1)
    assert sorted(data_of(path)[1]) == ["a", "b"]


def written(folder, text, encoding="utf-8"):
    path = folder / "vetting.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_answers_are_read_however_they_were_saved(tmp_path, end, encoding):
    lines = ["id, answer,seconds", '"a,b",yes,1.00', "é, NO ,", "", "'=1,unsure,3", "''a,yes,1", "'b,no,1", ",,"]
    path = written(tmp_path, end.join(lines), encoding)
    assert read_vetting(path) == {"a,b": True, "é": False, "=1": None, "'a": True, "'b": False}


def test_an_answer_given_twice_counts_once(tmp_path):
    path = written(tmp_path, "id,answer,seconds\na,yes,1\nb,no,1\na,yes,5\n")
    assert read_vetting(path) == {"a": True, "b": False}
    assert read_vetting(written(tmp_path, "id,answer,seconds\r\n")) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the header is '', not 'id,answer,seconds'; give the file that the page exports"),
        ("id;answer;seconds\na;yes;1\n", "line 1: the header is 'id;answer;seconds'"),
        ("number,id,truth,answer,seconds\n", "line 1: the header is 'number,id,truth"),
        (
            "id,answer,seconds\na,yes,1\nb,maybe,1\n",
            "line 3: the answer to id 'b' is 'maybe'; write yes, no, unsure, or",
        ),
        ("id,answer,seconds\na,,1\n", "line 2: the answer to id 'a' is ''; .* or remove the line"),
        ("id,answer,seconds\na,yes\n", "line 2: 'a,yes' has 2 values, not 3; correct the line"),
        ("id,answer,seconds\n,yes,1\n", "line 2: there is no id; correct or remove the line"),
        ('id,answer,seconds\n"a"b,yes,1\n', "line 2: .* expected after .*; correct the line, or export again"),
        (
            "id,answer,seconds\na,yes,1\nb,no,1\na,no,2\n",
            "line 4: id 'a' is 'no' here and 'yes' in line 2; remove one of the two lines",
        ),
        ("id,answer,seconds\na,unsure,1\na,no,2\n", "line 3: id 'a' is 'no' here and 'unsure' in line 2"),
    ],
)
def test_what_is_no_file_of_answers(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ConditionError, match=f"{re.escape(repr(str(path)))}, {message}"):
        read_vetting(path)


def test_what_is_no_text_at_all(tmp_path):
    with pytest.raises(ConditionError, match="vetting.csv' is not there; give the file that the page exports"):
        read_vetting(tmp_path / "vetting.csv")
    with pytest.raises(ConditionError, match="can't be read: Is a directory; give the exported file"):
        read_vetting(tmp_path)
    with pytest.raises(ConditionError, match="is not UTF-8: invalid .* at byte 18; export again"):
        read_vetting(written(tmp_path, "id,answer,seconds\né,yes,1\n", "latin-1"))


def counts(browser):
    return [browser.text(f"count-{name}") for name in ("yes", "no", "unsure", "none")]


def choose(browser, place, value):
    """Click an answer below an image of the gallery."""
    figures = browser.driver.find_elements("css selector", "#gallery figure")
    browser.run("arguments[0].click()", figures[place].find_element("css selector", f"[data-answer={value}]"))


def test_answers_of_keys_and_buttons_are_what_is_read(asked, page, tmp_path):
    _, ids = data_of(page)
    said = ["yes", "no", "unsure"] * 3
    for place, value in enumerate(said):
        assert asked.text("place") == f"Image {place + 1} of {N}, {place} answered"
        if place % 2:
            asked.click(value)
        else:
            asked.press(value[0])
    assert asked.text("score") == f"{N} of {N} candidates answered."
    assert counts(asked) == ["3", "3", "3", "0"]
    path = asked.exported(tmp_path)
    assert path.name == "vetting.csv"
    assert read_vetting(path) == {name: MEANING[value] for name, value in zip(ids, said, strict=True)}
    assert list(read_vetting(path)) == ids
    rows = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
    assert rows[0] == ["id", "answer", "seconds"]
    assert all(float(seconds) >= 0 for _, _, seconds in rows[1:])
    assert asked.errors() == []
    assert asked.requests()[0] == page.as_uri()
    assert all(url.startswith("blob:") for url in asked.requests()[1:])


def test_what_was_not_answered_is_not_in_the_file(asked, page, tmp_path):
    _, ids = data_of(page)
    asked.press("y")
    asked.click("next")
    asked.press("U")
    asked.click("finish")
    assert asked.text("score") == f"2 of {N} candidates answered."
    assert counts(asked) == ["1", "0", "1", str(N - 2)]
    assert read_vetting(asked.exported(tmp_path)) == {ids[0]: True, ids[2]: None}
    asked.click("resume")
    assert asked.text("place") == f"Image 2 of {N}, 2 answered"


def test_ids_are_seen_when_all_is_said_and_not_before(asked, page):
    _, ids = data_of(page)
    text = "return document.documentElement.outerHTML.replace(/const DATA = .*/, '')"
    assert not any(name in asked.run(text) for name in ("a,b", "5877"))
    asked.press("y")
    asked.click("finish")
    captions = [item.text for item in asked.driver.find_elements("css selector", "#gallery figcaption")]
    assert [" ".join(caption.split()) for caption in captions] == [
        " ".join(f"{place}: {name}".split()) for place, name in enumerate(ids, 1)
    ]


def test_an_answer_can_be_changed_at_the_end(asked):
    for _ in range(N - 1):
        asked.press("y")
    asked.click("finish")
    choose(asked, 0, "no")
    choose(asked, N - 1, "unsure")
    assert asked.answers() == ["no", *["yes"] * (N - 2), "unsure"]
    assert counts(asked) == [str(N - 2), "1", "1", "0"]
    assert asked.text("resume") == ""
    pressed = asked.driver.find_elements("css selector", "#gallery [aria-pressed=true]")
    assert [button.text for button in pressed] == ["No", *["Yes"] * (N - 2), "Can't tell"]
    asked.driver.refresh()
    assert counts(asked) == [str(N - 2), "1", "1", "0"]


def test_answers_survive_a_reload(asked):
    for key in "ynu":
        asked.press(key)
    asked.driver.refresh()
    assert asked.answers()[:4] == ["yes", "no", "unsure", None]
    assert asked.text("place") == f"Image 4 of {N}, 3 answered"
    asked.click("back")
    assert asked.run("return document.getElementById('unsure').getAttribute('aria-pressed')") == "true"


def test_answers_of_another_kind_are_left(asked):
    kept = {"at": 0, "answers": ["real"] * N, "seconds": [0] * N, "finished": True}
    asked.run("localStorage.setItem(DATA.name, arguments[0])", json.dumps(kept))
    assert asked.run("return recalled().answers") == [None] * N


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("target", ["merger", "edge-on disc with a boxy bulge and a dust lane"])
def test_the_page_fits_every_screen(browser, images, tmp_path, width, target):
    ids = [f"{row}" * 60 for row in range(N)]
    page = write_vetting_page(
        images, ids, tmp_path / "page.html", target=target, examples=np.tile(images, (3, 1, 1, 1))
    )
    browser.open(page, width=width, dark=True)
    assert browser.overflow() == 0
    browser.run("finish(true)")
    assert browser.overflow() == 0
