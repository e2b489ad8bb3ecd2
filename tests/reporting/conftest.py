"""A small assessment of blobs, and a browser."""

from __future__ import annotations

import json
import re
import shutil
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4

import numpy as np
import pytest
from astropy.table import Table

from astro_galaxysd.assessment import Assessment
from astro_galaxysd.conditions.table import VOTES
from astro_galaxysd.conditions.tree import ANSWERS, INDEX
from astro_galaxysd.evaluation.descriptors import describe
from astro_galaxysd.evaluation.memory import Memory
from astro_galaxysd.records import ImageBatch
from astro_galaxysd.testing import example_batch

N = 24
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
COLUMNS = (
    "evaluator", "metric", "group", "value", "error", "ceiling", "ceiling_error",
    "n_real", "n_synthetic", "higher_is_better", "note",
)  # fmt: skip
NAN = float("nan")
ROWS = (
    ("realism", "nearest_real", "all", 0.80, 0.01, 0.81, 0.01, N, N, True, ""),
    ("realism", "precision", "all", 0.70, 0.01, 0.75, 0.01, N, N, True, ""),
    ("realism", "frechet", "all", 0.90, 0.02, 0.10, 0.02, N, N, False, ""),
    ("diversity", "recall", "all", 0.90, 0.01, 0.80, 0.01, N, N, True, ""),
    ("realism", "nearest_real", "prompt: <b>ring</b>", 0.5, 0.1, 0.9, 0.1, 8, 8, True, ""),
    ("realism", "nearest_real", "prompt: merger", NAN, NAN, NAN, NAN, 2, 2, True, "2 real images answer it"),
    ("photometry", "flux_ks", "all", 0.25, 0.05, 0.1, 0.05, N, N, False, ""),
    ("memorisation", "near_copies", "all", NAN, NAN, NAN, NAN, N, N, False, "no training images: give <training>"),
)


class Describer:
    """An embedder that is quick and knows galaxies a little."""

    revision = "describe-1"

    def embed(self, images):
        return describe(images).astype(np.float32)


class Guesser:
    """A reader that says the same of every image."""

    revision = "guess-1"

    def predict(self, images):
        return np.full((len(images), len(ANSWERS)), 0.4, np.float32)


def batch(first, rng, keys=("round", "in_between")):
    """Smooth galaxies, half of them round and half in between."""
    votes = np.full((N, len(ANSWERS)), np.nan)
    votes[:, [INDEX[key] for key in ("smooth", "features", "artifact")]] = 0.9, 0.05, 0.05
    votes[:, [INDEX[key] for key in ("odd", "not_odd")]] = 0.1, 0.9
    votes[:, [INDEX[key] for key in ("round", "in_between", "cigar")]] = 0.1
    for place, key in enumerate(keys):
        votes[place :: len(keys), INDEX[key]] = 0.8
    conditions = Table({"prompt": [""] * N, VOTES: votes})
    ids = np.array([f"{first}{row}" for row in range(N)])
    return ImageBatch(example_batch(N, rng=rng).images, conditions, ids)


@pytest.fixture(scope="session")
def assessment() -> Assessment:
    training = batch("t", 4)
    record = {
        "created": "2026-11-21T12:00:00+00:00",
        "seed": 7,
        "embedder": f"vit@{'cd' * 20}#1",
        "weights": [{"name": "mini", "revision": "0123456789abcdef" * 2}],
        "excluded": {"synthetic": {"not matched": 3}, "real": {"not matched": 0}},
        "seen": {"weights 'mini'": 5, "the reader that ships": None},
        "text": "</pre><script>alert(1)</script>",
    }
    return Assessment(
        Table(rows=list(ROWS), names=COLUMNS, meta={"galaxysd_evaluation": record}),
        batch("r", 1),
        batch("h", 2),
        batch("<s>", 3),
        training=training,
        groups={"prompt: <b>ring</b>": np.arange(8)},
        memory=Memory(Describer()),
        reader=Guesser(),
        record=record,
    )


class Browser:
    """Headless Chromium that remembers its console and its requests."""

    def __init__(self, driver):
        self.driver = driver
        self.run = driver.execute_script

    def open(self, page: Path | str, *, width: int = 1400, dark: bool = False) -> None:
        """Open a file or an address at a width; what was logged before is forgotten."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.errors()
        self.requests()
        self.driver.get(page if isinstance(page, str) else page.as_uri())

    def errors(self) -> list[str]:
        """What the console said."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses that were asked for; images inside the page are none."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith("data:")]

    def overflow(self) -> int:
        """Pixels by which the page is wider than the screen."""
        return self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def press(self, key: str) -> None:
        """Press a key."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(key).perform()

    def exported(self, folder: Path) -> Path:
        """The file that a click on the button of that name puts into a folder."""
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
        self.click("export")
        for _ in range(100):
            found = [path for path in folder.glob("*.csv") if path.stat().st_size]
            if found:
                return found[0]
            time.sleep(0.1)
        pytest.fail("no file was exported within ten seconds")

    def answers(self) -> list[str | None]:
        """Answers that a page of questions has been given."""
        return self.run("return state.answers")

    def until(self, script: str, value: object) -> None:
        """Wait until a script returns this value, for ten seconds at most."""
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, 10).until(lambda _: self.run(script) == value, f"{script} is not {value}")

    def click(self, name: str) -> None:
        """Click the element with this id."""
        self.driver.find_element("id", name).click()

    def text(self, name: str) -> str:
        """Text of the element with this id, "" where it is hidden."""
        return self.driver.find_element("id", name).text


@pytest.fixture
def page(original, tmp_path) -> Path:
    """A copy of a module's page, the fixture `original`, that knows no answers given on another copy."""
    text, changed = re.subn(r'"name": "[^"]+', rf"\g<0>-{uuid4()}", original.read_text(encoding="utf-8"))
    assert changed == 1
    path = tmp_path / original.name
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.fixture
def asked(browser, page):
    """The browser, with that page opened for the first time."""
    browser.open(page)
    return browser


@pytest.fixture
def served(page):
    """Address of a page; of files, Chromium 156 doesn't always find again what it stored."""
    handler = partial(QuietHandler, directory=str(page.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{page.name}"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    """Files of a folder, without a line of log for each."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def browser():
    """Chromium, where it and selenium are installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium and chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    yield Browser(chrome)
    chrome.quit()
