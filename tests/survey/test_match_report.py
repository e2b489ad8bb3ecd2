"""What a survey's cutouts are like, and what speaks against matching."""

from __future__ import annotations

import json

import numpy as np
import pytest

from astro_galaxysd.errors import MatchError, MatchWarning
from astro_galaxysd.survey.match_report import MatchReport
from astro_galaxysd.survey.seeing import Seeing

STARS = Seeing(3.0, "estimated", n_stars=12, scatter=0.21)


def report(sizes=(10.0,) * 10, seeing=STARS, drawn=3.5, **more):
    n = len(sizes)
    facts = {"left_out": {}, "level": np.ones((n, 1)), "noise": np.full((n, 1), 0.1), "bands": ("luminance",)}
    return MatchReport(
        n_rows=n, sizes=np.array(sizes), seeing=seeing, drawn_seeing=drawn, drawn_radius=22.6, **facts | more
    )


def test_lines_and_record():
    found = report(left_out={"row 3": "no galaxy in the middle"}, notes=("a note",))
    text = found.text()
    for line in ("measured: 10", "not measured: 1 (row 3: no galaxy in the middle)", "sky in luminance: 1, noise 0.1",
                 "seeing: 3.00 px FWHM (estimated from 12 stars, scatter 0.21 px)", "a note"):  # fmt: skip
        assert line in text
    record = json.loads(json.dumps(found.as_record()))
    assert (record["rows"], record["stars"], record["r90"]["50%"], record["noise"]) == (
        10,
        12,
        10.0,
        {"luminance": 0.1},
    )
    assert json.dumps(report(sizes=(), level=np.empty((0, 1)), noise=np.empty((0, 1))).as_record())


def test_blurred_galaxies_are_refused_with_the_origin_of_the_seeing():
    with pytest.raises(MatchError, match=r"3.00 px \(estimated from 12 stars, scatter 0.21 px\) at 100%.*with psf="):
        report(sizes=(30.0,) * 10).check()
    with pytest.raises(MatchError, match=r"3.00 px \(given\) at 100%.*psf= of the survey settles the seeing"):
        report(sizes=(30.0,) * 10, seeing=Seeing(3.0, "given")).check()
    with pytest.warns(MatchWarning, match="at 100% of the real sizes"):
        report(sizes=(30.0,) * 10).check(anyway=True)
    with pytest.warns(MatchWarning, match="at 30% of the real sizes"):
        report(sizes=(30.0,) * 3 + (10.0,) * 7).check()


def test_an_unknown_seeing_is_told():
    with pytest.warns(MatchWarning, match=r"seeing is not known \(no stars\): drawn galaxies keep theirs"):
        report(seeing=Seeing(None, "unknown", reason="no stars")).check()
    with pytest.warns(MatchWarning, match="the seeing of the drawn galaxies is not known"):
        report(drawn=0.0).check()


def test_advice_depends_on_what_went_wrong():
    few = (10.0,) * 2
    with pytest.raises(MatchError, match="2 real cutouts could be measured; 8 are needed for sizes and sky: give more"):
        report(sizes=few).check()
    with pytest.raises(MatchError, match=r"1 can't be measured \(row 1: faint\); give more rows, or larger cutouts"):
        report(sizes=few, left_out={"row 1": "faint"}).check()
    left = {"row 1": "faint", "row 2": "declare stretch="}
    with pytest.raises(MatchError, match=r"1 can't be read \(row 2: declare stretch=\); mend these") as caught:
        report(sizes=few, left_out=left, unread=("row 2",)).check()
    assert "larger cutouts" not in str(caught.value)
