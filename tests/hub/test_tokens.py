"""No token is in what is raised, logged, warned of or printed, even where the Hub repeats it."""

import json
import logging
import traceback
import warnings

import pytest

from astro_galaxysd.errors import HubError
from astro_galaxysd.hub.download import fetch_folder
from astro_galaxysd.hub.faults import Busy, Errand, hub_error, scrub
from astro_galaxysd.hub.upload import push_folder

TOKEN = "hf_" + "s3cr3tS3CR3T" * 3


@pytest.fixture
def everything(caplog, capfd):
    """Call it with an error: all that anybody could see of it, and of the way there.

    Not what the HTTP library says at its most talkative, of bytes it received.
    """
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.DEBUG, "astro_galaxysd")
    caplog.set_level(logging.INFO)

    def seen(error):
        texts = ["".join(traceback.format_exception(error)), caplog.text, *capfd.readouterr()]
        pending, known = [error], []
        while pending:
            one = pending.pop()
            if one is not None and one not in known:
                known.append(one)
                texts += [str(one), repr(one), str(one.args), str(vars(one)), *getattr(one, "__notes__", ())]
                pending += [one.__cause__, one.__context__]
        return "\n".join(texts)

    yield seen
    logger.removeHandler(caplog.handler)
    logger.setLevel(before)


def repeat(status):
    """An answer that repeats the token wherever an answer can hold a text."""
    said = f"token {TOKEN} of authorization: Bearer {TOKEN}"
    headers = {"X-Error-Message": said, "X-HF-Warning": f"auth; {said}", "X-Request-Id": TOKEN}
    return {"status": status, "headers": headers, "body": json.dumps({"error": said}).encode()}


@pytest.mark.parametrize("given", ["argument", "environment", "file"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 429, 503])
def test_what_the_hub_repeats(hub, rings, everything, monkeypatch, tmp_path, status, given):
    hub.accounts[TOKEN] = "someone"
    if given == "environment":
        monkeypatch.setenv("HF_TOKEN", TOKEN)
    elif given == "file":
        (tmp_path / "hf-home").mkdir()
        (tmp_path / "hf-home" / "token").write_text(f"{TOKEN}\n")
    hub.answer(where="HEAD", **repeat(status))
    with pytest.raises(HubError) as info:
        fetch_folder("team/rings", token=TOKEN if given == "argument" else None)
    assert hub.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    seen = everything(info.value)
    assert "s3cr3t" not in seen
    assert "team/rings" in seen


@pytest.mark.parametrize("where", ["POST /api/repos", "POST .*/preupload", "POST .*/batch", "PUT", "POST .*/commit"])
@pytest.mark.parametrize("status", [400, 403, 503])
def test_what_the_hub_repeats_of_who_pushes(hub, everything, tmp_path, status, where):
    hub.accounts[TOKEN] = "someone"
    hub.writers.add(TOKEN)
    hub.answer(where=where, **repeat(status))
    (tmp_path / "a.safetensors").write_bytes(b"weights")
    with pytest.raises(HubError) as info:
        push_folder(tmp_path, "team/rings", message="Rings", files=["a.safetensors"], token=TOKEN)
    assert "s3cr3t" not in everything(info.value)


def test_warnings_in_good_answers(hub, rings, everything):
    hub.accounts[TOKEN] = "someone"
    info = {"id": "team/rings", "sha": rings, "siblings": []}
    hub.answer(200, headers={"X-HF-Warning": f"topic; your {TOKEN} ends"}, body=json.dumps(info).encode())
    with pytest.raises(HubError, match="has no files of kind") as error:
        fetch_folder("team/rings", token=TOKEN)
    seen = everything(error.value)
    assert "your <token> ends" in seen
    assert "s3cr3t" not in seen


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f" {TOKEN}", f"{TOKEN} x", "", "hf_tökén"])
def test_what_can_be_no_token(hub, rings, everything, token):
    with pytest.raises(
        HubError, match="the access token holds a space, a line end or a character that no token has"
    ) as e:
        fetch_folder("team/rings", token=token)
    assert "s3cr3t" not in everything(e.value)
    assert hub.requests == []


def test_a_token_is_in_no_description_of_an_errand():
    assert "s3cr3t" not in repr(Errand("team/rings", token=TOKEN))


def test_any_error_is_scrubbed_and_not_chained():
    cause = RuntimeError(f"Illegal header value b'Bearer {TOKEN}'")
    outer = RuntimeError("outside")
    outer.__cause__ = cause
    error = hub_error(outer, Errand("team/rings"))
    assert str(error).endswith("Illegal header value b'Bearer <token>'")
    assert error.__cause__ is None
    assert error.__context__ is None
    busy = hub_error(Busy(503), Errand("team/rings", token="rings"))
    assert "rings" not in str(busy)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"a {TOKEN}.", "a <token>"),
        ("hf_oauth_" + "a" * 30, "<token>"),
        ("bearer abc", "bearer <token>"),
        ("hf_hub_download of team/hf_rings", "hf_hub_download of team/hf_rings"),
    ],
)
def test_texts_without_what_looks_like_a_token(text, clean):
    assert scrub(text) == clean


def test_no_token_is_looked_for_where_that_is_switched_off(hub, rings, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    with warnings.catch_warnings():
        fetch_folder("team/rings")
    assert not any(one.authorised for one in hub.requests)
