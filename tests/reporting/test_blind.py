"""The blind page gives nothing away, counts what is answered and keeps it."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from astro_galaxysd.errors import ImageError, OutputExistsError
from astro_galaxysd.reporting.blind import write_blind_page
from astro_galaxysd.testing import example_batch

N = 12


@pytest.fixture(scope="module")
def sets():
    real, synthetic = example_batch(20, rng=1), example_batch(20, rng=2)
    ids = np.array(["=1+1", "a,b", 'q"q', *(f"r{row}" for row in range(17))])
    return replace(real, ids=ids), replace(synthetic, ids=np.array([f"s{row}" for row in range(20)]))


@pytest.fixture(scope="module")
def original(sets, tmp_path_factory):
    return write_blind_page(*sets, tmp_path_factory.mktemp("blind") / "blind.html", n=N, rng=5)


def data_of(path):
    found = re.search(r"const DATA = (\{.*?\});\n", path.read_text(encoding="utf-8"), re.DOTALL)
    data = json.loads(found.group(1))
    return data, json.loads(base64.b64decode(data["key"]))


def pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_half_are_real_and_the_key_tells_the_truth(original, sets):
    data, truth = data_of(original)
    assert sorted(kind for _, kind in truth) == ["real"] * (N // 2) + ["synthetic"] * (N // 2)
    for uri, (identifier, kind) in zip(data["images"], truth, strict=True):
        batch = sets[kind == "synthetic"]
        (row,) = np.flatnonzero(batch.ids == identifier)
        np.testing.assert_array_equal(pixels(uri), batch.images[row])


def test_neither_order_nor_form_nor_text_gives_the_truth_away(original, sets, tmp_path):
    text = original.read_text(encoding="utf-8")
    _, truth = data_of(original)
    assert not any(re.search(rf"\b{re.escape(identifier)}\b", text) for identifier, _ in truth if len(identifier) > 2)
    heads = {uri[:40] for uri in data_of(original)[0]["images"]}
    assert len(heads) == 1  # the same kind of file, without anything written into it
    orders = {tuple(kind for _, kind in data_of(write_blind_page(*sets, tmp_path / f"{seed}.html", n=N, rng=seed))[1])
              for seed in range(12)}  # fmt: skip
    assert len(orders) > 8
    assert {order[0] for order in orders} == {"real", "synthetic"}


def test_the_same_seed_gives_the_same_page(original, sets, tmp_path):
    again = write_blind_page(*sets, tmp_path / "again.html", n=N, rng=5)
    assert again.read_bytes() == original.read_bytes()
    other = write_blind_page(*sets, tmp_path / "other.html", n=N, rng=6)
    assert data_of(other)[0]["name"] != data_of(original)[0]["name"]


def test_an_odd_number_has_one_more_of_either(sets, tmp_path):
    counts = set()
    for seed in range(10):
        path = write_blind_page(*sets, tmp_path / f"{seed}.html", n=5, rng=seed)
        counts.add(sum(kind == "real" for _, kind in data_of(path)[1]))
        assert "5 galaxies, about half of them real" in path.read_text()
    assert counts == {2, 3}


def test_what_can_not_be_judged_blind(sets, tmp_path):
    real, synthetic = sets
    with pytest.raises(ImageError, match="n = 1 images to be judged; give 2 or more"):
        write_blind_page(real, synthetic, tmp_path / "b.html", n=1)
    with pytest.raises(ImageError, match="n = 50 images need 25 of each kind; there are 20 real and 20 synthetic"):
        write_blind_page(real, synthetic, tmp_path / "b.html", n=50)
    with pytest.raises(ImageError, match="can be told apart by their size; bring them to one size with fit_size"):
        write_blind_page(real, example_batch(20, size=48), tmp_path / "b.html", n=4)
    (tmp_path / "b.html").write_text("mine")
    with pytest.raises(OutputExistsError, match="pass overwrite=True"):
        write_blind_page(real, synthetic, tmp_path / "b.html", n=4)


def test_answers_are_counted_scored_and_exported(asked, page):
    _, truth = data_of(page)
    wrong = {"real": "synthetic", "synthetic": "real"}
    for place, (_, kind) in enumerate(truth):
        assert f"Image {place + 1} of {N}, {place} answered" in asked.text("place")
        said = wrong[kind] if place < 3 else kind
        if place % 2:
            asked.click(said)
        else:
            asked.press(said[0])
    interval = binomtest(9, 12).proportion_ci(0.95, method="exact")
    score = asked.text("score")
    assert "9 of 12 right, 75.0 %" in score
    assert f"{100 * interval.low:.1f} % to {100 * interval.high:.1f} %, compatible with the 50 %" in score
    rows = list(csv.reader(io.StringIO(asked.run("return exported()"))))
    assert rows[0] == ["number", "id", "truth", "answer", "seconds"]
    assert len(rows) == N + 1
    for place, (number, identifier, kind, said, seconds) in enumerate(rows[1:]):
        assert number == str(place + 1)
        assert identifier.removeprefix("'") == truth[place][0]
        assert kind == truth[place][1]
        assert (said == kind) == (place >= 3)
        assert float(seconds) >= 0
    assert asked.errors() == []
    assert asked.requests() == [page.as_uri()]
    cells = asked.run("return [...document.querySelectorAll('#confusion td')].map((cell) => +cell.textContent)")
    assert sum(cells) == N
    assert cells[0] + cells[4] == 9


def test_the_export_is_a_file(asked, tmp_path):
    asked.press("r")
    asked.click("finish")
    path = asked.exported(tmp_path)
    assert path.name == "answers.csv"
    rows = list(csv.reader(io.StringIO(path.read_text())))
    assert [row[3] for row in rows] == ["answer", "real", *[""] * (N - 1)]
    assert rows[2][4] == ""  # no answer, no time


def test_answers_survive_a_reload(asked):
    for key in "rsr":
        asked.press(key)
    asked.driver.refresh()
    assert asked.answers()[:4] == ["real", "synthetic", "real", None]
    assert "Image 4 of 12, 3 answered" in asked.text("place")
    assert asked.run("return state.seconds[0]") >= 0


def test_answers_are_there_when_the_page_is_opened_again(browser, served):
    browser.open(served)
    browser.press("r")
    browser.press("s")
    browser.driver.get("about:blank")
    browser.open(served)
    assert browser.run("return history.state") is None
    assert browser.answers()[:3] == ["real", "synthetic", None]


def test_windows_take_over_each_other_s_answers(browser, served):
    browser.open(served)
    browser.press("r")
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    browser.open(served)
    assert browser.answers()[:2] == ["real", None]
    browser.press("s")
    browser.press("r")
    browser.driver.close()
    browser.driver.switch_to.window(first)
    browser.until("return document.getElementById('place').textContent", "Image 4 of 12, 3 answered")
    assert browser.answers()[:4] == ["real", "synthetic", "real", None]


def test_a_page_that_is_opened_or_left_writes_nothing(browser, served):
    browser.open(served)
    browser.run("localStorage.setItem(DATA.name, 'newer')")
    browser.driver.refresh()
    browser.driver.refresh()
    assert browser.run("return localStorage.getItem(DATA.name)") == "newer"


@pytest.mark.parametrize(("seconds", "newest"), [(-10, "real"), (10, "synthetic")])
def test_the_newest_answers_count(asked, seconds, newest):
    asked.press("r")
    asked.run(
        "localStorage.setItem(DATA.name, JSON.stringify({ ...fresh(), answers: state.answers.map(() => 'synthetic'), "
        "saved: state.saved + 1000 * arguments[0] }))",
        seconds,
    )
    assert asked.run("return recalled().answers[0]") == newest


def test_one_can_go_back_and_change_an_answer(asked):
    asked.press("r")
    asked.click("back")
    assert asked.run("return document.getElementById('real').getAttribute('aria-pressed')") == "true"
    asked.press("s")
    assert asked.answers()[0] == "synthetic"
    asked.click("next")
    asked.click("finish")
    assert "1 of 1" in asked.text("score") or "0 of 1" in asked.text("score")
    asked.click("resume")
    assert "Image 2 of 12, 1 answered" in asked.text("place")


def test_a_browser_that_keeps_nothing_says_so(asked):
    asked.run("Storage.prototype.setItem = () => { throw new Error('full'); }")
    asked.press("r")
    assert asked.answers()[0] == "real"
    assert "does not let the page keep answers" in asked.text("kept")


@pytest.mark.parametrize("kept", ["nonsense", "[]", '{"answers": [], "seconds": [], "at": 0}', "null"])
def test_what_was_kept_by_something_else_is_left(asked, page, kept):
    asked.run("localStorage.setItem(DATA.name, arguments[0])", kept)
    assert asked.run("return recalled().answers") == [None] * N


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (5, 10), (33, 40), (1, 1), (150, 200)])
def test_intervals_are_clopper_and_pearson_s(asked, right, n):
    expected = binomtest(right, n).proportion_ci(0.95, method="exact")
    low, high = asked.run("return interval(arguments[0], arguments[1])", right, n)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_fits_every_screen(browser, page, width):
    browser.open(page, width=width, dark=True)
    browser.run("state = fresh(); show()")
    assert browser.overflow() == 0
    browser.run("finish(true)")
    assert browser.overflow() == 0
