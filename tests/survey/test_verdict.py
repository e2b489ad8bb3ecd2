"""When cutouts are refused, when they are warned of, and what is said then."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from scipy.special import bdtrc

from astro_galaxysd.errors import DomainError, DomainWarning
from astro_galaxysd.survey.domain import COLOUR, GREY, TINT, Domain
from astro_galaxysd.survey.verdict import REFUSED, WARNED, DomainReport, at_least, tell

HELD_OUT = np.linspace(0, 1, 1001, dtype=np.float32)  # 99 % are below 0.99
DOMAIN = Domain({}, dict.fromkeys((COLOUR, GREY, TINT), HELD_OUT), "e", "", 128, survey="sdss")


def report(n, looks=0, tint=0, **changed):
    far = {COLOUR: np.r_[np.full(looks, 2.0), np.full(n - looks - changed.get("lost", 0), 0.5)],
           TINT: np.r_[np.full(tint, 3.0), np.full(n - tint - changed.get("lost", 0), 0.25)]}  # fmt: skip
    return DomainReport("mini", DOMAIN, n, far, **changed)


def test_lower_bound():
    assert at_least(0, 50) == 0
    assert at_least(3, 3) == pytest.approx(0.05 ** (1 / 3), abs=1e-6)
    # the chance of so many outside, were the share just the bound, is 5 %
    assert bdtrc(19, 200, at_least(20, 200)) == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize(
    ("n", "outside", "verdict"),
    [(200, 2, "inside"), (200, 15, "inside"), (200, 16, "warned"), (200, 112, "warned"), (200, 113, "refused"),
     (1, 1, "inside"), (2, 1, "inside"), (3, 3, "warned"), (4, 4, "warned"), (5, 5, "refused"), (24, 3, "inside")],
)  # fmt: skip
def test_few_rows_do_not_decide(n, outside, verdict):
    assert report(n, outside).verdict == verdict
    assert report(n, 0, outside).verdict == verdict
    assert (at_least(outside, n) > REFUSED, at_least(outside, n) > WARNED) == (
        verdict == "refused",
        verdict != "inside",
    )


def test_a_refusal_has_the_numbers_and_the_ways_out():
    with pytest.raises(DomainError) as caught:
        tell(report(200, 180, 4))
    message = str(caught.value)
    for words in (
        "90% of 200 cutouts are unlike what weights 'mini' were trained on (SDSS cutouts)",
        "looks: 180 of 200 cutouts lie outside (median distance 2, held-out training cutouts 0.5, 99 % of them",
        "below 0.99)",
        "tint: 4 of 200",
        'match="survey"',
        "`galaxysd survey` suggests one",
        "`galaxysd train finetune`",
        "anyway=True (--anyway)",
    ):
        assert words in message
    assert "red, green, blue" not in message


def test_tint_alone_points_at_the_bands():
    with pytest.raises(DomainError, match="70% of 200.*Ways out: check that the bands go red, green, blue, give drawn"):
        tell(report(200, 3, 140))


def test_anyway_warns():
    with pytest.warns(DomainWarning, match="90% of 200 cutouts.*or fine-tune weights .`galaxysd train finetune`.$"):
        tell(report(200, 180), anyway=True)


def test_some_outside_are_warned_of():
    with pytest.warns(DomainWarning, match="20% of 200 cutouts are unlike"):
        tell(report(200, 40))
    with pytest.warns(DomainWarning) as caught:
        tell(report(200, 40, framed=True))
    assert "match=" not in str(caught[0].message)  # they are matched already


def test_nothing_is_said_of_usual_cutouts():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tell(report(200, 2, 1))
    assert caught == []


def test_rows_without_a_galaxy_look_different():
    found = report(100, 10, 5, lost=60, framed=True)
    assert found.outside == {COLOUR: 70, TINT: 5}
    assert found.verdict == "refused"
    assert "60 of 100 rows have no galaxy in the middle that could be measured" in found.text()
    nothing = DomainReport("mini", DOMAIN, 9, {GREY: np.empty(0)}, lost=9)
    assert nothing.verdict == "refused"
    assert "looks: 9 of 9 cutouts lie outside (held-out" in nothing.text()


def test_text_and_record():
    found = report(200, 40, 2, left_out=3, note="bands z, r, g stand for them")
    assert found.text().splitlines()[-2:] == [
        "bands z, r, g stand for them", "These cutouts are partly unlike the cutouts that 'mini' was trained on.",
    ]  # fmt: skip
    assert report(5, 5).text().endswith("These cutouts are unlike all that 'mini' was trained on.")
    record = found.as_record()
    assert json.loads(json.dumps(record)) == record
    assert (record["verdict"], record["n"], record["share"], record["left_out"]) == ("warned", 200, 0.2, 3)
    assert record["kinds"][COLOUR] == {"outside": 40, "median": 0.5, "limit": 0.99, "usual": 0.5}


def test_few_cutouts_tell_nothing():
    assert report(3, looks=3).text().endswith("These cutouts are too few to tell whether they are like those.")
    assert not report(9).text().endswith("like those.")
