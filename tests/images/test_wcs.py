"""What headers say of the sky."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astro_galaxysd.errors import ImageError
from astro_galaxysd.images.wcs import header_of_text, header_scale, offset_cards, positive_card, wcs_column, wcs_text


def celestial(scale=0.4, ratio=1.0, turn=0.3, projection="TAN"):
    header = fits.Header()
    header["OBJECT"] = "galaxy"
    for axis, name in enumerate(("RA--", "DEC-"), start=1):
        header[f"CTYPE{axis}"] = f"{name}-{projection}"
        header[f"CUNIT{axis}"] = "deg"
        header[f"CRPIX{axis}"] = 10.5
        header[f"CRVAL{axis}"] = 33.0
    sides = np.array([-scale, scale * ratio]) / 3600
    cosine, sine = np.cos(turn), np.sin(turn)
    for (row, column), value in np.ndenumerate(np.array([[cosine, -sine], [sine, cosine]]) * sides):
        header[f"CD{row + 1}_{column + 1}"] = value
    return header


@pytest.mark.parametrize("turn", [0.0, 0.3, 2.0])
def test_pixel_scale_of_a_wcs(turn):
    assert header_scale(celestial(turn=turn), "row 0") == pytest.approx(0.4, rel=1e-9)


def test_pixel_scale_with_more_axes_and_distortions():
    header = celestial(projection="TAN-SIP")
    header["NAXIS"] = 3
    header["CTYPE3"], header["CRPIX3"], header["CRVAL3"], header["CDELT3"] = "WAVE", 1.0, 5e-7, 1e-7
    header["CD3_3"] = 1e-7
    header["A_ORDER"], header["A_2_0"] = 2, 1e-5
    assert header_scale(header, "row 0") == pytest.approx(0.4, rel=1e-9)


def test_the_card_counts_where_there_is_no_wcs():
    header = fits.Header()
    assert header_scale(header, "row 0") is None
    header["PIXSCALE"] = 0.262
    assert header_scale(header, "row 0") == 0.262
    header["PIXSCALE"] = "small"
    assert header_scale(header, "row 0") is None


def test_pixels_that_are_not_square():
    assert header_scale(celestial(ratio=1.005), "") == pytest.approx(0.4, rel=0.006)
    with pytest.raises(ImageError, match=r"row 4: pixels are not square, 0\.4\d* x 0\.4\d* arcsec .* resample"):
        header_scale(celestial(ratio=1.02, turn=0.0), "row 4")


def test_a_wcs_that_says_nothing():
    with pytest.raises(ImageError, match="row 4: its WCS can't be understood .* declare pixel_scale="):
        header_scale(celestial(projection="XYZ"), "row 4")
    header = celestial()
    del header["CD*"]
    assert header_scale(header, "row 4") is None


def test_the_text_keeps_the_wcs_and_nothing_else():
    header = celestial(projection="TAN-SIP")
    header["A_ORDER"], header["A_2_0"], header["BUNIT"] = 2, 1e-5, "adu"
    back = header_of_text(wcs_text(header))
    assert {"OBJECT", "BUNIT"}.isdisjoint(back)
    cards = {card.keyword: fits.Card.fromstring(card.image).value for card in header.cards}
    assert {key: back[key] for key in back} == {key: cards[key] for key in cards if key not in ("OBJECT", "BUNIT")}
    assert wcs_text(fits.Header()) is None
    assert wcs_column("cutout") == "cutout_wcs"


def test_offsets_are_no_place_on_the_sky():
    hdu = fits.ImageHDU(np.zeros((3, 20, 31)))
    hdu.header.extend(offset_cards(0.4, (20, 31)))
    wcs = WCS(hdu.header, naxis=2)
    assert not wcs.has_celestial
    assert wcs_text(hdu.header) is None
    np.testing.assert_allclose(wcs.wcs_pix2world([[15, 9.5], [16, 9.5]], 0), [[0, 0], [0.4, 0]], atol=1e-12)
    assert header_scale(hdu.header, "") == 0.4


def test_offsets_have_no_errors_of_rounding():
    cards = {keyword: value for keyword, value, _ in offset_cards(0.500000000000004, (20, 31))}
    assert (cards["PIXSCALE"], cards["CDELT1"], cards["CDELT2"]) == (0.5, 0.5, 0.5)
    assert {card[0]: card[1] for card in offset_cards(0.3961234567, (20, 31))}["PIXSCALE"] == 0.3961234567


@pytest.mark.parametrize(("value", "read"), [(3, 3.0), (0.5, 0.5), (0, None), (True, None), ("3", None), (None, None)])
def test_cards_with_a_number_above_zero(value, read):
    header = fits.Header() if value is None else fits.Header({"SATURATE": value})
    assert positive_card(header, "SATURATE") == read
